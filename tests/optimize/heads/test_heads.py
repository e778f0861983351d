"""Boxes and scores on one grid: found without naming a node, and parted without changing the function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from head_models import HEADS, anchored, mixed, pictures, prepared, residual_classifier
from onnx import TensorProto, helper, numpy_helper

from edgewright.optimize.errors import PassError
from edgewright.optimize.heads import SharedKind, channel_ranges, find_shared_scales, mend_heads
from edgewright.optimize.heads.channels import last_weights
from edgewright.optimize.heads.part_early import PartEarly
from edgewright.optimize.heads.split_convolution import SplitConvolution
from edgewright.optimize.passes import run_passes
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.optimize.sensitivity.difference import sqnr_db
from edgewright.optimize.sensitivity.structure import GraphView
from edgewright.runtime.backends.onnx import OnnxBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from numpy.typing import NDArray

    from edgewright.optimize.heads.mend import MendResult
    from edgewright.optimize.quantization.writer import QuantizedGraph

BOXES, SCORES = slice(0, 4), slice(4, None)
DESTROYED_DB, KEPT_DB = 5, 25


def answers(model: bytes, engine: Mapping[str, Any] | None = None) -> NDArray[np.float64]:
    backend = OnnxBackend(model, engine=engine)
    return np.concatenate([backend.run(feeds)["out"].astype(np.float64) for feeds in pictures(6, 100)])


def quality(float_: NDArray[np.float64], seen: NDArray[np.float64], part: slice) -> float:
    """SQNR of the part's spread: a constant answer must not look good."""
    reference = float_[..., part]
    return sqnr_db(
        float(np.square(reference - reference.mean()).sum()), float(np.square(seen[..., part] - reference).sum())
    )


def losses_against(float_: NDArray[np.float64]) -> Callable[[QuantizedGraph], NDArray[np.float64]]:
    def losses(candidate: QuantizedGraph) -> NDArray[np.float64]:
        error = np.square(answers(candidate.model, candidate.engine) - float_)
        return sum(error[..., part].mean(axis=(1, 2)) / float_[..., part].var() for part in (BOXES, SCORES))  # type: ignore[return-value]

    return losses


def mended(model: bytes, ranges: Mapping[str, tuple[float, float]], float_: NDArray[np.float64]) -> MendResult:
    channels = channel_ranges(model, last_weights(GraphView(onnx.load_model_from_string(model))), lambda: pictures(12))
    return mend_heads(model, ranges, quantize_graph, losses_against(float_), list(pictures(2)), channels=channels)


@pytest.mark.parametrize("name", list(HEADS))
def test_scores_that_plain_int8_destroys_are_kept(name: str) -> None:
    model, ranges = prepared(HEADS[name]())
    float_ = answers(model)
    plain = answers(quantize_graph(model, ranges).model)
    assert quality(float_, plain, SCORES) < DESTROYED_DB
    result = mended(model, ranges, float_)
    assert result.findings
    assert result.remedy != "none"
    int8 = quantize_graph(result.model, result.ranges, result.keep_float)
    after = answers(int8.model, int8.engine)
    assert quality(float_, after, SCORES) > KEPT_DB
    assert quality(float_, after, BOXES) > KEPT_DB
    assert [row["kept"] for row in result.rows].count(True) == 1
    assert any(result.remedy in note for note in result.notes)


@pytest.mark.parametrize("name", list(HEADS))
def test_what_is_parted_computes_the_same_in_float(name: str) -> None:
    model, ranges = prepared(HEADS[name]())
    float_ = answers(model)
    assert np.allclose(answers(mended(model, ranges, float_).model), float_, rtol=1e-4, atol=1e-4)


def test_a_network_without_shared_grids_is_left_alone() -> None:
    model, ranges = prepared(residual_classifier())

    def never(*_: object) -> QuantizedGraph:
        pytest.fail("nothing was found, so nothing is to be tried")

    result = mend_heads(model, ranges, never, never, list(pictures(2)))  # type: ignore[arg-type]
    assert (result.model, result.keep_float, result.remedy, result.rows) == (model, (), "none", ())


def test_the_finding_names_the_small_one_and_its_levels() -> None:
    model, ranges = prepared(HEADS["anchor-free"]())
    (finding,) = find_shared_scales(model, ranges)
    assert finding.kind is SharedKind.CONCAT
    assert finding.levels < 1
    smallest = min(finding.inputs, key=lambda name: finding.inputs[name][1])
    assert smallest in finding.why
    assert finding.node in finding.why


