"""The child process of ``borrowed``: ``python -m edgewright.optimize.converters.child FOLDER``.

The folder holds ``job.json`` (``route`` and what it needs) and, for INT8, ``pictures.npy`` (n, H, W, C) float32. The
child writes ``float.tflite`` and ``int8.tflite`` there. Whatever goes wrong is its last line on standard error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.arrays import read_npy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["main"]

_FLOAT, _INT8 = "float.tflite", "int8.tflite"


def main(arguments: list[str]) -> int:
    """The child; returns its exit status."""
    folder = Path(arguments[0])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    file = folder / "pictures.npy"
    pictures = np.asarray(read_npy(file.read_bytes(), file.name), np.float32) if file.exists() else None
    _ROUTES[job["route"]](job, pictures, folder)
    return 0


def _litert_torch(job: Mapping[str, Any], pictures: NDArray[np.float32] | None, folder: Path) -> None:
    import litert_torch
    import torch

    # The file was written by our own process a moment ago, in a folder of its own.
    module = torch.export.load(job["program"]).module()
    batch, channels, height, width = job["shape"]
    network = litert_torch.to_channel_last_io(module, args=[0])
    made = litert_torch.convert(network, (torch.zeros(batch, height, width, channels),))
    made.export(str(folder / _FLOAT))
    if pictures is not None:
        _ai_edge_quantizer({"model": str(folder / _FLOAT)}, pictures, folder)


def _ai_edge_quantizer(job: Mapping[str, Any], pictures: NDArray[np.float32] | None, folder: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    if pictures is None:
        msg = "full INT8 needs pictures to calibrate on"
        raise SystemExit(msg)
    interpreter = Interpreter(model_path=job["model"])
    signature, tensors = next(iter(interpreter.get_signature_list().items()))
    name = tensors["inputs"][0]
    tool = quantizer.Quantizer(Path(job["model"]).read_bytes(), recipe.static_wi8_ai8())
    found = tool.calibrate({signature: [{name: picture[None]} for picture in pictures]}, num_threads=1)
    for tensor, (low, high) in job.get("ranges", {}).items():
        if tensor in found:
            shape = np.shape(found[tensor]["min"]) if found[tensor] else ()
            found[tensor] = {"min": np.full(shape, low, np.float32), "max": np.full(shape, high, np.float32)}
    result = tool.quantize(found, enable_progress_bar=False, enable_progress_report=False)
    (folder / _INT8).write_bytes(bytes(result.quantized_model))


def _tensorflow(job: Mapping[str, Any], pictures: NDArray[np.float32] | None, folder: Path) -> None:
    import tensorflow as tf

    def converter() -> Any:
        if Path(job["model"]).is_dir():
            return tf.lite.TFLiteConverter.from_saved_model(job["model"])
        model = tf.keras.models.load_model(job["model"], compile=False, safe_mode=True)
        return tf.lite.TFLiteConverter.from_keras_model(_behind_scaling(tf.keras, model))

    (folder / _FLOAT).write_bytes(converter().convert())
    if pictures is None:
        return

    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for picture in pictures:
            yield [picture[None]]

    integer = converter()
    integer.optimizations = [tf.lite.Optimize.DEFAULT]
    integer.representative_dataset = representative
    integer.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    integer.inference_input_type = tf.int8
    integer.inference_output_type = tf.int8
    (folder / _INT8).write_bytes(integer.convert())


def _behind_scaling(keras: Any, model: Any) -> Any:
    """The network behind the layers at its front that scale pixels: the bundle's preprocessing does their work.

    Scaling inside of a nested model, or in a SavedModel, stays; who asked for the file proves what it computes.
    """
    scaling = (keras.layers.Rescaling, keras.layers.Normalization)
    front = begin = model.inputs[0]
    while (
        layer := next((one for one in model.layers if isinstance(one, scaling) and one.input is front), None)
    ) is not None:
        front = layer.output
    return model if front is begin else keras.Model(front, model.outputs)


_ROUTES: Mapping[str, Callable[[Mapping[str, Any], NDArray[np.float32] | None, Path], None]] = {
    "litert-torch": _litert_torch,
    "tensorflow": _tensorflow,
    "ai-edge-quantizer": _ai_edge_quantizer,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
