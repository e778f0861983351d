"""What is measured of tensors, layers and regions, on small networks in the real engine."""

from __future__ import annotations

import dataclasses
from functools import cache
from xml.etree import ElementTree as ET

import numpy as np
import onnx
import pytest
from head_models import HEADS, mixed, pictures, prepared, residual_classifier

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.quantization.writer import QuantizedGraph, quantize_graph
from edgewright.optimize.sensitivity.chart import region_chart, sqnr_chart
from edgewright.optimize.sensitivity.difference import EXACT_DB, sqnr_db
from edgewright.optimize.sensitivity.influence import measure_influence
from edgewright.optimize.sensitivity.latency import NodeTimes, profile_nodes, region_ms
from edgewright.optimize.sensitivity.rank import rank_regions
from edgewright.optimize.sensitivity.regions import Region, RegionKind, find_regions
from edgewright.optimize.sensitivity.search import Goal, search
from edgewright.optimize.sensitivity.sqnr import measure_sqnr
from edgewright.runtime.backends.onnx import OnnxBackend


@cache
def network() -> tuple[bytes, dict[str, tuple[float, float]]]:
    return prepared(residual_classifier())


def few(count: int = 4) -> object:
    return lambda: pictures(count, 50)


def spoiled(graph: QuantizedGraph, which: int) -> tuple[QuantizedGraph, str]:
    """The same graph with one layer's weights disturbed."""
    integers = IntegerGraph(graph.model)
    layer = integers.layers[which]
    noise = np.random.default_rng(0).integers(-60, 60, layer.codes.shape)
    integers.set_codes(layer.node, np.clip(layer.codes.astype(int) + noise, -127, 127).astype(layer.codes.dtype))
    return dataclasses.replace(graph, model=integers.to_bytes()), layer.node


def test_the_sqnr_of_an_output_is_what_the_device_would_see() -> None:
    model, ranges = network()
    graph = quantize_graph(model, ranges)
    rows = measure_sqnr(model, graph, few())  # type: ignore[arg-type]
    float_, int8 = OnnxBackend(model), OnnxBackend(graph.model)
    signal = noise = 0.0
    for feeds in pictures(4, 50):
        x, y = float_.run(feeds)["out"].astype(float).copy(), int8.run(feeds)["out"].astype(float)
        signal, noise = signal + float(np.square(x).sum()), noise + float(np.square(x - y).sum())
    (output,) = [row for row in rows if row.tensor == "out"]
    assert output.sqnr == pytest.approx(sqnr_db(signal, noise), abs=1e-3)
    assert 0.99 < output.cosine <= 1


def test_every_integer_tensor_has_a_row_and_errors_add_up_along_the_network() -> None:
    model, ranges = network()
    rows = measure_sqnr(model, quantize_graph(model, ranges), few())  # type: ignore[arg-type]
    names = [row.tensor for row in rows]
    assert names[0] == "image"
    assert len(names) == len(set(names))
    convolutions = [row for row in rows if row.op_type == "Conv"]
    assert len(convolutions) == 12
    assert convolutions[0].own_sqnr == pytest.approx(convolutions[0].sqnr, abs=0.5)
    assert all(row.own_sqnr is not None and row.own_sqnr > row.sqnr - 0.5 for row in convolutions)
    assert convolutions[-1].own_sqnr > convolutions[-1].sqnr + 3  # type: ignore[operator]


def test_a_spoiled_layer_shows_in_its_own_figure_and_others_do_not() -> None:
    model, ranges = network()
    good = quantize_graph(model, ranges)
    bad, node = spoiled(good, 4)
    before = {row.node: row for row in measure_sqnr(model, good, few())}  # type: ignore[arg-type]
    after = {row.node: row for row in measure_sqnr(model, bad, few())}  # type: ignore[arg-type]
    assert before[node].own_sqnr - after[node].own_sqnr > 10  # type: ignore[operator]
    others = [name for name in before if name != node and before[name].own_sqnr is not None]
    assert all(before[name].own_sqnr == pytest.approx(after[name].own_sqnr) for name in others)
    assert min(after.values(), key=lambda row: row.own_sqnr or EXACT_DB).node == node


