"""float16 and dynamic weights, and what is refused."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.errors import ConversionError
from edgewright.optimize.tflite import TfliteForm, flatbuffer, write_tflite

Make = Callable[..., bytes]
Run = Callable[..., dict[str, Any]]
NODE = helper.make_node
SHAPE = (1, 16, 12, 12)


def network(make_graph: Make) -> bytes:
    random = np.random.default_rng(0)
    nodes = [
        NODE("Conv", ["x", "w", "b"], ["h"], pads=[1] * 4, strides=[2, 2]),
        NODE("Relu", ["h"], ["r"]),
        NODE("Conv", ["r", "d"], ["e"], group=32, pads=[1] * 4),
        NODE("GlobalAveragePool", ["e"], ["p"]),
        NODE("Flatten", ["p"], ["f"]),
        NODE("Gemm", ["f", "v"], ["y"]),
    ]
    return make_graph(
        nodes,
        SHAPE,
        w=random.normal(0, 0.1, (32, 16, 3, 3)).astype(np.float32),
        b=random.normal(0, 0.1, 32).astype(np.float32),
        d=random.normal(0, 0.5, (32, 1, 3, 3)).astype(np.float32),
        v=random.normal(0, 0.3, (32, 40)).astype(np.float32),
    )


@pytest.mark.parametrize(("form", "smaller", "tolerance"), [("float16", 1.6, 2e-3), ("dynamic", 2.3, 3e-2)])
def test_smaller_weights_say_nearly_the_same(
    form: str, smaller: float, tolerance: float, make_graph: Make, run_onnx: Run, run_tflite: Run
) -> None:
    model = network(make_graph)
    feeds = {"x": np.random.default_rng(1).normal(0, 1, SHAPE).astype(np.float32)}
    plain, file = write_tflite(model, form=TfliteForm.FLOAT32), write_tflite(model, form=TfliteForm(form))
    assert len(plain.model) / len(file.model) > smaller
    wanted = run_onnx(model, feeds)["y"]
    error = np.abs(run_tflite(file, feeds)["y"] - wanted).max() / np.abs(wanted).max()
    assert 0 < error < tolerance
    assert file.inputs == plain.inputs
    assert file.outputs == plain.outputs


def test_weights_beyond_float16_stay_float32(make_graph: Make, run_onnx: Run, run_tflite: Run) -> None:
    weights = np.full((64, 16, 1, 1), 1e5, np.float32)
    model = make_graph([NODE("Conv", ["x", "w"], ["y"])], SHAPE, w=weights)
    feeds = {"x": np.random.default_rng(1).normal(0, 1, SHAPE).astype(np.float32)}
    file = write_tflite(model, form=TfliteForm.FLOAT16)
    np.testing.assert_allclose(run_tflite(file, feeds)["y"], run_onnx(model, feeds)["y"], rtol=1e-3, atol=1)


def test_buffers_start_at_multiples_of_sixteen(make_graph: Make) -> None:
    from ai_edge_litert import schema_py_generated as schema

    data = write_tflite(network(make_graph), form=TfliteForm.FLOAT32).model
    model = schema.Model.GetRootAs(data, 0)
    sizes = 0
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength() >= 16:
            start = buffer._tab.Vector(buffer._tab.Offset(4))
            assert start % 16 == 0
            sizes += 1
    assert sizes >= 5


def test_like_constants_are_kept_once(make_graph: Make) -> None:
    weights = np.random.default_rng(0).normal(0, 1, (16, 16, 3, 3)).astype(np.float32)
    nodes = [NODE("Conv", ["x", "w"], ["h"]), NODE("Conv", ["h", "v"], ["y"])]
    twice = write_tflite(make_graph(nodes, SHAPE, w=weights, v=weights.copy()), form=TfliteForm.FLOAT32)
    assert len(twice.model) < 1.5 * weights.nbytes


def test_the_same_model_gives_the_same_bytes(make_graph: Make) -> None:
    model = network(make_graph)
    assert write_tflite(model, form=TfliteForm.FLOAT16).model == write_tflite(model, form=TfliteForm.FLOAT16).model


@pytest.mark.parametrize(
    ("nodes", "constants", "words"),
    [
        (
            [
                NODE("GlobalAveragePool", ["x"], ["p"]),
                NODE("Reshape", ["p", "s"], ["r"]),
                NODE("Gemm", ["r", "v", "c"], ["y"], name="rows"),
            ],
            {
                "s": np.array([4, 4], np.int64),
                "v": np.ones((4, 4), np.float32),
                "c": np.arange(4, dtype=np.float32)[:, None],
            },
            r"Gemm 'rows'.*bias has the shape \[4, 1\]",
        ),
        (
            [NODE("Mod", ["x", "x"], ["y"], name="odd", fmod=1)],
            {},
            "Mod 'odd' .* does not know the operator.*formats onnx",
        ),
        (
            [NODE("MaxPool", ["x"], ["y"], name="holes", kernel_shape=[2, 2], dilations=[2, 2])],
            {},
            "MaxPool 'holes'.*dilations",
        ),
        (
            [NODE("Resize", ["x", "", "f"], ["y"], name="cubic", mode="cubic")],
            {"f": np.array([1, 1, 2, 2], np.float32)},
            "Resize 'cubic'.*'cubic'",
        ),
        (
            [NODE("Relu", ["x"], ["h"]), NODE("Conv", ["x", "h"], ["y"], name="computed")],
            {},
            "Conv 'computed'.*constant",
        ),
    ],
)
def test_what_cannot_be_written_is_named(
    nodes: list[Any], constants: dict[str, Any], words: str, make_graph: Make
) -> None:
    with pytest.raises(ConversionError, match=words):
        write_tflite(make_graph(nodes, SHAPE, **constants), form=TfliteForm.FLOAT32)


def test_open_shapes_are_refused() -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [NODE("Relu", ["x"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [value("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with pytest.raises(ConversionError, match="shape of input 'x' is not fixed"):
        write_tflite(model.SerializeToString(), form=TfliteForm.FLOAT32)


def test_control_flow_is_refused() -> None:
    value = helper.make_tensor_value_info
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value_floats=[1.0])], "b", [], [value("c", TensorProto.FLOAT, [1])]
    )
    nodes = [
        NODE("ReduceMax", ["x"], ["m"], keepdims=0),
        NODE("Cast", ["m"], ["is"], to=TensorProto.BOOL),
        NODE("If", ["is"], ["y"], name="maybe", then_branch=branch, else_branch=branch),
    ]
    shapes = [value("x", TensorProto.FLOAT, [1, 3]), value("y", TensorProto.FLOAT, [1])]
    graph = helper.make_graph(nodes, "g", shapes[:1], shapes[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with pytest.raises(ConversionError, match="cannot be written as TFLite"):
        write_tflite(model.SerializeToString(), form=TfliteForm.FLOAT32)


def test_junk_is_no_model() -> None:
    with pytest.raises(ConversionError, match="not an ONNX model"):
        write_tflite(b"junk", form=TfliteForm.FLOAT32)


def test_form_and_graph_must_fit(make_graph: Make, quantize: Callable[..., Any]) -> None:
    model = network(make_graph)
    with pytest.raises(ConversionError, match="this one is float; quantize it first"):
        write_tflite(model, form=TfliteForm.INT8)
    feeds = [{"x": np.random.default_rng(1).normal(0, 1, SHAPE).astype(np.float32)}]
    with pytest.raises(ConversionError, match="quantized already"):
        write_tflite(quantize(model, feeds)[0], form=TfliteForm.FLOAT16)


def test_too_many_weights_are_refused(make_graph: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatbuffer, "MAX_BYTES", 10_000)
    with pytest.raises(ConversionError, match="cannot hold"):
        write_tflite(network(make_graph), form=TfliteForm.FLOAT32)


def test_a_missing_package_names_the_extra(make_graph: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "ai_edge_litert":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return genuine(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"edgewright\[tflite\]"):
        write_tflite(network(make_graph), form=TfliteForm.FLOAT32)


def test_other_domains_are_refused(make_graph: Make) -> None:
    model = onnx.load_model_from_string(network(make_graph))
    model.graph.node[1].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(ConversionError, match=r"domain 'com\.example'"):
        write_tflite(model.SerializeToString(), form=TfliteForm.FLOAT32)
