"""Tiny float models with real convolutions, and pictures for them: everything optimize needs, in milliseconds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 32
GRID = 4
FRAME = (96, 64)  # width, height
PRODUCTS = ("red", "green", "blue")

SPEC = """\
[model]
name = "bright"
task = "detect"
labels = ["spot"]

[preprocess]
resize = "stretch"
width = 32
height = 32
scale = 0.00392156862745098

[decode]
head = "ssd"
boxes = "codes"
scores = "logits"
anchors = "anchors.npy"
background = 0
"""


def anchors() -> NDArray[np.float32]:
    """A 4 x 4 grid of quarter-size boxes, (16, 4) as cx, cy, w, h."""
    centres = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
    cy, cx = np.meshgrid(centres, centres, indexing="ij")
    size = np.full(GRID * GRID, 1 / GRID, np.float32)
    return np.stack([cx.ravel(), cy.ravel(), size, size], axis=1)


def detector_onnx() -> bytes:
    """A spot is a cell of the 4 x 4 grid whose mean brightness is above one half; two convolutions deep."""
    random = np.random.default_rng(3)
    mean = np.full((2, 3, 8, 8), 1 / 192, np.float32)
    mean[1] *= 0.5
    logits = np.array([[-8.0, -8.0], [8.0, 8.0]], np.float32).reshape(2, 2, 1, 1)
    constants = {
        "mean": mean,
        "logit_w": logits,
        "logit_b": np.array([6.0, -6.0], np.float32),
        "code_w": random.normal(0, 0.05, (4, 2, 1, 1)).astype(np.float32),
        "two": np.array([1, GRID * GRID, 2], np.int64),
        "four": np.array([1, GRID * GRID, 4], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["image", "mean"], ["cells"], name="mean", kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Relu", ["cells"], ["bright"], name="relu"),
        helper.make_node("Conv", ["bright", "logit_w", "logit_b"], ["logit_map"], name="logit"),
        helper.make_node("Conv", ["bright", "code_w"], ["code_map"], name="code"),
        helper.make_node("Transpose", ["logit_map"], ["logit_t"], name="logit_t", perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["code_map"], ["code_t"], name="code_t", perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["logit_t", "two"], ["logits"], name="logits"),
        helper.make_node("Reshape", ["code_t", "four"], ["codes"], name="codes"),
    ]
    outputs = {"codes": [1, GRID * GRID, 4], "logits": [1, GRID * GRID, 2]}
    return _serialized(nodes, constants, outputs)


def classifier_onnx() -> bytes:
    """Three classes: which of red, green and blue is strongest."""
    weights = np.full((3, 3, 3, 3), -0.02, np.float32)
    for channel in range(3):
        weights[channel, channel] = 0.1
    head = np.eye(3, dtype=np.float32) * 6
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["map"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["map"], ["active"], name="relu"),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "head"], ["scores"], name="head"),
    ]
    return _serialized(nodes, {"w": weights, "head": head}, {"scores": [1, 3]})


def slow_detector_onnx(model: bytes, side: int = 512) -> bytes:
    """The same detector after a product of large matrices that changes nothing."""
    slow = onnx.load_model_from_string(model)
    graph = slow.graph
    name = graph.input[0].name
    for node in graph.node:
        node.input[:] = ["calm" if used == name else used for used in node.input]
    big = np.zeros((side, side), np.float32)
    graph.initializer.append(numpy_helper.from_array(big, "big"))
    # The scalar is zero and depends on the picture, or the engine would compute the product once.
    work = [
        helper.make_node("ReduceMax", [name], ["brightest"], keepdims=0),
        helper.make_node("Add", ["big", "brightest"], ["filled"]),
        helper.make_node("MatMul", ["filled", "filled"], ["product"]),
        helper.make_node("MatMul", ["product", "big"], ["all_zero"]),
        helper.make_node("ReduceSum", ["all_zero"], ["zero"], keepdims=0),
        helper.make_node("Add", [name, "zero"], ["calm"]),
    ]
    nodes = [*work, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(slow)
    return bytes(slow.SerializeToString())


def _serialized(nodes: list[Any], constants: dict[str, NDArray[Any]], outputs: dict[str, list[int]]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def write_detector(folder: Path) -> tuple[Path, Path]:
    """The detector and its spec as files."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "anchors.npy", anchors())
    (folder / "spec.toml").write_text(SPEC, encoding="utf-8")
    (folder / "detector.onnx").write_bytes(detector_onnx())
    return folder / "detector.onnx", folder / "spec.toml"


def write_classifier(folder: Path) -> Path:
    """The classifier as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classifier.onnx").write_bytes(classifier_onnx())
    return folder / "classifier.onnx"


def cell_of(index: int) -> tuple[int, int]:
    """Row and column of the spot in frame ``index``."""
    return (index // GRID) % GRID, index % GRID


def spot_frame(index: int) -> NDArray[np.uint8]:
    """A dim noisy frame with one bright cell, (64, 96, 3)."""
    width, height = FRAME
    image = np.random.default_rng(index).integers(0, 60, (height, width, 3)).astype(np.uint8)
    row, column = cell_of(index)
    h, w = height // GRID, width // GRID
    image[row * h : (row + 1) * h, column * w : (column + 1) * w] = 200 + index % 50
    return image


def write_clip(path: Path, frames: int = 48, rate: float = 10) -> Path:
    """A clip of moving spots, ``rate`` frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, FRAME)
    for index in range(frames):
        writer.write(spot_frame(index))
    writer.release()
    return path


def write_labels(path: Path, indices: range, *, name: str = "spot", size: tuple[int, int] = FRAME) -> Path:
    """COCO labels of the spots in those frames."""
    images = [
        {"id": index, "file_name": f"clip_{index:06d}.png", "width": size[0], "height": size[1]} for index in indices
    ]
    w, h = FRAME[0] // GRID, FRAME[1] // GRID
    annotations = []
    for index in indices:
        row, column = cell_of(index)
        box = [column * w, row * h, w, h]
        annotations.append({"id": index + 1, "image_id": index, "category_id": 7, "bbox": box, "area": w * h})
    categories = [{"id": 7, "name": name}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def write_photos(folder: Path, count: int, *, start: int = 0, by_class: bool = False, film: bool = True) -> Path:
    """Pictures that are mostly red, green or blue, in that turn; ``film`` gives their names running numbers."""
    for number in range(start, start + count):
        kind = number % 3
        image = np.random.default_rng(1000 + number).integers(0, 120, (40, 40, 3)).astype(np.uint8)
        image[..., 2 - kind] = np.clip(image[..., 2 - kind].astype(int) + 90, 0, 255)
        place = folder / PRODUCTS[kind] if by_class else folder
        place.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(place / f"photo-{number if film else number**2:03d}.png"), image)
    return folder