def test_without_the_engine_option_what_was_left_in_float_is_measured_as_integers() -> None:
    """The trap: the engine quantizes a lone float convolution again, unless told not to."""
    model, ranges = network()
    graph = quantize_graph(model, ranges)
    layer = IntegerGraph(graph.model).layers[4].node
    kept = quantize_graph(model, ranges, [layer])
    assert kept.engine
    honest = {row.node or row.tensor: row.own_sqnr for row in measure_sqnr(model, kept, few())}  # type: ignore[arg-type]
    forgetful = dataclasses.replace(kept, engine={})
    trapped = {row.node or row.tensor: row.own_sqnr for row in measure_sqnr(model, forgetful, few())}  # type: ignore[arg-type]
    assert {name for name in honest if honest[name] != trapped[name]}


def test_without_pictures_or_of_another_network_nothing_is_measured() -> None:
    model, ranges = network()
    graph = quantize_graph(model, ranges)
    with pytest.raises(JudgeError, match="no picture"):
        measure_sqnr(model, graph, lambda: iter(()))
    with pytest.raises(JudgeError, match="no picture"):
        measure_influence(model, graph, lambda: iter(()))
    assert sqnr_db(1.0, 0.0) == EXACT_DB
    assert sqnr_db(0.0, 1.0) == -EXACT_DB