def test_equal_sizes_share_a_grid_in_peace() -> None:
    """The same graph, its boxes as small as its scores: nothing to find."""
    model, ranges = prepared(anchored())
    assert find_shared_scales(model, ranges)
    alike = dict.fromkeys(ranges, (0.0, 1.0))
    assert not find_shared_scales(model, alike)


def test_a_convolution_that_a_split_behind_it_parts_is_found_without_channel_ranges() -> None:
    random = np.random.default_rng(0)
    constants = {"w": random.normal(0, 0.1, (6, 3, 1, 1)).astype(np.float32), "sizes": np.array([4, 2], np.int64)}
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["raw"], name="predict"),
        helper.make_node("Transpose", ["raw"], ["last"], name="last", perm=[0, 2, 3, 1]),
        helper.make_node("Split", ["last", "sizes"], ["boxes", "logits"], name="part", axis=3),
        helper.make_node("Sigmoid", ["logits"], ["scores"], name="squash"),
    ]
    shapes = {"boxes": [1, 8, 8, 4], "scores": [1, 8, 8, 2]}
    graph = helper.make_graph(
        nodes,
        "split",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    ranges = {"raw": (-400.0, 600.0), "last": (-400.0, 600.0), "boxes": (-400.0, 600.0), "logits": (-3.0, 2.0)}
    (finding,) = find_shared_scales(model, ranges | {"image": (0.0, 1.0), "scores": (0.0, 1.0)})
    assert (finding.node, finding.kind, finding.bounds) == ("predict", SharedKind.MIXED, (4,))


def test_an_offset_that_the_grid_of_its_sum_swallows_is_found() -> None:
    """80 cells in a row leave a sigmoid's offset three levels: two and a half pixels of 640."""
    constants = {"w": np.ones((2, 3, 1, 1), np.float32), "cells": np.arange(80, dtype=np.float32).reshape(1, 1, 1, 80)}
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["raw"], name="predict"),
        helper.make_node("Sigmoid", ["raw"], ["offset"], name="squash"),
        helper.make_node("Add", ["offset", "cells"], ["centre"], name="decode"),
    ]
    graph = helper.make_graph(
        nodes,
        "decode",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 1, 80])],
        [helper.make_tensor_value_info("centre", TensorProto.FLOAT, [1, 2, 1, 80])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    ranges = {"image": (0.0, 1.0), "raw": (-4.0, 4.0), "offset": (0.0, 1.0), "centre": (0.0, 80.0)}
    (finding,) = find_shared_scales(model, ranges)
    assert (finding.node, finding.kind) == ("decode", SharedKind.ARITHMETIC)


def test_a_convolution_is_split_exactly_and_where_it_can_be() -> None:
    model, _ = prepared(mixed())
    graph = onnx.load_model_from_string(model)
    feeds = list(pictures(2))
    node = next(node.name for node in graph.graph.node if node.op_type == "Conv")
    last = last_weights(GraphView(graph))[0].replace("conv", "n_conv")
    run = run_passes(graph, [SplitConvolution(last, (1, 4))], feeds)
    assert run.max_difference < 1e-5
    assert sum(n.op_type == "Conv" for n in run.model.graph.node) == 2 + sum(
        n.op_type == "Conv" for n in graph.graph.node
    )
    for bad, bounds in ((node, (0,)), (last, (9,)), (last, (4, 4)), ("nobody", (1,))):
        with pytest.raises(PassError):
            run_passes(graph, [SplitConvolution(bad, bounds)], feeds)


def test_what_is_parted_again_is_never_joined_and_not_a_bit_changes() -> None:
    model, ranges = prepared(HEADS["parted-late"]())
    step = PartEarly()
    run = run_passes(onnx.load_model_from_string(model), [step], list(pictures(2)))
    assert (step.moved, run.max_difference) == (1, 0.0)
    assert not any(node.op_type == "Split" for node in run.model.graph.node)
    known = step.ranges(ranges)
    changed = run.model.SerializeToString()
    tensors = {name for node in run.model.graph.node for name in node.output}
    assert tensors <= set(known)
    before, after = find_shared_scales(model, ranges), find_shared_scales(changed, known)
    assert len(after) < len(before)


@pytest.mark.parametrize("name", ["anchored", "mixed", "transformer"])
def test_a_cut_that_no_concat_stands_before_stays_where_it_is(name: str) -> None:
    model, _ = prepared(HEADS[name]())
    step = PartEarly()
    run = run_passes(onnx.load_model_from_string(model), [step], list(pictures(1)))
    assert (step.moved, run.notes) == (0, ())
