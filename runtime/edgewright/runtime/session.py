"""A variant, its engine, and what comes before and after: frame in, detections or classes out.

This is the code path that everything is judged by. The optimizer measures accuracy, parity and speed through it,
``verify`` repeats golden vectors through it, and the camera loop runs it.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import SsdDecode
from edgewright.runtime.backends.choice import NO_WISHES, why_no_engine
from edgewright.runtime.backends.opening import open_backend
from edgewright.runtime.decode import make_decoder
from edgewright.runtime.errors import ModelMismatchError
from edgewright.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Decode, Preprocess, TensorSpec, Variant
    from edgewright.bundle.reader import Bundle
    from edgewright.runtime.backends.base import Backend
    from edgewright.runtime.backends.choice import BackendName, EngineOptions
    from edgewright.runtime.types import Classification, Detections

__all__ = ["Session", "bundle_arrays", "first_runnable", "open_session", "pick_variant"]

_MS_PER_NS = 1e-6


class Session:
    """Runs frames through one model. One owner, one thread: buffers are reused from frame to frame."""

    def __init__(
        self, backend: Backend, preprocess: Preprocess, decode: Decode, arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        """Checks that the parts fit and allocates the buffers.

        Args:
            backend: The engine with the model loaded.
            preprocess: Frame to input.
            decode: Outputs to meaning.
            arrays: Named array files that ``decode`` points to, such as anchors.

        Raises:
            ModelMismatchError: The model has not exactly one input, or an output that ``decode`` names is missing.
        """
        if len(backend.inputs) != 1:
            names = [spec.name for spec in backend.inputs]
            msg = f"the model has {len(names)} inputs ({', '.join(names)}); a camera model has exactly one"
            raise ModelMismatchError(msg)
        outputs = {spec.name: spec for spec in backend.outputs}
        wanted = {decode.scores} | ({decode.boxes} if isinstance(decode, SsdDecode) else set())
        missing = sorted(wanted - set(outputs))
        if missing:
            msg = f"the model has no output {missing[0]!r}; it has {', '.join(sorted(outputs))}"
            raise ModelMismatchError(msg)
        self._backend = backend
        self._input = backend.inputs[0].name
        self._preprocessor = Preprocessor(preprocess, backend.inputs[0])
        self._decoder = make_decoder(decode, preprocess, arrays, outputs)
        self._timings: dict[str, float] = {}

    @property
    def score_threshold(self) -> float:
        """What the bundle counts as seen."""
        return self._decoder.score_threshold

    @property
    def engine(self) -> str:
        """Engine and version in words."""
        return self._backend.engine

    @property
    def last_timings_ms(self) -> Mapping[str, float]:
        """Milliseconds of the last ``infer``: preprocess, inference, decode."""
        return self._timings

    def infer(self, image: NDArray[np.uint8], score_threshold: float | None = None) -> Detections | Classification:
        """One frame to what is in it.

        Args:
            image: (H, W, 3) uint8 BGR.
            score_threshold: Overrides the bundle's, for a tracker or an AP curve that want weak boxes too.

        Returns:
            Detections in pixels of ``image``, or classes.

        Raises:
            FrameError: Not such an image.
            BackendError: The engine failed.
        """
        started = time.perf_counter_ns()
        tensor, placement = self._preprocessor(image)
        prepared = time.perf_counter_ns()
        outputs = self._backend.run({self._input: tensor})
        inferred = time.perf_counter_ns()
        answer = self._decoder(outputs, placement, score_threshold)
        decoded = time.perf_counter_ns()
        self._timings = {
            "preprocess": (prepared - started) * _MS_PER_NS,
            "inference": (inferred - prepared) * _MS_PER_NS,
            "decode": (decoded - inferred) * _MS_PER_NS,
        }
        return answer

    def raw(self, image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The raw outputs for one frame, as copies."""
        tensor, _ = self._preprocessor(image)
        return {name: value.copy() for name, value in self._backend.run({self._input: tensor}).items()}

    def close(self) -> None:
        """Gives the model's memory back; running it afterwards is an error."""
        self._backend.close()