@pytest.mark.parametrize("with_loss", [False, True])
def test_the_layer_that_harms_the_answers_most_is_ranked_first_and_kept_in_float(with_loss: bool) -> None:
    model, ranges = network()
    bad, node = spoiled(quantize_graph(model, ranges), 6)

    def loss(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
        return float(np.abs(a["out"] - b["out"]).mean())

    influences = measure_influence(model, bad, few(3), loss if with_loss else None)  # type: ignore[arg-type]
    assert max(influences, key=lambda row: row.total).node == node
    ranked = rank_regions(find_regions(model), influences, len(bad.model))
    backend = OnnxBackend(model)
    expected = [backend.run(feeds)["out"].copy() for feeds in pictures(6, 80)]

    def quantize(nodes: frozenset[str]) -> QuantizedGraph:
        fresh = quantize_graph(model, ranges, nodes)
        return fresh if node in nodes else spoiled_again(fresh)

    def spoiled_again(fresh: QuantizedGraph) -> QuantizedGraph:
        source, target = IntegerGraph(bad.model), IntegerGraph(fresh.model)
        target.set_codes(node, source.layer(node).codes)
        return dataclasses.replace(fresh, model=target.to_bytes())

    def losses(graph: QuantizedGraph) -> np.ndarray:
        int8 = OnnxBackend(graph.model, engine=graph.engine)
        return np.array([np.abs(int8.run(f)["out"] - e).mean() for f, e in zip(pictures(6, 80), expected, strict=True)])

    base = float(losses(quantize(frozenset())).mean())
    result = search(ranked, quantize, losses, Goal(max_loss=base / 3))
    assert node in result.keep_float
    assert result.evaluations <= 4
    assert result.best.loss < base / 3


def test_regions_of_every_kind_are_found_by_structure() -> None:
    model, _ = network()
    regions = find_regions(model)
    kinds = {kind: [region for region in regions if region.kind is kind] for kind in RegionKind}
    assert len(kinds[RegionKind.STAGE]) == 2
    assert all(sum("add" in node for node in region.nodes) == 2 for region in kinds[RegionKind.STAGE])
    assert len(kinds[RegionKind.STEM]) == 1
    assert len(kinds[RegionKind.HEAD]) == 1
    assert regions[0].kind is RegionKind.HEAD
    assert len({region.nodes for region in regions}) == len(regions)
    assert len({region.name for region in regions}) == len(regions)
    by_id = {node.name: node for node in onnx.load_model_from_string(model).graph.node}
    weighted = [node for node in by_id.values() if node.op_type in {"Conv", "Gemm"}]
    assert sum(region.macs for region in regions if region.kind is RegionKind.LAYER) > 0
    assert all(any(node.name in region.nodes for region in regions) for node in weighted)


def test_both_levels_of_a_pyramid_are_one_region_and_boxes_and_scores_are_two() -> None:
    model, _ = prepared(HEADS["anchor-free"]())
    heads = [region for region in find_regions(model) if region.kind is RegionKind.HEAD]
    by_id = {node.name: node for node in onnx.load_model_from_string(model).graph.node}
    assert len(heads) == 2
    assert all(sum(by_id[node].op_type == "Conv" for node in region.nodes) == 2 for region in heads)
    assert not set(heads[0].nodes) & set(heads[1].nodes)


def test_bytes_of_a_region_are_those_of_the_file_and_no_grid_is_left_inside() -> None:
    model, ranges = prepared(mixed())
    region = max(find_regions(model), key=lambda region: region.weight_bytes)
    plain, kept = quantize_graph(model, ranges), quantize_graph(model, ranges, region.nodes)
    assert len(kept.model) - len(plain.model) == pytest.approx(region.weight_bytes, rel=0.05)
    made = {
        name
        for node in onnx.load_model_from_string(model).graph.node
        if node.name in region.nodes
        for name in node.output
    }
    inner = {
        name
        for node in onnx.load_model_from_string(kept.model).graph.node
        if node.name in region.nodes
        for name in node.input
    }
    assert not any(f"{name}_DequantizeLinear_Output" in inner for name in made)


def test_time_is_profiled_or_estimated_and_the_result_says_which() -> None:
    model, ranges = network()
    graph = quantize_graph(model, ranges)
    times = profile_nodes(model, graph, rounds=1, runs=5)
    assert times.profiled or times.how.startswith("estimated by multiplications: ")
    assert times.float_total > 0
    assert times.int8_total > 0
    whole = Region(
        "all", tuple(node.name for node in onnx.load_model_from_string(model).graph.node), RegionKind.STAGE, 0, 0
    )
    assert abs(region_ms(whole, times)) < 2 * (times.float_total + times.int8_total)
    with pytest.raises(JudgeError, match="profiling"):
        profile_nodes(model, dataclasses.replace(graph, model=b"no model"), rounds=1, runs=1)


def test_charts_are_plain_svg_that_shows_what_is_kept() -> None:
    model, ranges = network()
    graph = quantize_graph(model, ranges)
    ranked = rank_regions(find_regions(model), measure_influence(model, graph, few(1)), len(graph.model))  # type: ignore[arg-type]
    rows = [
        {**row.to_json(), "kept": number == 12, "name": f"<{row.region.name}>"} for number, row in enumerate(ranked)
    ]
    drawn = ET.fromstring(region_chart(rows, most=5))
    bars = [part.get("class") for part in drawn.iter("rect")]
    assert bars.count("bar") == 5
    assert bars.count("bar kept") == 1
    assert "script" not in region_chart(rows)
    errors = [row.to_json() for row in measure_sqnr(model, graph, few(1))]  # type: ignore[arg-type]
    assert len(list(ET.fromstring(sqnr_chart(errors, most=7)).iter("rect"))) == 7
    ET.fromstring(region_chart([]))
    ET.fromstring(sqnr_chart([]))


def test_nodes_without_names_are_kept_in_float_all_the_same() -> None:
    model, ranges = network()
    bare = onnx.load_model_from_string(model)
    for node in bare.graph.node:
        node.ClearField("name")
    unnamed = bare.SerializeToString()
    region = next(region for region in find_regions(unnamed) if region.kind is RegionKind.STAGE)
    count = len(IntegerGraph(quantize_graph(unnamed, ranges).model).layers)
    kept = quantize_graph(unnamed, ranges, region.nodes)
    assert kept.engine
    assert len(IntegerGraph(kept.model).layers) == count - 4


def test_the_price_of_a_region_counts_conversions_at_its_border_but_not_at_the_networks() -> None:
    model, _ = network()
    regions = {region.kind: region for region in find_regions(model)}
    assert regions[RegionKind.STEM].border == 8 * 32 * 32  # what it hands on; the picture comes in as float anyway
    assert regions[RegionKind.HEAD].border == 16  # the pooled features; its answer leaves as float anyway
    free = NodeTimes({}, {}, 2.0, 1.0, 0.0, "profiled")
    dear = dataclasses.replace(free, border_ms=1000.0)
    assert region_ms(regions[RegionKind.STEM], free) == 0
    assert region_ms(regions[RegionKind.STEM], dear) == pytest.approx(8.192)
