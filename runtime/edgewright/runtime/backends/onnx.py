"""ONNX Runtime, with inputs and outputs bound to buffers that are allocated once."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import import_problem
from edgewright.bundle.manifest import TensorSpec
from edgewright.runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["DISABLED_OPTIMIZERS", "OnnxBackend"]

DISABLED_OPTIMIZERS = "disabled_optimizers"
"""Key in ``Variant.engine``: names of graph optimizers that would spoil the file.

ONNX Runtime's ``WeightBiasQuantization`` quantizes again what was left in float on purpose.
"""

_ENGINE_KEYS = frozenset({DISABLED_OPTIMIZERS})
_SEVERITY_ERROR = 3
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


class OnnxBackend:
    """One ``.onnx`` file on the CPU.

    Example:
        >>> backend = OnnxBackend(model_bytes, threads=1)                    # doctest: +SKIP
        >>> answer = backend.run({"input": tensor})                          # doctest: +SKIP
    """

    def __init__(self, model: bytes, *, threads: int = 1, engine: Mapping[str, Any] | None = None) -> None:
        """Loads the model and allocates its buffers.

        Args:
            model: A whole ``.onnx`` file; weights outside it are refused.
            threads: For one run of the model.
            engine: ``Variant.engine``; unknown keys are refused, for they might matter.

        Raises:
            MissingExtraError: onnxruntime is not installed.
            BrokenPackageError: It is, and cannot be loaded.
            BackendError: The engine refuses the file.
        """
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise import_problem(error, "onnxruntime", "running an .onnx model", "onnx") from error
        self._session = _load(ort, model, threads, dict(engine or {}))
        self._inputs = tuple(_spec(node, "input") for node in self._session.get_inputs())
        self._outputs = tuple(_spec(node, "output") for node in self._session.get_outputs())
        self._feeds = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self._inputs}
        self._results = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self._outputs}
        self._binding = self._session.io_binding()
        self._bind()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Input tensors in order."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Output tensors in order."""
        return self._outputs

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Runs the model once; the arrays it returns are overwritten by the next run.

        Raises:
            BackendError: A feed is missing or has another shape or dtype, or the engine failed.
        """
        for name, buffer in self._feeds.items():
            feed = feeds.get(name)
            if feed is None or feed.shape != buffer.shape or feed.dtype != buffer.dtype:
                seen = "nothing" if feed is None else f"{feed.shape} {feed.dtype}"
                msg = f"input {name!r} takes {buffer.shape} {buffer.dtype}, got {seen}"
                raise BackendError(msg)
            np.copyto(buffer, feed)
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # the engine raises classes of its own extension module, all meaning "it failed"
            msg = f"onnxruntime failed while running the model: {error}"
            raise BackendError(msg) from error
        return self._results

    def _bind(self) -> None:
        for name, buffer in self._feeds.items():
            self._binding.bind_input(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        for name, buffer in self._results.items():
            self._binding.bind_output(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)


def _load(ort: Any, model: bytes, threads: int, engine: dict[str, Any]) -> Any:
    unknown = sorted(set(engine) - _ENGINE_KEYS)
    if unknown:
        msg = f"the variant asks for engine option {unknown[0]!r}, which this version does not know; update edgewright"
        raise BackendError(msg)
    disabled: Any = engine.get(DISABLED_OPTIMIZERS, [])
    if not isinstance(disabled, (list, tuple)) or not all(isinstance(name, str) for name in disabled):
        msg = f"engine option {DISABLED_OPTIMIZERS!r} must be a list of names, found {disabled!r}"
        raise BackendError(msg)
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _SEVERITY_ERROR
    # A thread that spins while it waits for the next frame heats the board for nothing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory(prefix="edgewright-") as nowhere:
        # A model given as bytes looks for outside weights in the current directory unless told otherwise.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", nowhere)
        try:
            return ort.InferenceSession(
                model, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled)
            )
        except Exception as error:  # see run()
            msg = f"onnxruntime refuses the model: {error}"
            raise BackendError(msg) from error


def _spec(node: Any, kind: str) -> TensorSpec:
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        msg = f"{kind} {node.name!r} has type {node.type}, which is not supported"
        raise BackendError(msg)
    if not all(isinstance(size, int) and size > 0 for size in node.shape):
        msg = f"{kind} {node.name!r} has shape {node.shape}; a bundle's tensors have fixed sizes"
        raise BackendError(msg)
    return TensorSpec(node.name, tuple(node.shape), dtype)
