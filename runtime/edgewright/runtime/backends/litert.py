"""LiteRT, the interpreter of ``.tflite`` files that used to be called TensorFlow Lite.

Three packages bring it; the first that is installed is taken: ``ai_edge_litert``, ``tflite_runtime``, which is no longer
maintained and computes integer models without XNNPACK, and TensorFlow itself. XNNPACK is on wherever the package has it.

The interpreter refuses to run while an array looks into its memory. So results are copied out, once, into buffers that
belong to the backend, and no view outlives a call.
"""

from __future__ import annotations

import ctypes
import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import MissingExtraError, import_problem
from edgewright.bundle.manifest import TensorSpec
from edgewright.runtime.backends.base import checked_feed, closed_error, refuse_unknown_options
from edgewright.runtime.backends.choice import LITERT_PACKAGES, BackendName, engine_version
from edgewright.runtime.backends.tflite_file import read_tflite
from edgewright.runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.runtime.backends.choice import Delegate
    from edgewright.runtime.backends.tflite_file import TfliteFile

__all__ = ["DEFAULT_DELEGATE", "LiteRtBackend"]

DEFAULT_DELEGATE = "default_delegate"
"""Key in ``Variant.engine``: False runs the file without XNNPACK, for a model whose answers it would spoil."""

_ENGINE_KEYS = frozenset({DEFAULT_DELEGATE})
_MODULES = {
    "ai_edge_litert": "ai_edge_litert.interpreter",
    "tflite_runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow",
}
_DTYPES = frozenset({"float32", "float16", "float64", "uint8", "int8", "int16", "int32", "int64"})
_FLEX = "Flex"
_REMEDY = (
    "rewrite that part of the model with other operators, leave it out of the exported graph, or use the bundle's onnx "
    "variant"
)


class LiteRtBackend:
    """One ``.tflite`` file on the CPU, or on what a delegate brings.

    Inputs and outputs are called as the file's signature calls them, where it has one, else as their tensors.

    Example:
        >>> backend = LiteRtBackend(model_bytes, threads=1)                  # doctest: +SKIP
        >>> answer = backend.run({"input": tensor})                          # doctest: +SKIP
    """

    def __init__(
        self,
        model: bytes,
        *,
        threads: int = 1,
        engine: Mapping[str, Any] | None = None,
        delegate: Delegate | None = None,
    ) -> None:
        """Checks the file, loads it and allocates its memory.

        Args:
            model: A whole ``.tflite`` file.
            threads: For one run of the model.
            engine: ``Variant.engine``; unknown keys are refused, for they might matter.
            delegate: A library to hand operators to; from the owner of the machine, never from a bundle.

        Raises:
            MissingExtraError: No interpreter is installed.
            BrokenPackageError: One is, and cannot be loaded.
            BackendError: The file is damaged, has sizes that are not fixed, or holds operators that the interpreter
                lacks; or the delegate cannot be loaded.
        """
        wanted = _checked_options(dict(engine or {}))
        described = read_tflite(model)
        package, module = _interpreter_module()
        _refuse_flex(described, package)
        _check_sizes(described)
        kwargs: dict[str, Any] = {"model_content": model, "num_threads": threads}
        if not wanted:
            kwargs["experimental_op_resolver_type"] = _without_default(module)
        if delegate is not None:
            kwargs["experimental_delegates"] = [_load_delegate(module, delegate)]
        self._interpreter = _allocated(module, kwargs, described)
        name = BackendName.LITERT_XNNPACK if delegate is None else BackendName.LITERT_DELEGATE
        self._engine = f"{engine_version(name) or package}{_delegated(self._interpreter)}"
        rows = self._interpreter.get_input_details()
        self._inputs = tuple(_spec(row, "input", described) for row in rows)
        self._input_indices = tuple(int(row["index"]) for row in rows)
        rows = self._interpreter.get_output_details()
        self._outputs = tuple(_spec(row, "output", described) for row in rows)
        self._output_indices = tuple(int(row["index"]) for row in rows)
        _check_names(self._inputs, "inputs")
        _check_names(self._outputs, "outputs")
        self._results = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self._outputs}

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Input tensors in order, with scale and zero point where they are integers."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Output tensors in order, with scale and zero point where they are integers."""
        return self._outputs

    @property
    def engine(self) -> str:
        """Such as ``LiteRT 2.3.0 (ai-edge-litert)``; says so when XNNPACK took no operator."""
        return self._engine

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Runs the model once; the arrays it returns are overwritten by the next run.

        Raises:
            BackendError: A feed is missing or has another shape or dtype, the engine failed, or this is closed.
        """
        interpreter = self._interpreter
        if interpreter is None:
            raise closed_error()
        checked = [checked_feed(feeds, spec.name, spec.shape, spec.dtype) for spec in self._inputs]
        try:
            for index, feed in zip(self._input_indices, checked, strict=True):
                interpreter.set_tensor(index, feed)
            interpreter.invoke()
            for index, spec in zip(self._output_indices, self._outputs, strict=True):
                # The view dies with this statement, before the next invoke() asks for it.
                np.copyto(self._results[spec.name], interpreter.tensor(index)())
        except (RuntimeError, ValueError) as error:
            msg = f"LiteRT failed while running the model: {_one_line(error)}"
            raise BackendError(msg) from error
        return self._results

    def close(self) -> None:
        """Gives the model's memory back."""
        self._interpreter = None