def bundle_arrays(bundle: Bundle) -> dict[str, NDArray[Any]]:
    """The array files that the bundle's decoding needs."""
    decode = bundle.manifest.decode
    return {decode.anchors: bundle.array(decode.anchors)} if isinstance(decode, SsdDecode) else {}


def pick_variant(bundle: Bundle, name: str | None = None) -> Variant:
    """The variant called ``name``, or the first one.

    Raises:
        ModelMismatchError: There is none of that name.
    """
    if name is None:
        return bundle.manifest.variants[0]
    try:
        return bundle.manifest.variant(name)
    except KeyError as error:
        names = ", ".join(variant.name for variant in bundle.manifest.variants)
        msg = f"bundle {bundle.path} has no variant {name!r}; it has {names}"
        raise ModelMismatchError(msg) from error


def first_runnable(bundle: Bundle) -> Variant:
    """The first variant for whose format an engine is installed; the first of all when there is no engine at all."""
    variants = bundle.manifest.variants
    return next((variant for variant in variants if why_no_engine(variant.format) is None), variants[0])


def open_session(
    bundle: Bundle,
    variant: str | None = None,
    threads: int = 1,
    *,
    backend: BackendName | None = None,
    options: EngineOptions = NO_WISHES,
) -> Session:
    """Loads one variant of a bundle.

    Args:
        bundle: Opened and so checked.
        variant: Its name; the first one when None.
        threads: For one run of the model.
        backend: What to run it on, which must be there; None takes the best that ``options`` names and that is there,
            else the processor.
        options: What the owner of the machine says of its engines.

    Raises:
        ModelMismatchError: Manifest and model file do not belong together.
        BackendError: The engine refuses the file, or the backend is not there.
        MissingExtraError: The engine is not installed.
    """
    chosen = pick_variant(bundle, variant)
    engine = open_backend(
        chosen.format,
        bundle.read(chosen.file),
        threads=threads,
        engine=chosen.engine,
        name=backend,
        options=options,
        precision=chosen.precision,
    )
    return Session(
        _described(engine, chosen), bundle.manifest.preprocess, bundle.manifest.decode, bundle_arrays(bundle)
    )


class _DescribedBackend:
    """A backend whose tensors carry what only the manifest knows: layout and quantization."""

    def __init__(self, backend: Backend, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
        self._backend = backend
        self.inputs = inputs
        self.outputs = outputs
        self.engine = backend.engine

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        return self._backend.run(feeds)

    def close(self) -> None:
        self._backend.close()


def _described(backend: Backend, variant: Variant) -> Backend:
    described = []
    for seen, declared in ((backend.inputs, variant.inputs), (backend.outputs, variant.outputs)):
        by_name = {spec.name: spec for spec in declared}
        row = []
        for spec in seen:
            told = by_name.get(spec.name)
            if told is None or (told.shape, told.dtype) != (spec.shape, spec.dtype):
                msg = (
                    f"variant {variant.name!r}: the file has tensor {spec.name!r} {spec.shape} {spec.dtype}, the "
                    f"manifest says {(told.shape, told.dtype) if told else 'nothing of it'}"
                )
                raise ModelMismatchError(msg)
            # An 8-bit input without a scale takes pixels: as they are, or less 128.
            if not (spec.dtype in ("uint8", "int8") and declared is variant.inputs and told.scale is None):
                _check_grid(variant.name, spec, told)
            row.append(told)
        described.append(tuple(row))
    return _DescribedBackend(backend, described[0], described[1])


def _check_grid(variant: str, seen: TensorSpec, told: TensorSpec) -> None:
    """Refuses a manifest that reads the integers of a tensor otherwise than the file writes them.

    A ``.tflite`` file says what its integers mean, an ``.onnx`` file does not.

    Raises:
        ModelMismatchError: They differ.
    """
    if seen.scale is None or seen.zero_point is None:
        return
    same_step = told.scale is not None and math.isclose(told.scale, seen.scale, rel_tol=1e-5)
    if same_step and told.zero_point == seen.zero_point:
        return
    msg = (
        f"variant {variant!r}: the file's tensor {seen.name!r} has scale {seen.scale:g} and zero point "
        f"{seen.zero_point}, the manifest says {told.scale} and {told.zero_point}"
    )
    raise ModelMismatchError(msg)
