"""TFLite files by other people's converters, each run in a child process.

These packages start engines of their own (XLA, MLIR, TensorFlow), write to the terminal as they like, take a gigabyte,
and end the process on some inputs; none of that may happen to ours. What goes in and comes out are files of one
temporary folder (see ``child``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.arrays import npy_bytes
from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.converters.signature import rename_signature
from edgewright.optimize.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.spec import SourceModel

__all__ = [
    "BorrowedFiles",
    "Names",
    "Route",
    "convert_tensorflow",
    "convert_torch",
    "missing_of",
    "quantize_file",
]

_TIMEOUT_S = 1800.0
_LAST_WORDS = 400
_MOST_PICTURES = 128


class Route(str, Enum):
    """Which converter made a file; the report names it."""

    LITERT_TORCH = "litert-torch"
    TENSORFLOW = "tensorflow"
    AI_EDGE_QUANTIZER = "ai-edge-quantizer"


_NEEDS: Mapping[Route, tuple[tuple[str, ...], str]] = {
    Route.LITERT_TORCH: (("litert_torch", "ai_edge_quantizer", "torch"), "optimize,torch,tflite-export"),
    Route.TENSORFLOW: (("tensorflow",), "optimize,tensorflow"),
    Route.AI_EDGE_QUANTIZER: (("ai_edge_quantizer",), "optimize,tflite-export"),
}


@dataclass(frozen=True)
class Names:
    """What a file's tensors are called, so that a bundle's decoding finds them.

    Attributes:
        input: Of the picture.
        outputs: In the order in which the network gives them.
    """

    input: str
    outputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class BorrowedFiles:
    """What a converter made.

    Attributes:
        float_model: The float ``.tflite``.
        integer_model: The full INT8 one, None where no pictures were given.
        route: Who made them.
        notes: For the report.
    """

    float_model: bytes
    integer_model: bytes | None
    route: Route
    notes: tuple[str, ...] = ()


def convert_torch(source: SourceModel, pictures: NDArray[np.float32] | None, names: Names) -> BorrowedFiles:
    """A PyTorch network by ``litert-torch``, and its INT8 form by ``ai-edge-quantizer``.

    Args:
        source: The network, for one picture of its spec's shape.
        pictures: (n, H, W, 3) inputs to calibrate on; None makes the float file only.
        names: Of the file's tensors.

    Raises:
        MissingExtraError: The converters are not installed.
        ModelError: The network cannot be converted.
    """
    import torch

    _check_installed(Route.LITERT_TORCH)
    shape = source.spec.input_shape
    if shape is None:
        msg = "the spec must say input_shape before a network can be converted"
        raise ModelError(msg)
    with tempfile.TemporaryDirectory(prefix="edgewright-convert-") as folder:
        program = Path(folder) / "program.pt2"
        try:
            with torch.no_grad():
                torch.export.save(torch.export.export(source.module.eval(), (torch.zeros(shape),)), program)
        except Exception as error:
            # The exporter traces the user's module and wraps whatever that raises in classes of its own.
            reason = " ".join(str(error).split())[:_LAST_WORDS]
            msg = f"the network cannot be traced for litert-torch: {type(error).__name__}: {reason}"
            raise ModelError(msg) from error
        return _convert(Route.LITERT_TORCH, {"program": str(program), "shape": list(shape)}, pictures, names, folder)


def convert_tensorflow(model: Path, pictures: NDArray[np.float32] | None, names: Names) -> BorrowedFiles:
    """A ``.keras`` file or SavedModel by TensorFlow's own converter; INT8 with the pictures as representative data.

    Layers at the front of a ``.keras`` model that only scale pixels are left out, as they are of the float graph: what
    they do has moved into the preprocessing.

    Args:
        model: The file or folder.
        pictures: (n, H, W, 3) inputs to calibrate on, scaled already; None makes the float file only.
        names: Of the file's tensors.

    Raises:
        MissingExtraError: TensorFlow is not installed.
        ModelError: The model cannot be converted.
    """
    _check_installed(Route.TENSORFLOW)
    with tempfile.TemporaryDirectory(prefix="edgewright-convert-") as folder:
        return _convert(Route.TENSORFLOW, {"model": str(model.absolute())}, pictures, names, folder)


def quantize_file(
    float_model: bytes,
    pictures: NDArray[np.float32],
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> bytes:
    """Full INT8 of a float ``.tflite`` by ``ai-edge-quantizer``.

    Args:
        float_model: The float file.
        pictures: (n, ...) inputs to calibrate on, in the layout of the file.
        ranges: Ranges by tensor name that are known already, for instance measured on the ONNX graph of the same
            network; they go before those measured here.

    Raises:
        MissingExtraError: The quantizer is not installed.
        ModelError: The file cannot be quantized.
    """
    _check_installed(Route.AI_EDGE_QUANTIZER)
    with tempfile.TemporaryDirectory(prefix="edgewright-convert-") as folder:
        given = Path(folder) / "given.tflite"
        given.write_bytes(float_model)
        job: dict[str, Any] = {"model": str(given)}
        if ranges is not None:
            job["ranges"] = {name: list(pair) for name, pair in ranges.items()}
        _run(Route.AI_EDGE_QUANTIZER, job, pictures, folder)
        return (Path(folder) / "int8.tflite").read_bytes()


def missing_of(route: Route) -> tuple[str, str] | None:
    """A package that a converter needs and that is not installed, and the extra that brings it; None without any.

    Args:
        route: The converter.
    """
    packages, extra = _NEEDS[route]
    return next(((package, extra) for package in packages if find_spec(package) is None), None)


def _check_installed(route: Route) -> None:
    missing = missing_of(route)
    if missing is not None:
        what = f"converting by {route.value} needs {missing[0]}, which is not installed"
        raise MissingExtraError(what, missing[1])


def _convert(
    route: Route, job: dict[str, Any], pictures: NDArray[np.float32] | None, names: Names, folder: str
) -> BorrowedFiles:
    _run(route, job, pictures, folder)
    made = Path(folder)
    float_model = rename_signature((made / "float.tflite").read_bytes(), (names.input,), names.outputs)
    integer_model = None
    if pictures is not None:
        integer_model = rename_signature((made / "int8.tflite").read_bytes(), (names.input,), names.outputs)
    return BorrowedFiles(float_model, integer_model, route, (f"TFLite files by {route.value}",))


def _run(route: Route, job: dict[str, Any], pictures: NDArray[np.float32] | None, folder: str) -> None:
    home = Path(folder)
    if pictures is not None:
        few = pictures[:: max(1, -(-len(pictures) // _MOST_PICTURES))]
        (home / "pictures.npy").write_bytes(npy_bytes(np.ascontiguousarray(few, np.float32)))
    (home / "job.json").write_text(json.dumps({"route": route.value, **job}), encoding="utf-8")
    command = [sys.executable, "-m", "edgewright.optimize.converters.child", folder]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    log = home / "log.txt"
    try:
        with log.open("wb") as stream:
            done = subprocess.run(
                command, stdout=stream, stderr=stream, timeout=_TIMEOUT_S, check=False, env=environment, cwd=folder
            )
    except subprocess.TimeoutExpired as error:
        msg = f"{route.value} took longer than {_TIMEOUT_S / 60:.0f} min and was stopped"
        raise ModelError(msg) from error
    if done.returncode != 0:
        msg = f"{route.value} cannot convert this network: {_last_words(log, done.returncode)}"
        raise ModelError(msg)


def _last_words(log: Path, status: int) -> str:
    lines: Sequence[str] = [
        line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
    ]
    if not lines:
        return f"it ended with status {status} and said nothing"
    return " ".join(lines[-1].split())[-_LAST_WORDS:]
