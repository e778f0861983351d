"""The INT8 form: the integers of the QDQ graph, and answers within few steps of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgewright.optimize.errors import ConversionError
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.quantization.scheme import IntegerType, Scheme
from edgewright.optimize.tflite import TfliteFile, TfliteForm, write_tflite

Make = Callable[..., bytes]
Run = Callable[..., dict[str, Any]]
NODE = helper.make_node
RANDOM = np.random.default_rng(0)
PICTURE = (1, 4, 10, 12)
ALL_INTEGER = Scheme(float_outputs=False)


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.normal(0, 0.5, shape).astype(np.float32)


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def pictures(count: int = 6) -> list[dict[str, np.ndarray[Any, Any]]]:
    random = np.random.default_rng(1)
    return [{"x": random.uniform(-1, 1, PICTURE).astype(np.float32)} for _ in range(count)]


# What follows a convolution "x" -> "h" (six channels): nodes, constants, and how many steps the result may differ by.
CASES: dict[str, tuple[list[Any], dict[str, Any], int]] = {
    "strided conv": ([NODE("Conv", ["h", "v"], ["y"], strides=[2, 2], pads=[1] * 4)], {"v": normal(5, 6, 3, 3)}, 1),
    "depthwise": ([NODE("Conv", ["h", "v"], ["y"], group=6, pads=[1] * 4)], {"v": normal(6, 1, 3, 3)}, 1),
    "grouped": ([NODE("Conv", ["h", "v"], ["y"], group=2)], {"v": normal(4, 3, 3, 3)}, 1),
    "conv relu": ([NODE("Conv", ["h", "v"], ["c"]), NODE("Relu", ["c"], ["y"])], {"v": normal(4, 6, 1, 1)}, 1),
    "transposed conv": ([NODE("ConvTranspose", ["h", "v"], ["y"], strides=[2, 2])], {"v": normal(6, 3, 2, 2)}, 1),
    "mean and gemm": (
        [
            NODE("GlobalAveragePool", ["h"], ["p"]),
            NODE("Flatten", ["p"], ["f"]),
            NODE("Gemm", ["f", "v", "b"], ["y"], transB=1),
        ],
        {"v": normal(3, 6), "b": normal(3)},
        2,
    ),
    "matmul": ([NODE("MatMul", ["h", "v"], ["y"])], {"v": normal(12, 5)}, 2),
    "add": ([NODE("Conv", ["h", "v"], ["g"]), NODE("Add", ["h", "g"], ["y"])], {"v": normal(6, 6, 1, 1)}, 2),
    "mul": ([NODE("Conv", ["h", "v"], ["g"]), NODE("Mul", ["h", "g"], ["y"])], {"v": normal(6, 6, 1, 1)}, 2),
    "add a constant": ([NODE("Add", ["h", "c"], ["y"])], {"c": normal(1, 6, 1, 1)}, 2),
    "clip behind a pool": (
        [NODE("MaxPool", ["h"], ["m"], kernel_shape=[2, 2]), NODE("Clip", ["m", "lo", "hi"], ["y"])],
        {"lo": np.float32(-0.2), "hi": np.float32(0.4)},
        1,
    ),
    "max pool": ([NODE("MaxPool", ["h"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)], {}, 0),
    "mean pool": ([NODE("AveragePool", ["h"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], {}, 2),
    "mean pool without zeros": ([NODE("AveragePool", ["h"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 0, 0])], {}, 1),
    "concat": (
        [NODE("Conv", ["h", "v"], ["g"]), NODE("Concat", ["h", "g"], ["y"], axis=1)],
        {"v": normal(6, 6, 1, 1) * 4},
        1,
    ),
    "sigmoid": ([NODE("Sigmoid", ["h"], ["y"])], {}, 2),
    "softmax": ([NODE("Softmax", ["h"], ["y"], axis=1)], {}, 2),
    "leaky relu": ([NODE("LeakyRelu", ["h"], ["y"], alpha=0.1)], {}, 2),
    "resize": ([NODE("Resize", ["h", "", "f"], ["y"])], {"f": np.array([1, 1, 2, 2], np.float32)}, 0),
    "resize linear": (
        [NODE("Resize", ["h", "", "f"], ["y"], mode="linear")],
        {"f": np.array([1, 1, 2, 2], np.float32)},
        1,
    ),
    "head": (
        [NODE("Transpose", ["h"], ["t"], perm=[0, 2, 3, 1]), NODE("Reshape", ["t", "s"], ["y"])],
        {"s": ints(1, -1, 3)},
        0,
    ),
    "split": ([NODE("Split", ["h"], ["a", "b"], axis=1, num_outputs=2), NODE("Add", ["a", "b"], ["y"])], {}, 2),
    "pad": ([NODE("Pad", ["h", "p"], ["y"])], {"p": ints(0, 0, 1, 2, 0, 0, 3, 1)}, 0),
    "slice": ([NODE("Slice", ["h", "s", "e", "a"], ["y"])], {"s": ints(2), "e": ints(5), "a": ints(1)}, 0),
}


def small(make_graph: Make, name: str) -> bytes:
    nodes, constants, _ = CASES[name]
    first = NODE("Conv", ["x", "w", "wb"], ["h"], pads=[1] * 4)
    return make_graph([first, *nodes], PICTURE, w=normal(6, 4, 3, 3), wb=normal(6), **constants)


def steps(model: bytes, name: str) -> float:
    """The scale of an output, or of the tensor it is made of."""
    graph = onnx.load_model_from_string(model)
    producers = {output: node for node in graph.graph.node for output in node.output}
    constants = {item.name: numpy_helper.to_array(item) for item in graph.graph.initializer}
    while producers[name].op_type != "DequantizeLinear":
        name = producers[name].input[0]
    return float(constants[producers[name].input[1]])


def tensors(file: TfliteFile) -> dict[str, Any]:
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(file.model).subgraphs[0]
    return {item.name.decode(): item for item in graph.tensors}


@pytest.mark.parametrize("scheme", [Scheme(), ALL_INTEGER, Scheme(activations=IntegerType.INT8)], ids=lambda s: s.name)
@pytest.mark.parametrize("name", CASES)
def test_answers_within_few_steps_of_onnx_runtime(
    name: str, scheme: Scheme, make_graph: Make, quantize: Callable[..., Any], run_onnx: Run, run_tflite: Run
) -> None:
    feeds = pictures()
    model, _, engine = quantize(small(make_graph, name), feeds, scheme=scheme)
    file = write_tflite(model, form=TfliteForm.INT8)
    assert file.inputs[0].dtype == "int8"
    step = steps(model, "y") if "mean and gemm" not in name else 0.02
    for feed in feeds:
        wanted, seen = run_onnx(model, feed, engine)["y"], run_tflite(file, feed)["y"]
        assert np.abs(seen - wanted).max() <= (CASES[name][2] + 0.01) * step


@pytest.mark.parametrize("name", ["strided conv", "depthwise", "mean and gemm"])
def test_the_integers_are_the_same(name: str, make_graph: Make, quantize: Callable[..., Any]) -> None:
    model, _, _ = quantize(small(make_graph, name), pictures(), scheme=ALL_INTEGER)
    file = write_tflite(model, form=TfliteForm.INT8)
    from ai_edge_litert import schema_py_generated as schema

    unpacked = schema.ModelT.InitFromPackedBuf(file.model)
    graph = unpacked.subgraphs[0]
    written = [item for item in graph.operators if len(item.inputs) == 3 and item.inputs[2] >= 0]
    written = [item for item in written if graph.tensors[item.inputs[2]].type == schema.TensorType.INT32]
    layers = IntegerGraph(model).layers
    assert len(written) == len(layers)
    for operator, layer in zip(written, layers, strict=True):
        source, kernel, bias = (graph.tensors[index] for index in operator.inputs)
        codes = unpacked.buffers[kernel.buffer].data.view(np.int8).reshape(kernel.shape)
        back = codes.transpose(3, 0, 1, 2) if layer.depthwise else codes.transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(back.reshape(layer.codes.shape), layer.codes)
        np.testing.assert_array_equal(kernel.quantization.scale, layer.scale)
        assert source.quantization.zeroPoint[0] == layer.input.zero_point - 128
        assert source.quantization.scale[0] == np.float32(layer.input.scale)
        if layer.bias is not None:
            np.testing.assert_array_equal(unpacked.buffers[bias.buffer].data.view(np.int32), layer.bias)


def test_weights_of_lowest_code_are_clamped_and_told(make_graph: Make, quantize: Callable[..., Any]) -> None:
    model, _, _ = quantize(small(make_graph, "strided conv"), pictures())
    graph = IntegerGraph(model)
    layer = graph.layers[1]
    codes = layer.codes.copy()
    codes[0, 0, 0, 0] = -128
    graph.set_codes(layer.node, codes)
    assert any("1 weights of -128" in note for note in write_tflite(graph.to_bytes(), form=TfliteForm.INT8).notes)
    assert not any("-128" in note for note in write_tflite(model, form=TfliteForm.INT8).notes)


def test_an_input_that_is_moved_first_takes_codes_as_well(
    make_graph: Make, quantize: Callable[..., Any], run_onnx: Run, run_tflite: Run
) -> None:
    """As in graphs made from Keras: the picture is NHWC and turned before the first convolution."""
    nodes = [NODE("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), NODE("Conv", ["t", "w"], ["y"], name="conv")]
    feeds = [{"x": feed["x"].transpose(0, 2, 3, 1).copy()} for feed in pictures()]
    model, _, _ = quantize(make_graph(nodes, (1, 10, 12, 4), w=normal(5, 4, 3, 3)), feeds)
    file = write_tflite(model, form=TfliteForm.INT8)
    assert (file.inputs[0].dtype, file.inputs[0].shape) == ("int8", (1, 10, 12, 4))
    wanted, seen = run_onnx(model, feeds[0])["y"], run_tflite(file, feeds[0])["y"]
    assert np.abs(seen - wanted).max() <= 1.01 * steps(model, "y")


def test_regions_left_in_float_stay_float(
    make_graph: Make, quantize: Callable[..., Any], run_onnx: Run, run_tflite: Run
) -> None:
    nodes = [
        NODE("Conv", ["x", "w"], ["a"], name="first"),
        NODE("Conv", ["a", "v"], ["b"], name="middle"),
        NODE("Relu", ["b"], ["c"], name="relu"),
        NODE("Conv", ["c", "u"], ["y"], name="last"),
    ]
    shapes = {"w": normal(6, 4, 3, 3), "v": normal(6, 6, 1, 1), "u": normal(3, 6, 1, 1)}
    feeds = pictures()
    model, _, engine = quantize(make_graph(nodes, PICTURE, **shapes), feeds, ["middle", "relu"])
    file = write_tflite(model, form=TfliteForm.INT8)
    assert any("2 operators with weights compute in INT8" in note and "1 in float" in note for note in file.notes)
    wanted, seen = run_onnx(model, feeds[0], engine)["y"], run_tflite(file, feeds[0])["y"]
    assert np.abs(seen - wanted).max() <= 1.01 * steps(model, "y")


def test_logits_without_a_grid_take_one_from_the_ranges(
    make_graph: Make, quantize: Callable[..., Any], run_onnx: Run, run_tflite: Run
) -> None:
    feeds = pictures()
    model, ranges, _ = quantize(small(make_graph, "mean and gemm"), feeds)
    without, with_ranges = (write_tflite(model, form=TfliteForm.INT8, ranges=given) for given in (None, ranges))
    assert without.outputs[0].dtype == "float32"
    assert any("no grid for their result" in note for note in without.notes)
    assert with_ranges.outputs[0].dtype == "int8"
    assert with_ranges.outputs[0].scale is not None
    wanted = run_onnx(model, feeds[0])["y"]
    assert np.abs(run_tflite(with_ranges, feeds[0])["y"] - wanted).max() <= 2 * with_ranges.outputs[0].scale
    # The product's input is quantized anew from its own extremes.
    assert np.abs(run_tflite(without, feeds[0])["y"] - wanted).max() <= 0.02 * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["strided conv", "depthwise", "transposed conv"])
def test_convolutions_without_a_grid_give_floats(
    name: str, make_graph: Make, quantize: Callable[..., Any], run_onnx: Run, run_tflite: Run
) -> None:
    feeds = pictures()
    model = onnx.load_model_from_string(quantize(small(make_graph, name), feeds)[0])
    step = steps(model.SerializeToString(), "y")
    producers = {output: node for node in model.graph.node for output in node.output}
    dequantize = producers["y"]
    rounding = producers[dequantize.input[0]]
    producers[rounding.input[0]].output[0] = "y"
    for node in (dequantize, rounding):
        model.graph.node.remove(node)
    data = model.SerializeToString()
    file = write_tflite(data, form=TfliteForm.INT8)
    assert file.outputs[0].dtype == "float32"
    wanted, seen = run_onnx(data, feeds[0])["y"], run_tflite(file, feeds[0])["y"]
    assert np.abs(seen - wanted).max() <= 2 * step


def test_a_bias_in_other_steps_is_rounded_anew(
    make_graph: Make, quantize: Callable[..., Any], run_onnx: Run, run_tflite: Run
) -> None:
    feeds = pictures()
    model = onnx.load_model_from_string(quantize(small(make_graph, "strided conv"), feeds)[0])
    for item in model.graph.initializer:
        if item.name == "wb_quantized_scale":
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item) * np.float32(1.5), item.name))
    data = model.SerializeToString()
    file = write_tflite(data, form=TfliteForm.INT8)
    assert any("1 biases were rounded anew" in note for note in file.notes)
    wanted, seen = run_onnx(data, feeds[0])["y"], run_tflite(file, feeds[0])["y"]
    assert np.abs(seen - wanted).max() <= 1.01 * steps(data, "y")


def test_weights_with_a_zero_point_are_refused(make_graph: Make, quantize: Callable[..., Any]) -> None:
    model = onnx.load_model_from_string(quantize(small(make_graph, "strided conv"), pictures())[0])
    for item in model.graph.initializer:
        if item.name == "v_zero_point":
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item) + np.int8(1), item.name))
    with pytest.raises(ConversionError, match="weights have a zero point"):
        write_tflite(model.SerializeToString(), form=TfliteForm.INT8)


def test_outputs_can_be_asked_for_in_float(make_graph: Make, quantize: Callable[..., Any], run_tflite: Run) -> None:
    feeds = pictures()
    model, _, _ = quantize(small(make_graph, "head"), feeds)
    codes, floats = (write_tflite(model, form=TfliteForm.INT8, integer_outputs=choice) for choice in (True, False))
    assert (codes.outputs[0].dtype, floats.outputs[0].dtype) == ("int8", "float32")
    np.testing.assert_allclose(run_tflite(codes, feeds[0])["y"], run_tflite(floats, feeds[0])["y"], rtol=1e-6)


def test_scores_come_as_codes_of_the_fixed_grid_or_as_floats(
    make_graph: Make, quantize: Callable[..., Any], run_onnx: Run, run_tflite: Run
) -> None:
    feeds = pictures()
    model, _, _ = quantize(small(make_graph, "softmax"), feeds)
    codes, floats = (write_tflite(model, form=TfliteForm.INT8, integer_outputs=choice) for choice in (True, False))
    assert (codes.outputs[0].scale, codes.outputs[0].zero_point) == (1 / 256, -128)
    wanted = run_onnx(model, feeds[0])["y"]
    assert np.abs(run_tflite(codes, feeds[0])["y"] - wanted).max() <= 2.01 / 256
    assert np.abs(run_tflite(floats, feeds[0])["y"] - wanted).max() <= 2.01 / 256


def test_parts_on_grids_of_their_own_are_joined_in_float(make_graph: Make, quantize: Callable[..., Any]) -> None:
    model, _, _ = quantize(small(make_graph, "concat"), pictures())
    file = write_tflite(model, form=TfliteForm.INT8)
    assert file.outputs[0].dtype == "float32"
    assert any("1 concatenations join parts on grids of their own" in note for note in file.notes)
    kinds = {name: item.type for name, item in tensors(file).items()}
    assert kinds["h"] == kinds["g"] == 9  # INT8


def test_nothing_but_codes_between_the_input_and_the_output(make_graph: Make, quantize: Callable[..., Any]) -> None:
    model, _, _ = quantize(small(make_graph, "strided conv"), pictures())
    file = write_tflite(model, form=TfliteForm.INT8)
    assert {item.type for item in tensors(file).values()} <= {2, 9}  # INT32 and INT8
    assert file.outputs[0].dtype == "int8"
