"""ONNX Runtime, with inputs and outputs bound to buffers that are allocated once.

Where it computes is the machine's business: the processor, or an accelerator through an execution provider. ONNX Runtime
falls back to the processor without a word when a provider cannot start; here that is an error.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import import_problem
from edgewright.bundle.manifest import TensorSpec
from edgewright.runtime.backends.base import checked_feed, closed_error, refuse_unknown_options
from edgewright.runtime.backends.choice import PROVIDERS, BackendName
from edgewright.runtime.backends.ort import import_onnxruntime
from edgewright.runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["DISABLED_OPTIMIZERS", "OnnxBackend", "Provider", "provider_rows"]

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


@dataclass(frozen=True)
class Provider:
    """What ONNX Runtime computes on.

    Attributes:
        name: One of the ``onnxruntime-...`` backends.
        cache: Folder for engines that TensorRT compiles; None compiles again at every start.
        fp16: Whether TensorRT may compute in half precision.
        int8: Whether TensorRT may compute in 8-bit integers; QDQ files need it.
        options: Further options of the providers, by backend.
    """

    name: BackendName = BackendName.ONNXRUNTIME_CPU
    cache: Path | None = None
    fp16: bool = False
    int8: bool = False
    options: Mapping[BackendName, Mapping[str, str]] = field(default_factory=dict)


class OnnxBackend:
    """One ``.onnx`` file, on the CPU unless told otherwise.

    Example:
        >>> backend = OnnxBackend(model_bytes, threads=1)                    # doctest: +SKIP
        >>> answer = backend.run({"input": tensor})                          # doctest: +SKIP
    """

    def __init__(
        self,
        model: bytes,
        *,
        threads: int = 1,
        engine: Mapping[str, Any] | None = None,
        provider: Provider = Provider(),
    ) -> None:
        """Loads the model and allocates its buffers.

        Args:
            model: A whole ``.onnx`` file; weights outside it are refused.
            threads: For one run of the model.
            engine: ``Variant.engine``; unknown keys are refused, for they might matter.
            provider: What to compute on.

        Raises:
            MissingExtraError: onnxruntime is not installed.
            BrokenPackageError: It is, and cannot be loaded.
            BackendError: The engine refuses the file, or lacks the provider.
        """
        try:
            ort = import_onnxruntime()
        except ImportError as error:
            raise import_problem(error, "onnxruntime", "running an .onnx model", "onnx") from error
        on = "" if provider.name is BackendName.ONNXRUNTIME_CPU else f" on {provider.name.value.partition('-')[2]}"
        self._engine = f"onnxruntime {ort.__version__}{on}"
        self._session = _load(ort, model, threads, dict(engine or {}), provider)
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

    @property
    def engine(self) -> str:
        """Such as ``onnxruntime 1.32.0``."""
        return self._engine

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Runs the model once; the arrays it returns are overwritten by the next run.

        Raises:
            BackendError: A feed is missing or has another shape or dtype, the engine failed, or this is closed.
        """
        if self._session is None:
            raise closed_error()
        for spec in self._inputs:
            np.copyto(self._feeds[spec.name], checked_feed(feeds, spec.name, spec.shape, spec.dtype))
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # the engine raises classes of its own extension module, all meaning "it failed"
            msg = f"onnxruntime failed while running the model: {error}"
            raise BackendError(msg) from error
        return self._results

    def close(self) -> None:
        """Gives the model's memory back."""
        self._binding = None
        self._session = None

    def _bind(self) -> None:
        for name, buffer in self._feeds.items():
            self._binding.bind_input(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        for name, buffer in self._results.items():
            self._binding.bind_output(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)


def provider_rows(provider: Provider) -> list[tuple[str, dict[str, str]]]:
    """Execution providers with their options, the asked one first, as ``onnxruntime.InferenceSession`` takes them.

    What the asked one cannot run goes to the next: from TensorRT to CUDA, from both to the processor.
    """
    cpu: tuple[str, dict[str, str]] = (PROVIDERS[BackendName.ONNXRUNTIME_CPU], {})
    told = provider.options
    cuda = (PROVIDERS[BackendName.ONNXRUNTIME_CUDA], dict(told.get(BackendName.ONNXRUNTIME_CUDA, {})))
    if provider.name is BackendName.ONNXRUNTIME_CPU:
        return [cpu]
    if provider.name is BackendName.ONNXRUNTIME_CUDA:
        return [cuda, cpu]
    flags = {"trt_fp16_enable": provider.fp16, "trt_int8_enable": provider.int8}
    options = dict(told.get(BackendName.ONNXRUNTIME_TENSORRT, {}))
    options |= {key: str(value) for key, value in flags.items()}
    if provider.cache is not None:
        options |= {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(provider.cache)}
    return [(PROVIDERS[BackendName.ONNXRUNTIME_TENSORRT], options), cuda, cpu]


def _load(ort: Any, model: bytes, threads: int, engine: dict[str, Any], provider: Provider) -> Any:
    refuse_unknown_options(engine, _ENGINE_KEYS)
    disabled: Any = engine.get(DISABLED_OPTIMIZERS, [])
    if not isinstance(disabled, (list, tuple)) or not all(isinstance(name, str) for name in disabled):
        msg = f"engine option {DISABLED_OPTIMIZERS!r} must be a list of names, found {disabled!r}"
        raise BackendError(msg)
    providers = _checked_providers(ort, provider)
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
            session = ort.InferenceSession(model, options, providers=providers, disabled_optimizers=list(disabled))
        except Exception as error:  # see run()
            msg = f"onnxruntime refuses the model: {error}"
            raise BackendError(msg) from error
    started = session.get_providers()
    if providers[0][0] not in started:
        msg = (
            f"onnxruntime could not start {providers[0][0]} and would compute on {', '.join(started)} instead; mend its "
            f"driver and libraries, or ask for {BackendName.ONNXRUNTIME_CPU.value}"
        )
        raise BackendError(msg)
    return session


def _checked_providers(ort: Any, provider: Provider) -> list[tuple[str, dict[str, str]]]:
    if provider.name not in PROVIDERS:
        msg = f"backend {provider.name.value!r} does not run .onnx files"
        raise BackendError(msg)
    available = ort.get_available_providers()
    rows = provider_rows(provider)
    if rows[0][0] not in available:
        msg = (
            f"backend {provider.name.value!r} needs {rows[0][0]}, which this build of onnxruntime {ort.__version__} does not "
            f"have; it has {', '.join(available)}. Install a build with it, or ask for "
            f"{BackendName.ONNXRUNTIME_CPU.value}"
        )
        raise BackendError(msg)
    if provider.cache is not None and provider.name is BackendName.ONNXRUNTIME_TENSORRT:
        try:
            provider.cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"cannot make the folder for compiled engines {provider.cache}: {error.strerror or error}"
            raise BackendError(msg) from error
    return [row for row in rows if row[0] in available]


def _spec(node: Any, kind: str) -> TensorSpec:
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        msg = f"{kind} {node.name!r} has type {node.type}, which is not supported"
        raise BackendError(msg)
    if not all(isinstance(size, int) and size > 0 for size in node.shape):
        msg = f"{kind} {node.name!r} has shape {node.shape}; a bundle's tensors have fixed sizes"
        raise BackendError(msg)
    return TensorSpec(node.name, tuple(node.shape), dtype)
