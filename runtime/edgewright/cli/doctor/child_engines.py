"""What engines and optimizers can do, found out by importing and running them; see ``child``.

Nothing here knows what a release can do; it is imported, or run, and the answer is what happened.
"""

from __future__ import annotations

import base64
import importlib
import re
import zlib
from functools import partial
from importlib import metadata
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.runtime.backends.ort import import_onnxruntime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgewright.runtime.backends.litert import LiteRtBackend

__all__ = ["litert", "neural_compressor", "onnxruntime", "torch_flow"]

# One MatMulInteger: uint8 (1, 64) times int8 (64, 16) gives int32 (1, 16). As bytes, for devices come without onnx.
_PRODUCT = base64.b64decode(
    "CAg6XAoYCgFhCgFiEgFjIg1NYXRNdWxJbnRlZ2VyEgFnWhMKAWESDgoMCAISCAoCCAEKAghAWhMKAWISDgoMCAMSCAoCCEAKAggQYhMKAWMSDgoM"
    "CAYSCAoCCAEKAggQQgQKABAN"
)
# One RELU, float32 (1, 4), as a TFLite file: devices come without anything that writes one.
_RELU = zlib.decompress(
    base64.b64decode(
        "eNptUTsKAjEQfWrQoIsKu4jF3sLWUsTCwsJeFjeuC2rh9xIWHsADeCYvs74kIwRxwmMyn/cyQ1IAy+l8lCDFEAn6iKBhTTECc8CDeBIv4l4DGvR07L"
        "XWFo7iDbyBSsCY6BEnc7yWh2KVm0122Z0dz/Zo4WjRUuLX4iOn3XQ9zaCeidcup1zevmvywtyOZbE9+3ri+N1gJ8XI5+18M2JOLER7n5UH/Ozl5/R7"
        "aZmpFgB/4joxEc13VVW2FHLX0vPdGRi4+SBveGsx6+VDbvbD/c4a8XTkz2xv7LnxB2ClGjc="
    )
)
_LENGTH, _COLUMNS = 64, 16
_SEVERITY_FATAL = 4
_ABSENT = "not installed"
# Where its releases kept, or might keep, each of these.
_ONNX_HOMES = (
    "neural_compressor.adaptor.onnxrt",
    "neural_compressor.onnxrt",
    "neural_compressor.quantization",
)
_PRUNING_HOMES = (
    "neural_compressor.compression.pruner",
    "neural_compressor.torch.algorithms.pruning",
    "neural_compressor.pruning",
)
_DISTILLATION_HOMES = ("neural_compressor.compression.distillation", "neural_compressor.distillation")
_SMOOTH_QUANT = re.compile(r"import_module\(\s*[\"']([\w.]*smooth_quant)[\"']")


def onnxruntime(_request: dict[str, Any]) -> dict[str, Any]:
    """Which execution providers really load, and whether integer products saturate in the engine."""
    ort = import_onnxruntime()
    ort.set_default_logger_severity(_SEVERITY_FATAL)
    loads = {name: _problem(partial(_session, ort, name)) for name in ort.get_available_providers()}
    left = np.full((1, _LENGTH), 255, np.uint8)
    right = np.full((_LENGTH, _COLUMNS), 127, np.int8)
    product = _session(ort, "CPUExecutionProvider").run(None, {"a": left, "b": right})[0]
    exact = left.astype(np.int32) @ right.astype(np.int32)
    return {
        "version": ort.__version__,
        "providers": loads,
        "saturates": bool((product != exact).any()),
        "smooth_quant": _smooth_quant(),
    }


def _session(ort: Any, provider: str) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = _SEVERITY_FATAL
    session = ort.InferenceSession(_PRODUCT, options, providers=[provider])
    if provider not in session.get_providers():
        msg = "it is built in, but its libraries are not found here"
        raise RuntimeError(msg)
    return session


def litert(_request: dict[str, Any]) -> dict[str, Any]:
    """Which packages with a TFLite interpreter are here, and whether the one that is taken loads and computes."""
    from edgewright.runtime.backends.choice import LITERT_PACKAGES
    from edgewright.runtime.backends.litert import LiteRtBackend

    there = {package: names for package, names in LITERT_PACKAGES.items() if not _problem(partial(_find, package))}
    answer: dict[str, Any] = {"packages": [f"{names[0]} {_first_version(names)}" for names in there.values()]}
    if not there:
        return answer
    answer["problem"] = _problem(lambda: answer.update(engine=_run_litert(LiteRtBackend(_RELU, threads=1))))
    return answer


def _run_litert(backend: LiteRtBackend) -> str:
    """Its engine, once it gave the right answer."""
    given = np.array([[-1, 2, -3, 4]], np.float32)
    (found,) = backend.run({backend.inputs[0].name: given}).values()
    if not np.array_equal(found, np.maximum(given, 0)):
        msg = f"it computes {found.tolist()} where {np.maximum(given, 0).tolist()} is right"
        raise RuntimeError(msg)
    return backend.engine


def _smooth_quant() -> dict[str, str] | None:
    """The module that ONNX Runtime's SmoothQuant option imports, and what becomes of that; None without the option."""
    spec = find_spec("onnxruntime")
    places = () if spec is None else tuple(spec.submodule_search_locations or ())
    for place in places:
        source = Path(place) / "quantization" / "quantize.py"
        match = _SMOOTH_QUANT.search(source.read_text(encoding="utf-8")) if source.is_file() else None
        if match:
            return {"module": match.group(1), "problem": _import_problem(match.group(1))}
    return None


def neural_compressor(_request: dict[str, Any]) -> dict[str, Any]:
    """What the installed neural-compressor has, apart from its torch half."""
    return {
        "version": _version("neural-compressor"),
        "tuner": _import_problem("neural_compressor.common.base_tuning"),
        "onnx": _first_found(_ONNX_HOMES),
        "pruning": _first_found(_PRUNING_HOMES),
        "distillation": _first_found(_DISTILLATION_HOMES),
    }


def torch_flow(_request: dict[str, Any]) -> dict[str, Any]:
    """Whether neural-compressor's torch flow can be imported to its end."""
    names = (
        "neural_compressor.torch.export",
        "neural_compressor.torch.quantization",
        "neural_compressor.torch.algorithms.pt2e_quant.core",
    )
    return {"problem": next(filter(None, map(_import_problem, names)), "")}


def _import_problem(module: str) -> str:
    return _problem(partial(importlib.import_module, module))


def _problem(attempt: Callable[[], object]) -> str:
    """Why it fails, empty if it does not."""
    try:
        attempt()
    except Exception as error:  # noqa: BLE001 - somebody else's package may raise anything; whatever it is, is the finding
        reason = " ".join(str(error).split())[:200]
        return f"{type(error).__name__}: {reason}"
    return ""


def _first_found(names: Sequence[str]) -> str | None:
    return next((name for name in names if _lies_there(name)), None)


def _lies_there(module: str) -> bool:
    """Whether there is such a module, looked up without importing the packages around it: one of them loads torch."""
    head, *rest = module.split(".")
    found = find_spec(head)
    for name in rest:
        if found is None or found.submodule_search_locations is None:
            return False
        head = f"{head}.{name}"
        found = PathFinder.find_spec(head, list(found.submodule_search_locations))
    return found is not None


def _find(name: str) -> None:
    if find_spec(name) is None:
        raise ModuleNotFoundError(name)


def _first_version(names: Sequence[str]) -> str:
    return next((version for version in map(_version, names) if version != _ABSENT), "of unknown version")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return _ABSENT
