"""Kinds of graphs that are trained: fed channels last, with a detector's head, and with other ranges."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from qat_networks import Pictures, run_file, start_of

from edgewright.bundle.manifest import ClassifyDecode, SsdDecode
from edgewright.optimize.qat.train import QatSettings, QatStart, train_quantized
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.training.settings import Device, TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 12
SHORT = TrainSettings(
    epochs=8.0, batch=32, rate=1e-2, weight_decay=0.0, evaluations=0, threads=1, device=Device.CPU, checkpoint_minutes=0
)
ROUGH = Scheme(weight_bits=7, per_channel=False)
"""One step for all weights of a layer, of seven bits, so that there is something to mend."""


def pictures_of(shape: tuple[int, ...]) -> Pictures:
    random = np.random.default_rng(3)
    return Pictures(random.normal(0.3, 1, shape).astype(np.float32), np.zeros(shape[0], np.int64))


def written(
    nodes: list[Any], constants: dict[str, NDArray[Any]], shape: list[int], outputs: dict[str, list[int]]
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "kind",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


SIZES = np.geomspace(0.01, 1.0, 8)
"""Of the channels: the weights of the small ones have few integers, and the next layer makes them large again."""


def body() -> tuple[list[Any], dict[str, NDArray[Any]]]:
    """From ``c`` (1, 3, 12, 12) to ``r`` (1, 8, 6, 6)."""
    random = np.random.default_rng(1)
    constants = {
        "w1": (random.normal(0, 0.4, (8, 3, 3, 3)) * SIZES[:, None, None, None]).astype(np.float32),
        "b1": (random.uniform(-0.1, 0.3, 8) * SIZES).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["c", "w1", "b1"], ["v"], name="first", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["v"], ["r"], name="relu"),
    ]
    return nodes, constants


@pytest.fixture(scope="module")
def last() -> bytes:
    """Channels last, as converters of TensorFlow graphs leave it."""
    random = np.random.default_rng(2)
    nodes, constants = body()
    constants |= {
        "w2": (random.normal(0, 0.4, (8, 5)) / SIZES[:, None]).astype(np.float32),
        "b2": np.zeros(5, np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["c"], name="turn", perm=[0, 3, 1, 2]),
        *nodes,
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["scores"], name="head"),
    ]
    return written(nodes, constants, [1, SIDE, SIDE, 3], {"scores": [1, 5]})


@pytest.fixture(scope="module")
def head() -> bytes:
    """Two maps turned, flattened to anchors and joined, as SSD detectors end."""
    random = np.random.default_rng(4)
    nodes, constants = body()
    shapes = {"first_shape": 36, "second_shape": 9}
    nodes[0].input[0] = "x"
    nodes.append(helper.make_node("MaxPool", ["r"], ["s"], name="down", kernel_shape=[2, 2], strides=[2, 2]))
    for output, width in (("boxes", 4), ("classes", 3)):
        for source, shape in (("r", "first_shape"), ("s", "second_shape")):
            made = f"{output}_{source}"
            weights = random.normal(0, 0.4, (width, 8, 1, 1)) / SIZES[:, None, None]
            constants[f"w_{made}"] = weights.astype(np.float32)
            constants[f"b_{made}"] = random.normal(0, 0.1, width).astype(np.float32)
            constants[f"{shape}_{width}"] = np.array([1, shapes[shape], width], np.int64)
            nodes += [
                helper.make_node("Conv", [source, f"w_{made}", f"b_{made}"], [f"m_{made}"], name=f"conv_{made}"),
                helper.make_node("Transpose", [f"m_{made}"], [f"t_{made}"], name=f"turn_{made}", perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"t_{made}", f"{shape}_{width}"], [made], name=f"flat_{made}"),
            ]
        nodes.append(
            helper.make_node("Concat", [f"{output}_r", f"{output}_s"], [output], name=f"join_{output}", axis=1)
        )
    return written(nodes, constants, [1, 3, SIDE, SIDE], {"boxes": [1, 45, 4], "classes": [1, 45, 3]})


def error(model: bytes, file: bytes, images: NDArray[np.float32]) -> list[float]:
    pairs = zip(run_file(model, images), run_file(file, images), strict=True)
    return [float(np.square(wanted - seen).mean() / wanted.var()) for wanted, seen in pairs]


def test_a_graph_fed_channels_last_is_trained(last: bytes) -> None:
    pictures = pictures_of((160, SIDE, SIDE, 3))
    start = start_of(last, pictures.images[:32], ROUGH)
    done = train_quantized(start, pictures, QatSettings(SHORT), decode=ClassifyDecode("scores"))
    assert done.replaced == 0
    assert not done.notes
    assert done.agreement.same_top["scores"] > 0.95
    images = pictures.images[-64:]
    assert error(last, done.graph.model, images)[0] < 0.5 * error(last, start.graph.model, images)[0]


def test_a_detectors_head_is_trained(head: bytes) -> None:
    pictures = pictures_of((160, 3, SIDE, SIDE))
    start = start_of(head, pictures.images[:32], ROUGH)
    decode = SsdDecode("boxes", "classes", "anchors.npy")
    done = train_quantized(start, pictures, QatSettings(SHORT), decode=decode)
    assert done.replaced == 0
    assert min(done.agreement.noise.values()) > 30
    images = pictures.images[-64:]
    before, after = (error(head, file, images) for file in (start.graph.model, done.graph.model))
    assert all(now < 0.7 * was for was, now in zip(before, after, strict=True))


def test_ranges_and_whatever_else_decides_are_part_of_the_checkpoints_key(last: bytes, tmp_path: Path) -> None:
    pictures = pictures_of((32, SIDE, SIDE, 3))
    start = start_of(last, pictures.images[:32], ROUGH)
    brief = QatSettings(replace(SHORT, epochs=1.0), pictures=0)

    def folders(start: QatStart, **extra: Any) -> int:
        train_quantized(start, pictures, brief, decode=ClassifyDecode("scores"), extra=extra, folder=tmp_path)
        return len(list(tmp_path.iterdir()))

    assert [folders(start), folders(start)] == [1, 1]
    # A tensor without a grid of its own: the INT8 file is the same, what is written after training is not.
    low, high = start.ranges["v"]
    assert folders(replace(start, ranges={**start.ranges, "v": (low, high + 1.0)})) == 2
    assert folders(start, held="others") == 3