def _checked_options(engine: dict[str, Any]) -> bool:
    """Whether the default delegate is wanted."""
    refuse_unknown_options(engine, _ENGINE_KEYS)
    wanted = engine.get(DEFAULT_DELEGATE, True)
    if not isinstance(wanted, bool):
        msg = f"engine option {DEFAULT_DELEGATE!r} must be true or false, found {wanted!r}"
        raise BackendError(msg)
    return wanted


def _interpreter_module() -> tuple[str, Any]:
    for package in LITERT_PACKAGES:
        module = _imported(package)
        if module is not None:
            return package, module
    what = "running a .tflite model needs ai_edge_litert, which is not installed"
    raise MissingExtraError(what, "tflite")


def _imported(package: str) -> Any:
    """The module with the interpreter, None when its package is not installed."""
    try:
        # Not an import statement: TensorFlow is the last resort, and nothing on a device depends on it.
        module = importlib.import_module(_MODULES[package])
    except ImportError as error:
        problem = import_problem(error, package, "running a .tflite model", "tflite")
        # A package that is there and broken is the thing to mend; the next one would only hide it.
        if not isinstance(problem, MissingExtraError):
            raise problem from error
        return None
    return getattr(module, "lite", module)


def _refuse_flex(described: TfliteFile, package: str) -> None:
    flex = [name for name in described.custom if name.startswith(_FLEX)]
    if flex and package != "tensorflow":
        msg = (
            f"the TFLite file holds operator {flex[0]!r}, one of TensorFlow's own (flex), which the interpreter of a device "
            f"does not have; {_REMEDY}"
        )
        raise BackendError(msg)


def _check_sizes(described: TfliteFile) -> None:
    for kind, indices in (("input", described.inputs), ("output", described.outputs)):
        for index in indices:
            tensor = described.tensors[index]
            # A batch that the converter left open and stored as 1 is run as 1.
            open_batch = tensor.signature[:1] == (-1,) and tensor.shape[:1] == (1,)
            rest = tensor.signature[1:] if open_batch else tensor.signature
            if not all(size > 0 for size in (*tensor.shape, *rest)):
                msg = (
                    f"{kind} {described.name(kind, index)!r} has shape {list(tensor.signature)}; a bundle's tensors have "
                    "fixed sizes, convert the model with a fixed input shape"
                )
                raise BackendError(msg)


def _without_default(module: Any) -> Any:
    kinds = getattr(module, "OpResolverType", None) or module.experimental.OpResolverType
    return kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def _load_delegate(module: Any, delegate: Delegate) -> Any:
    library = delegate.library
    if not library.is_file():
        msg = f"there is no delegate library {library}; give the path of a file"
        raise BackendError(msg)
    load = getattr(module, "load_delegate", None) or module.experimental.load_delegate
    path = str(library.absolute())  # a bare name would be searched for on the system
    try:
        # The package's own loading leaves a broken object behind where the library is none.
        opened = ctypes.CDLL(path)
        _ = opened.tflite_plugin_create_delegate, opened.tflite_plugin_destroy_delegate
        return load(path, dict(delegate.options))
    except (OSError, ValueError, AttributeError) as error:
        msg = f"the delegate library {library} cannot be loaded: {_one_line(error)}"
        raise BackendError(msg) from error


def _allocated(module: Any, kwargs: dict[str, Any], described: TfliteFile) -> Any:
    try:
        interpreter = module.Interpreter(**kwargs)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError, MemoryError) as error:
        told = ""
        if described.custom:
            told = f"; the file holds operators of its own: {', '.join(described.custom)}; {_REMEDY}"
        msg = f"LiteRT refuses the model: {_one_line(error)}{told}"
        raise BackendError(msg) from error
    return interpreter


def _delegated(interpreter: Any) -> str:
    """``, nothing delegated`` when neither XNNPACK nor another delegate took an operator; else nothing."""
    details = getattr(interpreter, "_get_ops_details", None)  # there is no public way to ask
    if details is None or any(row["op_name"] == "DELEGATE" for row in details()):
        return ""
    return ", nothing delegated"


def _spec(row: Mapping[str, Any], kind: str, described: TfliteFile) -> TensorSpec:
    name = described.name(kind, int(row["index"]))
    dtype = np.dtype(row["dtype"]).name
    if dtype not in _DTYPES:
        msg = f"{kind} {name!r} has type {dtype}, which is not supported"
        raise BackendError(msg)
    shape = tuple(int(size) for size in row["shape"])
    told = row["quantization_parameters"]
    if not dtype.startswith("float") and len(told["scales"]) == 1:
        return TensorSpec(name, shape, dtype, scale=float(told["scales"][0]), zero_point=int(told["zero_points"][0]))
    return TensorSpec(name, shape, dtype)


def _check_names(specs: Sequence[TensorSpec], what: str) -> None:
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        msg = f"the TFLite file has several {what} of one name ({', '.join(names)}); give each its own"
        raise BackendError(msg)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
