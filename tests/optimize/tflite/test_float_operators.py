"""Every operator in float: LiteRT answers what ONNX Runtime answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from edgewright.bundle.manifest import Layout
from edgewright.optimize.tflite import TfliteForm, write_tflite

Make = Callable[..., bytes]
Run = Callable[..., dict[str, Any]]
PICTURE = (1, 4, 9, 8)
RANDOM = np.random.default_rng(0)
NODE = helper.make_node


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.normal(0, 0.5, shape).astype(np.float32)


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


# name: nodes, constants, and where it is not PICTURE the input's shape
CASES: dict[str, tuple[list[Any], dict[str, Any], tuple[int, ...]]] = {
    "conv relu6": (
        [NODE("Conv", ["x", "w", "b"], ["h"], pads=[1] * 4), NODE("Clip", ["h", "lo", "hi"], ["y"])],
        {"w": normal(6, 4, 3, 3) * 8, "b": normal(6), "lo": np.float32(0), "hi": np.float32(6)},
        PICTURE,
    ),
    "conv clipped elsewhere": (
        [NODE("Conv", ["x", "w"], ["h"]), NODE("Clip", ["h", "lo", "hi"], ["y"])],
        {"w": normal(6, 4, 3, 3) * 8, "lo": np.float32(-0.5), "hi": np.float32(1)},
        PICTURE,
    ),
    "conv read twice": (
        [NODE("Conv", ["x", "w"], ["h"]), NODE("Relu", ["h"], ["r"]), NODE("Sub", ["r", "h"], ["y"])],
        {"w": normal(6, 4, 1, 1)},
        PICTURE,
    ),
    "grouped": ([NODE("Conv", ["x", "w"], ["y"], group=2)], {"w": normal(6, 2, 3, 3)}, PICTURE),
    "depthwise": ([NODE("Conv", ["x", "w"], ["y"], group=4, pads=[1] * 4)], {"w": normal(4, 1, 3, 3)}, PICTURE),
    "two filters a channel": (
        [NODE("Conv", ["x", "w"], ["y"], group=4, auto_pad="SAME_UPPER", strides=[2, 2])],
        {"w": normal(8, 1, 3, 3)},
        PICTURE,
    ),
    "dilated": ([NODE("Conv", ["x", "w"], ["y"], dilations=[2, 2], pads=[2] * 4)], {"w": normal(3, 4, 3, 3)}, PICTURE),
    "auto pad lower": (
        [NODE("Conv", ["x", "w"], ["y"], auto_pad="SAME_LOWER", strides=[2, 2])],
        {"w": normal(3, 4, 3, 3)},
        PICTURE,
    ),
    "transposed 2x2": ([NODE("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])], {"w": normal(4, 3, 2, 2)}, PICTURE),
    "transposed 4x4": (
        [NODE("ConvTranspose", ["x", "w", "b"], ["y"], strides=[2, 2], pads=[1] * 4)],
        {"w": normal(4, 3, 4, 4), "b": normal(3)},
        PICTURE,
    ),
    "transposed 3x3": (
        [NODE("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], pads=[1] * 4, output_padding=[1, 1])],
        {"w": normal(4, 3, 3, 3)},
        PICTURE,
    ),
    "transposed by auto pad": (
        [NODE("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], auto_pad="SAME_UPPER")],
        {"w": normal(4, 3, 3, 3)},
        PICTURE,
    ),
    "clip from below": ([NODE("Clip", ["x", "lo"], ["y"])], {"lo": np.float32(0.25)}, PICTURE),
    "conv with valid auto pad": (
        [NODE("Conv", ["x", "w"], ["y"], auto_pad="VALID", strides=[2, 2])],
        {"w": normal(3, 4, 3, 3)},
        PICTURE,
    ),
    "transposed and cut": (
        [NODE("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], pads=[2, 0, 1, 1])],
        {"w": normal(4, 3, 3, 3)},
        PICTURE,
    ),
    "gemm": ([NODE("Gemm", ["x", "w", "b"], ["y"], transB=1)], {"w": normal(5, 7), "b": normal(5)}, (2, 7)),
    "gemm turned and scaled": (
        [NODE("Gemm", ["x", "w"], ["h"], alpha=0.5), NODE("Relu", ["h"], ["y"])],
        {"w": normal(7, 5)},
        (1, 7),
    ),
    "matmul": ([NODE("MatMul", ["x", "w"], ["y"])], {"w": normal(8, 5)}, (1, 3, 2, 8)),
    "matmul of two": (
        [NODE("Transpose", ["x"], ["t"], perm=[0, 2, 1]), NODE("MatMul", ["x", "t"], ["y"])],
        {},
        (2, 3, 4),
    ),
    "max pool": ([NODE("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)], {}, PICTURE),
    "max pool, ceil": (
        [NODE("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)],
        {},
        PICTURE,
    ),
    "mean pool over zeros": (
        [NODE("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)],
        {},
        PICTURE,
    ),
    "mean pool without zeros": (
        [NODE("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)],
        {},
        PICTURE,
    ),
    "global mean, then flat": (
        [NODE("GlobalAveragePool", ["x"], ["p"]), NODE("Flatten", ["p"], ["f"]), NODE("Gemm", ["f", "w"], ["y"])],
        {"w": normal(4, 3)},
        PICTURE,
    ),
    "mean of columns": ([NODE("ReduceMean", ["x", "a"], ["y"], keepdims=0)], {"a": ints(-1)}, PICTURE),
    "mean of channels": ([NODE("ReduceMean", ["x", "a"], ["y"])], {"a": ints(1)}, PICTURE),
    "largest": ([NODE("ReduceMax", ["x"], ["y"], keepdims=0)], {}, PICTURE),
    "channel constants": (
        [NODE("Mul", ["x", "g"], ["h"]), NODE("Add", ["s", "h"], ["y"])],
        {"g": normal(4, 1, 1), "s": normal(1, 4, 1, 1)},
        PICTURE,
    ),
    "squeeze and excite": (
        [
            NODE("GlobalAveragePool", ["x"], ["p"]),
            NODE("Conv", ["p", "w"], ["c"]),
            NODE("HardSigmoid", ["c"], ["s"], alpha=1 / 6, beta=0.5),
            NODE("Mul", ["x", "s"], ["y"]),
        ],
        {"w": normal(4, 4, 1, 1)},
        PICTURE,
    ),
    "constant first": (
        [NODE("Sub", ["c", "x"], ["h"]), NODE("Div", ["h", "d"], ["y"])],
        {"c": np.float32(2), "d": floats(3)},
        PICTURE,
    ),
    "smaller rank": (
        [NODE("ReduceMean", ["x", "a"], ["m"], keepdims=0), NODE("Sub", ["x", "m"], ["y"])],
        {"a": ints(0, 1)},
        PICTURE,
    ),
    "sum of three": (
        [NODE("Relu", ["x"], ["r"]), NODE("Neg", ["x"], ["n"]), NODE("Sum", ["r", "n", "x"], ["y"])],
        {},
        PICTURE,
    ),
    "max, min, pow": (
        [NODE("Max", ["x", "c"], ["a"]), NODE("Min", ["a", "d"], ["b"]), NODE("Pow", ["b", "e"], ["y"])],
        {"c": np.float32(0.1), "d": np.float32(0.7), "e": np.float32(2)},
        PICTURE,
    ),
    "batch norm": (
        [NODE("BatchNormalization", ["x", "g", "b", "m", "v"], ["h"]), NODE("Relu", ["h"], ["y"])],
        {"g": normal(4), "b": normal(4), "m": normal(4), "v": np.abs(normal(4)) + 0.1},
        PICTURE,
    ),
    "prelu": ([NODE("PRelu", ["x", "s"], ["y"])], {"s": normal(4, 1, 1)}, PICTURE),
    "leaky relu": ([NODE("LeakyRelu", ["x"], ["y"], alpha=0.1)], {}, PICTURE),
    "softmax over channels": ([NODE("Softmax", ["x"], ["y"], axis=1)], {}, PICTURE),
    "softmax over columns": ([NODE("Softmax", ["x"], ["y"], axis=-1)], {}, PICTURE),
    "flat picture": ([NODE("Flatten", ["x"], ["y"])], {}, PICTURE),
    "head": (
        [
            NODE("Conv", ["x", "w"], ["h"]),
            NODE("Transpose", ["h"], ["t"], perm=[0, 2, 3, 1]),
            NODE("Reshape", ["t", "s"], ["y"]),
        ],
        {"w": normal(6, 4, 1, 1), "s": ints(1, -1, 3)},
        PICTURE,
    ),
    "shuffled channels": (
        [
            NODE("Reshape", ["x", "s"], ["a"]),
            NODE("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
            NODE("Reshape", ["b", "t"], ["y"]),
        ],
        {"s": ints(1, 2, 2, 9, 8), "t": ints(1, 4, 9, 8)},
        PICTURE,
    ),
    "squeezed": (
        [NODE("GlobalMaxPool", ["x"], ["p"]), NODE("Squeeze", ["p", "a"], ["q"]), NODE("Unsqueeze", ["q", "b"], ["y"])],
        {"a": ints(2, 3), "b": ints(0)},
        PICTURE,
    ),
    "slice": (
        [NODE("Slice", ["x", "s", "e", "a"], ["y"])],
        {"s": ints(1, -6), "e": ints(9999, -1), "a": ints(1, 3)},
        PICTURE,
    ),
    "every second": (
        [NODE("Slice", ["x", "s", "e", "a", "p"], ["y"])],
        {"s": ints(1, 0), "e": ints(9, 8), "a": ints(2, 3), "p": ints(2, 3)},
        PICTURE,
    ),
    "split and join": (
        [NODE("Split", ["x", "s"], ["a", "b"], axis=1), NODE("Concat", ["b", "a", "c"], ["y"], axis=1)],
        {"s": ints(1, 3), "c": normal(1, 2, 9, 8)},
        PICTURE,
    ),
    "gather": ([NODE("Gather", ["x", "i"], ["y"], axis=1)], {"i": ints(2, 0, -1)}, PICTURE),
    "gather one": ([NODE("Gather", ["x", "i"], ["y"], axis=2)], {"i": np.int64(3)}, PICTURE),
    "tile": ([NODE("Tile", ["x", "t"], ["y"])], {"t": ints(1, 2, 3, 1)}, PICTURE),
    "expand": (
        [NODE("ReduceMean", ["x", "a"], ["m"], keepdims=0), NODE("Expand", ["m", "s"], ["y"])],
        {"a": ints(0, 1), "s": ints(1, 3, 9, 8)},
        PICTURE,
    ),
    "depth to space": ([NODE("DepthToSpace", ["x"], ["y"], blocksize=2)], {}, PICTURE),
    "space to depth": ([NODE("SpaceToDepth", ["x"], ["y"], blocksize=2)], {}, (1, 4, 6, 8)),
    "pad": ([NODE("Pad", ["x", "p"], ["y"])], {"p": ints(0, 0, 1, 2, 0, 1, 0, 3)}, PICTURE),
    "pad with a value": (
        [NODE("Pad", ["x", "p", "v", "a"], ["y"])],
        {"p": ints(1, 2), "v": np.float32(0.3), "a": ints(-1)},
        PICTURE,
    ),
    "pad by reflection": (
        [NODE("Pad", ["x", "p"], ["y"], mode="reflect")],
        {"p": ints(0, 0, 1, 2, 0, 0, 1, 2)},
        PICTURE,
    ),
    "resize nearest": (
        [
            NODE(
                "Resize",
                ["x", "", "f"],
                ["y"],
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )
        ],
        {"f": floats(1, 1, 2, 2)},
        PICTURE,
    ),
    "resize nearest, half pixels": ([NODE("Resize", ["x", "", "f"], ["y"])], {"f": floats(1, 1, 2, 2)}, PICTURE),
    "resize nearest, odd": (
        [NODE("Resize", ["x", "", "", "s"], ["y"], nearest_mode="ceil")],
        {"s": ints(1, 4, 14, 5)},
        PICTURE,
    ),
    "resize linear": ([NODE("Resize", ["x", "", "f"], ["y"], mode="linear")], {"f": floats(1, 1, 2, 2)}, PICTURE),
    "resize linear, corners": (
        [NODE("Resize", ["x", "", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="align_corners")],
        {"s": ints(1, 4, 17, 15)},
        PICTURE,
    ),
    "resize linear, asymmetric": (
        [NODE("Resize", ["x", "", "f"], ["y"], mode="linear", coordinate_transformation_mode="asymmetric")],
        {"f": floats(1, 1, 2, 2)},
        PICTURE,
    ),
    "constants computed on the way": (
        [NODE("Shape", ["x"], ["s"]), NODE("Gather", ["s", "i"], ["n"]), NODE("Reshape", ["x", "n"], ["y"])],
        {"i": ints(0, 3, 2, 1)},
        PICTURE,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_answers_as_onnx_runtime_does(name: str, make_graph: Make, run_onnx: Run, run_tflite: Run) -> None:
    nodes, constants, shape = CASES[name]
    model = make_graph(nodes, shape, **constants)
    feeds = {"x": np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)}
    file = write_tflite(model, form=TfliteForm.FLOAT32)
    np.testing.assert_allclose(run_tflite(file, feeds)["y"], run_onnx(model, feeds)["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "kind", ["Abs", "Ceil", "Cos", "Elu", "Exp", "Floor", "Gelu", "HardSwish", "Neg", "Round", "Sigmoid", "Sin", "Tanh"]
)
def test_functions_of_one_number(kind: str, make_graph: Make, run_onnx: Run, run_tflite: Run) -> None:
    model = make_graph([NODE(kind, ["x"], ["y"])], PICTURE)
    feeds = {"x": np.random.default_rng(1).normal(0, 2, PICTURE).astype(np.float32)}
    file = write_tflite(model, form=TfliteForm.FLOAT32)
    np.testing.assert_allclose(run_tflite(file, feeds)["y"], run_onnx(model, feeds)["y"], rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    height=st.integers(4, 12),
    width=st.integers(4, 12),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    depthwise=st.booleans(),
)
def test_every_padding_is_exact(
    make_graph: Make,
    run_onnx: Run,
    run_tflite: Run,
    height: int,
    width: int,
    kernel: int,
    stride: int,
    pads: tuple[int, ...],
    depthwise: bool,
) -> None:
    weights = normal(3, 1 if depthwise else 3, kernel, kernel)
    conv = NODE("Conv", ["x", "w"], ["y"], pads=pads, strides=[stride] * 2, group=3 if depthwise else 1)
    model = make_graph([conv], (1, 3, height, width), w=weights)
    feeds = {"x": RANDOM.normal(0, 1, (1, 3, height, width)).astype(np.float32)}
    file = write_tflite(model, form=TfliteForm.FLOAT32)
    np.testing.assert_allclose(run_tflite(file, feeds)["y"], run_onnx(model, feeds)["y"], rtol=1e-4, atol=1e-5)


def test_a_picture_comes_in_as_nhwc_and_other_tensors_as_they_are(make_graph: Make) -> None:
    picture = write_tflite(make_graph([NODE("Relu", ["x"], ["y"])], (1, 3, 5, 6)), form=TfliteForm.FLOAT32)
    assert (picture.inputs[0].shape, picture.inputs[0].layout) == ((1, 5, 6, 3), Layout.NHWC)
    assert picture.outputs[0].shape == (1, 3, 5, 6)
    rows = write_tflite(make_graph([NODE("Relu", ["x"], ["y"])], (1, 3, 5)), form=TfliteForm.FLOAT32)
    assert (rows.inputs[0].shape, rows.inputs[0].layout) == ((1, 3, 5), None)


def test_a_picture_that_is_nhwc_in_onnx_stays_so(make_graph: Make, run_onnx: Run, run_tflite: Run) -> None:
    nodes = [
        NODE("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        NODE("Conv", ["t", "w"], ["c"]),
        NODE("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1]),
    ]
    model = make_graph(nodes, (1, 6, 7, 3), w=normal(4, 3, 3, 3))
    file = write_tflite(model, form=TfliteForm.FLOAT32)
    assert (file.inputs[0].shape, file.inputs[0].layout) == ((1, 6, 7, 3), Layout.NHWC)
    assert not any("transposition" in note for note in file.notes)
    feeds = {"x": normal(1, 6, 7, 3)}
    np.testing.assert_allclose(run_tflite(file, feeds)["y"], run_onnx(model, feeds)["y"], rtol=1e-4, atol=1e-5)


def test_tensors_keep_their_names_and_tell_their_axes(make_graph: Make) -> None:
    nodes = [NODE("Conv", ["x", "w"], ["h"]), NODE("Relu", ["h"], ["r"]), NODE("Flatten", ["r"], ["y"])]
    file = write_tflite(make_graph(nodes, PICTURE, w=normal(2, 4, 3, 3)), form=TfliteForm.FLOAT32)
    assert file.axes["r"] == (0, 2, 3, 1)
    assert file.axes["y"] == (0, 1)


def test_one_tensor_as_two_outputs(make_graph: Make, run_onnx: Run, run_tflite: Run) -> None:
    nodes = [NODE("Relu", ["x"], ["y"]), NODE("Identity", ["y"], ["z"]), NODE("Identity", ["x"], ["same"])]
    model = make_graph(nodes, (1, 5), outputs=["y", "z", "same"])
    file = write_tflite(model, form=TfliteForm.FLOAT32)
    assert [spec.name for spec in file.outputs] == ["y", "z", "same"]
    feeds = {"x": normal(1, 5)}
    answers, wanted = run_tflite(file, feeds), run_onnx(model, feeds)
    for name, value in wanted.items():
        np.testing.assert_array_equal(answers[name], value)
