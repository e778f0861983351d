"""What is done to a converted graph without TensorFlow: folding, moving scaling to the front, renaming."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgewright.bundle.manifest import ClassifyDecode, Preprocess, ResizeMode, Task, TensorSpec
from edgewright.optimize.passes.runner import run_onnx
from edgewright.optimize.sources.feeds import made_up_pictures
from edgewright.optimize.sources.tf.fold import fold_scales
from edgewright.optimize.sources.tf.frozen import rename_values
from edgewright.optimize.sources.tf.scaling import absorb_scaling
from edgewright.optimize.spec import ModelSpec
from edgewright.runtime.preprocess import Preprocessor

SHAPE = (1, 3, 6, 8)
RANDOM = np.random.default_rng(2)
KERNEL = RANDOM.normal(size=(4, 3, 3, 3)).astype(np.float32)


def build(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], output: str = "out") -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ("n", "c", "h", "w"))],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outputs(model: onnx.ModelProto, picture: np.ndarray) -> np.ndarray:
    return run_onnx(model.SerializeToString(), [{"picture": picture}])[0][0]


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in model.graph.node))


PER_CHANNEL = RANDOM.uniform(0.5, 2, (1, 4, 1, 1))


@pytest.mark.parametrize(
    ("operators", "constant", "left"),
    [
        pytest.param(["Mul"], PER_CHANNEL, {"Conv": 1}, id="mul"),
        pytest.param(["Add"], PER_CHANNEL, {"Conv": 1}, id="add"),
        pytest.param(["Mul", "Add"], PER_CHANNEL, {"Conv": 1}, id="both"),
        pytest.param(["Add", "Mul", "Add"], PER_CHANNEL[0], {"Conv": 1}, id="three, three axes"),
        pytest.param(["Mul"], 2.5, {"Conv": 1}, id="one number"),
        pytest.param(["Mul"], RANDOM.normal(size=(1, 1, 6, 8)), {"Conv": 1, "Mul": 1}, id="by place"),
        pytest.param(["Add"], RANDOM.normal(size=(8,)), {"Conv": 1, "Add": 1}, id="by column"),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_folding_behind_a_convolution(operators: list[str], constant: object, left: dict[str, int], bias: bool) -> None:
    inputs = ["picture", "kernel", *(["bias"] if bias else [])]
    names = ["conv", *(f"v{i}" for i in range(len(operators) - 1)), "out"]
    nodes = [helper.make_node("Conv", inputs, ["conv"], pads=[1, 1, 1, 1])]
    nodes += [
        helper.make_node(op, [names[i], "c"] if i % 2 else ["c", names[i]], [names[i + 1]])
        for i, op in enumerate(operators)
    ]
    constants = {"kernel": KERNEL, "c": constant} | ({"bias": RANDOM.normal(size=4)} if bias else {})
    model = build(nodes, constants)
    picture = RANDOM.normal(size=SHAPE).astype(np.float32)
    before = outputs(model, picture)
    notes = fold_scales(model)
    assert kinds(model) == left
    assert bool(notes) == (left == {"Conv": 1})
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read
    onnx.checker.check_model(model)
    np.testing.assert_allclose(outputs(model, picture), before, rtol=1e-4, atol=1e-4)


def test_a_convolution_that_others_read_is_left_alone() -> None:
    nodes = [
        helper.make_node("Conv", ["picture", "kernel"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["conv", "c"], ["twice"]),
        helper.make_node("Add", ["twice", "conv"], ["out"]),
    ]
    model = build(nodes, {"kernel": KERNEL, "c": 2.0})
    assert fold_scales(model) == ()
    assert kinds(model) == {"Conv": 1, "Mul": 1, "Add": 1}


def test_a_kernel_that_two_share_is_not_changed_for_both() -> None:
    nodes = [
        helper.make_node("Conv", ["picture", "kernel"], ["a"]),
        helper.make_node("Conv", ["picture", "kernel"], ["b"]),
        helper.make_node("Mul", ["a", "c"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "b"], ["out"]),
    ]
    model = build(nodes, {"kernel": KERNEL, "c": 3.0})
    picture = RANDOM.normal(size=SHAPE).astype(np.float32)
    before = outputs(model, picture)
    assert fold_scales(model)
    np.testing.assert_allclose(outputs(model, picture), before, rtol=1e-4, atol=1e-4)


numbers = st.floats(0.25, 4.0)
steps = st.lists(
    st.tuples(
        st.sampled_from(["Mul", "Div", "Add", "Sub"]),
        st.one_of(st.tuples(numbers), st.tuples(numbers, numbers, numbers)),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=30, deadline=None)
@given(steps=steps, mean=st.tuples(numbers, numbers, numbers), std=st.tuples(numbers, numbers, numbers))
def test_scaling_moved_to_the_front_gives_the_same(
    steps: list[tuple[str, tuple[float, ...]]], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    nodes, constants, value = [], {"kernel": KERNEL}, "picture"
    for index, (op, numbers) in enumerate(steps):
        constants[f"c{index}"] = np.reshape(numbers, (1, -1, 1, 1))
        nodes.append(helper.make_node(op, [value, f"c{index}"], [f"v{index}"]))
        value = f"v{index}"
    nodes.append(helper.make_node("Conv", [value, "kernel"], ["out"]))
    model = build(nodes, constants)
    preprocess = Preprocess(resize=ResizeMode.STRETCH, width=8, height=6, scale=1 / 255, mean=mean, std=std)
    spec = ModelSpec("n", Task.CLASSIFY, preprocess, ClassifyDecode(scores="out"), input_shape=SHAPE)
    picture = made_up_pictures(1)[0]
    before = outputs(model, feed(spec, picture))
    shorter, notes = absorb_scaling(model, spec)
    assert kinds(model) == {"Conv": 1}
    assert notes
    after = outputs(model, feed(shorter, picture))
    assert np.abs(after - before).max() <= 1e-4 * max(1.0, float(np.abs(before).max()))


def feed(spec: ModelSpec, picture: np.ndarray) -> np.ndarray:
    return Preprocessor(spec.preprocess, TensorSpec("picture", SHAPE, "float32", spec.layout))(picture)[0].copy()


@pytest.mark.parametrize(
    ("node", "constant"),
    [
        pytest.param(("Sub", ["c", "picture"]), 1.0, id="constant minus picture"),
        pytest.param(("Div", ["c", "picture"]), 1.0, id="constant over picture"),
        pytest.param(("Mul", ["picture", "c"]), 0.0, id="times nothing"),
        pytest.param(("Mul", ["picture", "c"]), np.ones((6, 8)), id="by place"),
        pytest.param(("Add", ["picture", "picture"]), 1.0, id="twice the picture"),
    ],
)
def test_what_is_no_scaling_stays(node: tuple[str, list[str]], constant: object) -> None:
    model = build(
        [helper.make_node(node[0], node[1], ["v"]), helper.make_node("Conv", ["v", "kernel"], ["out"])],
        {"kernel": KERNEL, "c": constant},
    )
    preprocess = Preprocess(resize=ResizeMode.STRETCH, width=8, height=6)
    spec = ModelSpec("n", Task.CLASSIFY, preprocess, ClassifyDecode(scores="out"), input_shape=SHAPE)
    assert absorb_scaling(model, spec) == (spec, ())
    assert kinds(model) == {node[0]: 1, "Conv": 1}


def test_names_of_the_source_step_in_front_of_inner_ones() -> None:
    nodes = [
        helper.make_node("Conv", ["picture", "kernel"], ["scores"]),
        helper.make_node("Relu", ["scores"], ["Identity:0"]),
    ]
    model = build(nodes, {"kernel": KERNEL}, "Identity:0")
    rename_values(model, {"picture": "image", "Identity:0": "scores"})
    onnx.checker.check_model(model)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["image", "scores"]
    picture = RANDOM.normal(size=SHAPE).astype(np.float32)
    assert (run_onnx(model.SerializeToString(), [{"image": picture}])[0][0] >= 0).all()
