"""A candidate: the forms of one model in a draft bundle, so that they are judged as the device would run them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.arrays import npy_bytes
from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.golden import write_golden
from edgewright.bundle.manifest import Golden, Manifest, Variant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Provenance
    from edgewright.optimize.sources import FloatModel
    from edgewright.optimize.variants.form import ModelForm
    from edgewright.runtime.session import Session

__all__ = ["Candidate", "golden_vectors", "shrink"]

GOLDEN_FILE = "golden.npz"
_GOLDEN_SIDE = 384
# Measured: x86 and ARM agree bit for bit on INT8 graphs; another optimisation level moves an output by a step or two.
_FLOAT_TOLERANCE = 1e-3
_INT8_STEPS = 4
_KERNEL_MARGIN = 1.5  # on what other kernels were seen to be off, for pictures that were not tried


@dataclass(frozen=True, eq=False)
class Candidate:
    """The forms of one model that go into a bundle together.

    Attributes:
        source: The float model as loaded, with its spec.
        forms: The forms; a runtime takes the first one unless told otherwise.
        name: Of the bundle.
        version: Of the bundle.
    """

    source: FloatModel
    forms: tuple[ModelForm, ...]
    name: str
    version: str

    def only(self, *names: str) -> Candidate:
        """The same with only the forms named, in that order."""
        by_name = {form.name: form for form in self.forms}
        return dataclasses.replace(self, forms=tuple(by_name[name] for name in dict.fromkeys(names)))

    def form(self, name: str) -> ModelForm:
        """The form called ``name``."""
        return next(form for form in self.forms if form.name == name)

    def variants(self) -> tuple[Variant, ...]:
        """The forms' manifest entries without any measurement."""
        return tuple(self._variant(form) for form in self.forms)

    def payload(self) -> dict[str, bytes]:
        """Model files and arrays, by their path in the bundle."""
        files = {_model_file(form): form.model for form in self.forms}
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

    def _variant(self, form: ModelForm) -> Variant:
        return Variant(
            name=form.name,
            format=form.format,
            precision=form.precision,
            file=_model_file(form),
            bytes=len(form.model),
            sha256=sha256_hex(form.model),
            inputs=form.inputs or self.source.inputs,
            outputs=form.outputs or self.source.outputs,
            engine=form.engine,
        )


def _model_file(form: ModelForm) -> str:
    return f"models/{form.name}.{form.format.value}"


def shrink(image: NDArray[np.uint8], side: int = _GOLDEN_SIDE) -> NDArray[np.uint8]:
    """The picture with its longer side at most ``side`` pixels."""
    import cv2

    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def golden_vectors(
    frames: Sequence[NDArray[np.uint8]],
    sessions: Mapping[str, Session],
    integer: Collection[str],
    other_kernels: Mapping[str, Session] = MappingProxyType({}),
) -> tuple[bytes, Golden]:
    """Real pictures and what each variant answered to them.

    Args:
        frames: The pictures, already small.
        sessions: The bundle's variants by name.
        integer: Those of them that compute in integers.
        other_kernels: Variants once more, run by kernels that round otherwise and that a device may have; how far those
            are off goes into the tolerance.

    Returns:
        The file and its manifest entry.
    """
    outputs = {name: [session.raw(frame) for frame in frames] for name, session in sessions.items()}
    tolerance = {}
    for variant, answers in outputs.items():
        others = [other_kernels[variant].raw(frame) for frame in frames] if variant in other_kernels else []
        for output in answers[0]:
            values, seen = _joined(answers, output), _joined(others, output) if others else None
            apart = 0.0 if seen is None else float(np.abs(seen - values).max())
            allowed = _tolerance(values, integer=variant in integer)
            tolerance[f"{variant}/{output}"] = max(allowed, _KERNEL_MARGIN * apart)
    return write_golden(frames, outputs), Golden(GOLDEN_FILE, len(frames), tolerance)


def _joined(answers: Sequence[Mapping[str, NDArray[Any]]], output: str) -> NDArray[np.float64]:
    return np.concatenate([answer[output].ravel() for answer in answers]).astype(np.float64)


def _tolerance(values: NDArray[np.float64], *, integer: bool) -> float:
    spread = max(float(values.max() - values.min()), 1e-6)
    return spread * _INT8_STEPS / 255 if integer else spread * _FLOAT_TOLERANCE
