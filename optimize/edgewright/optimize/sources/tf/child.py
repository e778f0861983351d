"""The process that imports TensorFlow: ``python -m edgewright.optimize.sources.tf.child``.

It answers one JSON object a line with another: ``convert`` writes the ONNX file, ``run`` the outputs that TensorFlow
gives for some inputs. TensorFlow talks and aborts as it likes in here; the optimizer's own process stays small, silent,
and alive. Started by ``edgewright.optimize.sources.tf.reader``, which sets its environment.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.arrays import npz_bytes, read_npz
from edgewright.bundle.errors import EdgewrightError
from edgewright.optimize.errors import ModelError
from edgewright.optimize.sources.tf.formats import TfFormat
from edgewright.optimize.sources.tf.names import GraphNames

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    import onnx
    from numpy.typing import NDArray

__all__ = ["main"]

_CHANNELS = 3
_PACKAGES = ("tensorflow-cpu", "tensorflow", "tf2onnx", "keras")


@dataclass(eq=False)
class _Opened:
    """The one model that was read, and the names of its outputs."""

    shape: tuple[int, ...]
    outputs: tuple[str, ...]
    run: Callable[[NDArray[Any]], list[NDArray[Any]]]


def main() -> int:
    """Answers until nothing more is asked; returns the exit status."""
    # Whatever TensorFlow prints goes to standard error, so that every line of the answers is one.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        warnings.simplefilter("ignore")
        _serve(answers)
    return 0


def _serve(answers: TextIO) -> None:
    opened: _Opened | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["do"] == "convert":
                opened, told = _convert(asked)
            elif opened is None:
                told = {"error": "no model was converted"}
            else:
                told = _run(opened, asked)
        except EdgewrightError as error:
            told = {"error": str(error)}
        answers.write(json.dumps(told) + "\n")
        answers.flush()


def _convert(asked: dict[str, Any]) -> tuple[_Opened, dict[str, Any]]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    path, where = Path(asked["path"]), str(asked["where"])
    size = tuple(asked["size"]) if asked["size"] else None
    names = GraphNames(tuple(asked["inputs"]), tuple(asked["outputs"]))
    model, opened = _read(TfFormat(asked["format"]), path, names, size, where)
    Path(asked["onnx"]).write_bytes(model.SerializeToString())
    versions = {name: _version(name) for name in _PACKAGES}
    told = {"outputs": opened.outputs, "versions": {name: known for name, known in versions.items() if known}}
    return opened, told


def _read(
    kind: TfFormat, path: Path, names: GraphNames, size: tuple[int, int] | None, where: str
) -> tuple[onnx.ModelProto, _Opened]:
    from edgewright.optimize.sources.tf.frozen import to_onnx
    from edgewright.optimize.sources.tf.graph_def import freeze_graph
    from edgewright.optimize.sources.tf.keras_model import freeze_keras, freeze_saved_model
    from edgewright.optimize.sources.tf.lite_model import read_lite

    if kind is TfFormat.TFLITE:
        model, shape, run = read_lite(path, size, where)
        return model, _Opened(shape, tuple(value.name for value in model.graph.output), run)
    if kind is TfFormat.FROZEN_GRAPH:
        frozen = freeze_graph(path, names, size, where)
    else:
        frozen = (freeze_keras if kind is TfFormat.KERAS else freeze_saved_model)(path, size, where)
    return to_onnx(frozen, where), _Opened(frozen.shape, frozen.output_names, frozen.run)


def _run(opened: _Opened, asked: dict[str, Any]) -> dict[str, Any]:
    feeds = read_npz(Path(asked["feeds"]).read_bytes(), "the inputs")
    made: dict[str, NDArray[Any]] = {}
    for key, picture in feeds.items():
        turned = picture if opened.shape[1] == _CHANNELS else picture.transpose(0, 2, 3, 1)
        try:
            outputs = opened.run(np.ascontiguousarray(turned))
        except Exception as error:
            # TensorFlow's errors share no base below Exception.
            msg = f"TensorFlow cannot run {asked['where']}: {' '.join(str(error).split())[:400]}"
            raise ModelError(msg) from error
        made |= {f"{key}.{index}": output for index, output in enumerate(outputs)}
    Path(asked["outputs"]).write_bytes(npz_bytes(made))
    return {"count": len(feeds)}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
