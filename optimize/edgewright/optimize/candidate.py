"""A candidate: float and INT8 of one model in a draft bundle, so that they are judged as the device would run them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.arrays import npy_bytes
from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.golden import write_golden
from edgewright.bundle.manifest import Format, Golden, Manifest, Precision, Variant
from edgewright.optimize.evaluate.quality import FLOAT, INT8

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Provenance
    from edgewright.optimize.evaluate.observe import SessionPair
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.sources import FloatModel
    from edgewright.runtime.session import Session

__all__ = ["Candidate", "golden_vectors", "shrink"]

GOLDEN_FILE = "golden.npz"
_GOLDEN_SIDE = 384
# Measured: x86 and ARM agree bit for bit on INT8 graphs; another optimisation level moves an output by a step or two.
_FLOAT_TOLERANCE = 1e-3
_INT8_STEPS = 4


@dataclass(frozen=True, eq=False)
class Candidate:
    """The two forms of one model.

    Attributes:
        source: The float model as loaded, with its spec.
        float_model: The prepared float graph, the baseline of every comparison.
        int8: What was made of it.
        name: Of the bundle.
        version: Of the bundle.
    """

    source: FloatModel
    float_model: bytes
    int8: QuantizedGraph
    name: str
    version: str

    def variants(self, *, with_float: bool) -> tuple[Variant, ...]:
        """INT8 first, for a runtime takes the first one unless told otherwise."""
        int8 = self._variant(INT8, Precision.INT8, self.int8.model, self.int8.engine)
        return (int8, self._variant(FLOAT, Precision.FLOAT32, self.float_model, {})) if with_float else (int8,)

    def payload(self, *, with_float: bool) -> dict[str, bytes]:
        """Model files and arrays, by their path in the bundle."""
        files = {_model_file(INT8): self.int8.model}
        if with_float:
            files[_model_file(FLOAT)] = self.float_model
        return files | {path: npy_bytes(array) for path, array in self.source.spec.arrays.items()}

    def manifest(self, variants: tuple[Variant, ...], provenance: Provenance) -> Manifest:
        """The description without any measurement."""
        spec = self.source.spec
        return Manifest(
            name=self.name,
            version=self.version,
            task=spec.task,
            variants=variants,
            preprocess=spec.preprocess,
            decode=spec.decode,
            labels=spec.labels,
            provenance=provenance,
            files=(),
        )

    def _variant(self, name: str, precision: Precision, model: bytes, engine: Mapping[str, Any]) -> Variant:
        return Variant(
            name=name,
            format=Format.ONNX,
            precision=precision,
            file=_model_file(name),
            bytes=len(model),
            sha256=sha256_hex(model),
            inputs=self.source.inputs,
            outputs=self.source.outputs,
            engine=engine,
        )


def _model_file(variant: str) -> str:
    return f"models/{variant}.onnx"


def shrink(image: NDArray[np.uint8], side: int = _GOLDEN_SIDE) -> NDArray[np.uint8]:
    """The picture with its longer side at most ``side`` pixels."""
    import cv2

    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def golden_vectors(frames: Sequence[NDArray[np.uint8]], pair: SessionPair, *, with_float: bool) -> tuple[bytes, Golden]:
    """Real pictures and what each variant answered to them.

    Args:
        frames: The pictures, already small.
        pair: The models.
        with_float: Whether the bundle keeps the float variant.

    Returns:
        The file and its manifest entry.
    """
    sessions: dict[str, Session] = {INT8: pair.int8} | ({FLOAT: pair.float_} if with_float else {})
    outputs = {name: [session.raw(frame) for frame in frames] for name, session in sessions.items()}
    tolerance = {}
    for variant, answers in outputs.items():
        for output in answers[0]:
            values = np.concatenate([answer[output].ravel() for answer in answers]).astype(np.float64)
            tolerance[f"{variant}/{output}"] = _tolerance(values, integer=variant == INT8)
    return write_golden(frames, outputs), Golden(GOLDEN_FILE, len(frames), tolerance)


def _tolerance(values: NDArray[np.float64], *, integer: bool) -> float:
    spread = max(float(values.max() - values.min()), 1e-6)
    return spread * _INT8_STEPS / 255 if integer else spread * _FLOAT_TOLERANCE
