"""Graph passes: each does its one thing, and the runner lets none of them lie or break the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.optimize.errors import PassError
from edgewright.optimize.passes import Pass, PassResult, default_passes, prepare_graph, run_passes
from edgewright.optimize.passes.fold import FoldBatchNorm, FoldConstants, FoldPads, Simplify
from edgewright.optimize.passes.order import InferShapes, SortTopologically
from edgewright.optimize.passes.runner import largest_difference, run_onnx
from edgewright.optimize.passes.strip_metadata import StripMetadata

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

SIZE = 9


def model_with(pads: tuple[int, int, int, int] = (0, 0, 1, 1), seed: int = 0) -> onnx.ModelProto:
    """Pad, Conv, BatchNormalization, Clip with computed limits, and a shape worked out at run time."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(seed)
    top, left, bottom, right = pads
    constants = {
        "pads": np.array([0, 0, top, left, 0, 0, bottom, right], np.int64),
        "kernel": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        **{key: random.normal(size=4).astype(np.float32) for key in ("gamma", "beta", "mean")},
        "variance": random.uniform(0.5, 2, 4).astype(np.float32),
        "three": np.float32(3),
        "minus": np.array([-1], np.int64),
    }
    nodes = [
        helper.make_node("Add", ["three", "three"], ["six"]),
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node("Conv", ["padded", "kernel"], ["conv"], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["conv", "gamma", "beta", "mean", "variance"], ["norm"]),
        helper.make_node("Clip", ["norm", "", "six"], ["clip"]),
        helper.make_node("Identity", ["clip"], ["same"]),
        helper.make_node("Shape", ["x"], ["shape"], end=1),
        helper.make_node("Concat", ["shape", "minus"], ["target"], axis=0),
        helper.make_node("Reshape", ["same", "target"], ["y"]),
    ]
    places = ((SIZE + top + bottom - 3) // 2 + 1) * ((SIZE + left + right - 3) // 2 + 1)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, SIZE, SIZE))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4 * places))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def feeds(seed: int = 0) -> list[dict[str, Any]]:
    """Two inputs."""
    random = np.random.default_rng(seed)
    return [{"x": random.normal(size=(1, 3, SIZE, SIZE)).astype(np.float32)} for _ in range(2)]


def operators(model: onnx.ModelProto) -> set[str]:
    """Which operators there are."""
    return {node.op_type for node in model.graph.node}


def test_together_they_leave_the_work_of_a_frame() -> None:
    import onnx

    prepared = prepare_graph(model_with().SerializeToString(), feeds())
    assert operators(onnx.load_model_from_string(prepared.model)) == {"Conv", "Clip", "Reshape"}
    assert prepared.max_difference < 1e-5
    assert [note.split(":")[0] for note in prepared.notes] == [
        "fold-constants",
        "fold-batch-norm",
        "fold-pads",
        "strip-metadata",
    ]


def test_preparing_twice_changes_nothing_more() -> None:
    once = prepare_graph(model_with().SerializeToString(), feeds())
    twice = prepare_graph(once.model, feeds())
    assert twice.notes == ()
    assert twice.model == once.model


@settings(max_examples=15, deadline=None)
@given(pads=st.tuples(*[st.integers(0, 3)] * 4), seed=st.integers(0, 99))
def test_padding_is_folded_whatever_it_is(pads: tuple[int, int, int, int], seed: int) -> None:
    run = run_passes(model_with(pads, seed), (FoldConstants(), FoldBatchNorm(), FoldPads()), feeds(seed))
    assert "Pad" not in operators(run.model)


@pytest.mark.parametrize(
    ("step", "gone"),
    [
        (FoldConstants(), "Shape"),
        (Simplify(), "Identity"),
        (FoldBatchNorm(), "BatchNormalization"),
        (FoldPads(), "Pad"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_each_takes_its_own(step: Pass, gone: str) -> None:
    model = model_with()
    assert gone in operators(model)
    run = run_passes(model, (step,), feeds())
    assert gone not in operators(run.model)
    assert gone in operators(model), "the model given was changed"
    assert run.notes[0].startswith(f"{step.name}: ")


def test_reflecting_pads_stay() -> None:
    model = model_with()
    pad = next(node for node in model.graph.node if node.op_type == "Pad")
    pad.attribute.add(name="mode", s=b"reflect", type=3)
    assert "Pad" in operators(run_passes(model, (FoldPads(),), feeds()).model)


def test_sorting() -> None:
    model = model_with()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    result = SortTopologically().run(model)
    assert result.changed
    known = {"", *(tensor.name for tensor in model.graph.initializer), "x"}
    for node in result.model.graph.node:
        assert set(node.input) <= known
        known |= set(node.output)
    assert not SortTopologically().run(result.model).changed


def test_shapes_are_written() -> None:
    result = InferShapes().run(model_with())
    assert result.changed
    known = {value.name for value in result.model.graph.value_info}
    assert {"padded", "conv", "norm"} <= known


def test_metadata_goes() -> None:
    model = model_with()
    model.graph.node[0].doc_string = "File /home/somebody/model.py, line 3"
    model.metadata_props.add(key="k", value="v")
    result = StripMetadata().run(model)
    assert result.changed
    assert b"somebody" not in result.model.SerializeToString()
    assert not StripMetadata().run(result.model).changed


class Made:
    """A pass of the test's own."""

    name = "made"

    def __init__(self, action: Callable[[onnx.ModelProto], bool]) -> None:
        self.action = action

    def run(self, model: onnx.ModelProto) -> PassResult:
        """Does what the test says, and claims what that returns."""
        return PassResult(model, self.action(model))


def nudge(model: onnx.ModelProto) -> bool:
    """Another weight."""
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if tensor.name == "kernel":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), "kernel"))
    return True


def rename_output(model: onnx.ModelProto) -> bool:
    """Another name on the border."""
    model.graph.output[0].name = model.graph.node[-1].output[0] = "z"
    return True


def dangle(model: onnx.ModelProto) -> bool:
    """A value from nowhere."""
    model.graph.node[0].input[0] = "nowhere"
    return True


def lie(model: onnx.ModelProto) -> bool:
    """A change that is not owned up to."""
    return not nudge(model)


def boast(_: onnx.ModelProto) -> bool:
    """No change, but says so."""
    return True


def fail(_: onnx.ModelProto) -> bool:
    """An error of somebody else's."""
    raise LookupError("no such pattern")


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (nudge, "changed what the model computes by"),
        (rename_output, "changed the graph's inputs or outputs"),
        (dangle, "not valid ONNX"),
        (lie, "says it did not"),
        (boast, "changed the model and did not|says it changed"),
        (fail, "failed on this model: no such pattern"),
    ],
)
def test_the_runner_notices(action: Callable[[onnx.ModelProto], bool], words: str) -> None:
    with pytest.raises(PassError, match=words) as caught:
        run_passes(model_with(), (FoldConstants(), Made(action)), feeds())
    assert "'made'" in str(caught.value)


def test_without_inputs_nothing_can_be_proved() -> None:
    with pytest.raises(ValueError, match="at least one input"):
        run_passes(model_with(), default_passes(), [])


def test_engine_errors_are_ours() -> None:
    with pytest.raises(PassError, match="the engine refuses"):
        run_onnx(b"no model", feeds())


@pytest.mark.parametrize(
    ("a", "b", "difference"),
    [
        ([0.0, 1.0], [0.0, 1.5], 0.5),
        ([0.0, 100.0], [0.0, 101.0], 0.01),
        ([0.0], [0.0, 0.0], float("inf")),
        ([], [], 0.0),
    ],
)
def test_differences_are_relative_to_the_size_of_the_output(a: list[float], b: list[float], difference: float) -> None:
    assert largest_difference([[np.array(a)]], [[np.array(b)]]) == pytest.approx(difference)


def test_a_nan_is_never_equal() -> None:
    assert np.isnan(largest_difference([[np.array([1.0])]], [[np.array([np.nan])]]))
