"""Small real bundles: a one-convolution detector and a classifier, built with onnx, run by ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewright.bundle.arrays import npy_bytes
from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.golden import write_golden
from edgewright.bundle.manifest import (
    ClassifyDecode,
    Format,
    Golden,
    Layout,
    Manifest,
    Precision,
    Preprocess,
    Provenance,
    ResizeMode,
    ScoreActivation,
    SsdDecode,
    Task,
    TensorSpec,
    Variant,
)
from edgewright.bundle.writer import write_bundle
from edgewright.runtime.backends.onnx import OnnxBackend
from edgewright.runtime.session import Session

SIDE = 8
GRID = 4


def anchors() -> NDArray[np.float32]:
    """A 4 x 4 grid of quarter-size boxes, (16, 4) as cx, cy, w, h."""
    centres = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
    cy, cx = np.meshgrid(centres, centres, indexing="ij")
    size = np.full(GRID * GRID, 1 / GRID, np.float32)
    return np.stack([cx.ravel(), cy.ravel(), size, size], axis=1)


def detector_onnx() -> bytes:
    """Scores each cell of the grid by its mean brightness; box codes are all zero."""
    pool = helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[2, 2], strides=[2, 2])
    grey = helper.make_node("ReduceMean", ["cells", "axis"], ["grey"], keepdims=1)
    flat = helper.make_node("Reshape", ["grey", "column"], ["bright"])
    both = helper.make_node("Mul", ["bright", "sign"], ["scores"])
    codes = helper.make_node("Mul", ["both4", "nothing"], ["boxes"])
    four = helper.make_node("Expand", ["bright", "four"], ["both4"])
    constants = {
        "axis": np.array([1], np.int64),
        "column": np.array([1, GRID * GRID, 1], np.int64),
        "sign": np.array([[[-10.0, 10.0]]], np.float32),
        "four": np.array([1, GRID * GRID, 4], np.int64),
        "nothing": np.zeros(1, np.float32),
    }
    graph = helper.make_graph(
        [pool, grey, flat, both, four, codes],
        "detector",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, GRID * GRID, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, GRID * GRID, 2]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return _serialized(graph)


def classifier_onnx() -> bytes:
    """Three classes: how blue, green and red (in BGR order) the picture is."""
    mean = helper.make_node("GlobalAveragePool", ["image"], ["channels"])
    flat = helper.make_node("Flatten", ["channels"], ["logits"])
    graph = helper.make_graph(
        [mean, flat],
        "classifier",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
    )
    return _serialized(graph)


def _serialized(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


DETECT = SsdDecode("boxes", "scores", "arrays/anchors.npy")
CLASSIFY = ClassifyDecode("logits", ScoreActivation.SOFTMAX, 3)
# A grey of 127.5 is 0.0 and so a score of one half; white is +1.
PREPROCESS = Preprocess(ResizeMode.STRETCH, SIDE, SIDE, scale=2 / 255, mean=(1.0, 1.0, 1.0))


def picture(seed: int = 0, height: int = 32, width: int = 48) -> NDArray[np.uint8]:
    """A dark frame with one bright quarter-size square somewhere on the grid."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 40, (height, width, 3), dtype=np.uint8)
    row, column = rng.integers(0, GRID, 2)
    h, w = height // GRID, width // GRID
    image[row * h : (row + 1) * h, column * w : (column + 1) * w] = 250
    return image


def session() -> Session:
    """A session on the tiny detector."""
    return Session(OnnxBackend(detector_onnx()), PREPROCESS, DETECT, {DETECT.anchors: anchors()})


def detector_parts(*, frames: int = 2) -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and payload of the tiny detector's bundle, golden vectors and all."""
    model = detector_onnx()
    live = session()
    pictures = [picture(i) for i in range(frames)]
    payload = {
        "models/float32.onnx": model,
        "arrays/anchors.npy": npy_bytes(anchors()),
        "golden.npz": write_golden(pictures, {"float32-onnx": [live.raw(p) for p in pictures]}),
    }
    outputs = (
        TensorSpec("boxes", (1, GRID * GRID, 4), "float32"),
        TensorSpec("scores", (1, GRID * GRID, 2), "float32"),
    )
    manifest = _manifest(model, "models/float32.onnx", outputs, DETECT, Task.DETECT)
    tolerance = {"float32-onnx/boxes": 1e-5, "float32-onnx/scores": 1e-4}
    return replace(manifest, labels=("bright",), golden=Golden("golden.npz", frames, tolerance)), payload


def classifier_parts() -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and payload of the tiny classifier's bundle."""
    model = classifier_onnx()
    outputs = (TensorSpec("logits", (1, 3), "float32"),)
    manifest = _manifest(model, "models/float32.onnx", outputs, CLASSIFY, Task.CLASSIFY)
    return replace(manifest, labels=("red", "green", "blue")), {"models/float32.onnx": model}


def _manifest(model: bytes, path: str, outputs: tuple[TensorSpec, ...], decode: Any, task: Task) -> Manifest:
    variant = Variant(
        name="float32-onnx",
        format=Format.ONNX,
        precision=Precision.FLOAT32,
        file=path,
        bytes=len(model),
        sha256=sha256_hex(model),
        inputs=(TensorSpec("image", (1, 3, SIDE, SIDE), "float32", Layout.NCHW),),
        outputs=outputs,
    )
    provenance = Provenance(
        "tests", sha256_hex(model), {}, {"onnx": onnx.__version__}, "2026-11-23T00:00:00Z", "UNJUDGED"
    )
    return Manifest("tiny", "1.0.0", task, (variant,), PREPROCESS, decode, (), provenance, ())


def write_detector(target: Path, *, frames: int = 2) -> Path:
    """Writes the tiny detector's bundle."""
    write_bundle(target, *detector_parts(frames=frames))
    return target


def write_classifier(target: Path) -> Path:
    """Writes the tiny classifier's bundle."""
    write_bundle(target, *classifier_parts())
    return target
