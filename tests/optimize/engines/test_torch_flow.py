"""neural-compressor's torch flow on a real PyTorch network: what it found arrives in our graph, or is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgewright.bundle.manifest import ClassifyDecode, Preprocess, ResizeMode, ScoreActivation, Task
from edgewright.optimize.calibration import RangeCollector, RangeMethod
from edgewright.optimize.engines.neural_compressor_torch import (
    NeuralCompressorScales,
    TorchCandidate,
    TorchGoal,
    torch_scales,
)
from edgewright.optimize.errors import JudgeError, ModelError, SpecError
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.optimize.sources.torch_export import export_torch
from edgewright.optimize.spec import ModelSpec, SourceModel
from edgewright.runtime.backends.onnx import OnnxBackend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.types import Feeds

SIDE = 24


class Net(nn.Module):
    """Everything the mapping must cope with: batch norms, a depthwise one, a residual, a lone Pad, dropout, a Linear."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.depth = nn.Sequential(nn.Conv2d(8, 8, 2, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.point = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.twin = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 5))
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.running_mean, 0, 0.2)
                nn.init.uniform_(part.running_var, 0.5, 2)
        # Two layers with the same weights: only their inputs tell them apart.
        self.twin[0].weight.data.copy_(self.point[0].weight.data)
        self.twin[1].load_state_dict(self.point[1].state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem = self.stem(x)
        y = stem + self.point(self.depth(self.pad(stem)))
        logits: torch.Tensor = self.head(self.twin(y).mean((2, 3)))
        return logits


def source_of(module: nn.Module) -> SourceModel:
    spec = ModelSpec(
        "tiny",
        Task.CLASSIFY,
        Preprocess(resize=ResizeMode.STRETCH, width=SIDE, height=SIDE),
        ClassifyDecode(scores="scores", activation=ScoreActivation.SOFTMAX, top_k=3),
        input_shape=(1, 3, SIDE, SIDE),
    )
    return SourceModel(module.eval(), spec, ("scores",), "picture")


def feeds() -> Iterator[Feeds]:
    for number in range(6):
        yield {"picture": np.random.default_rng(number).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)}


def graph_of(source: SourceModel) -> bytes:
    return prepare_graph(export_torch(source, "test").SerializeToString(), list(feeds())[:2]).model


@pytest.fixture(scope="module")
def source() -> SourceModel:
    return source_of(Net())


@pytest.fixture(scope="module")
def graph(source: SourceModel) -> bytes:
    return graph_of(source)


@pytest.fixture(scope="module")
def own(graph: bytes) -> dict[str, tuple[float, float]]:
    collector = RangeCollector(graph)
    for feed in feeds():
        collector.observe(feed)
    return collector.ranges(RangeMethod.MINMAX)


@pytest.fixture(scope="module")
def scales(source: SourceModel, graph: bytes, own: dict[str, tuple[float, float]]) -> NeuralCompressorScales:
    return torch_scales(source, graph, feeds, own)


def weighted(model: bytes) -> dict[str, Any]:
    nodes = onnx.load_model_from_string(model).graph.node
    return {node.name: node for node in nodes if node.op_type in {"Conv", "Gemm"}}


def test_every_operator_gets_the_scale_of_its_input(graph: bytes, scales: NeuralCompressorScales) -> None:
    assert {node.input[0] for node in weighted(graph).values()} <= scales.carried
    assert scales.keep_float == frozenset()
    assert len(scales.trials) == 2


def test_the_ranges_are_near_what_really_occurs(
    scales: NeuralCompressorScales, own: dict[str, tuple[float, float]]
) -> None:
    assert set(scales.ranges) == set(own)
    for name in scales.carried:
        (low, high), (least, most) = scales.ranges[name], own[name]
        width = max(most, 0.0) - min(least, 0.0)
        assert low >= min(least, 0.0) - 0.02 * width, name
        assert high <= max(most, 0.0) + 0.02 * width, name
        assert high - low >= 0.3 * width, name


def test_our_file_computes_what_theirs_does(
    source: SourceModel, graph: bytes, own: dict[str, tuple[float, float]]
) -> None:
    theirs: list[NDArray[Any]] = []

    def evaluate(run: Any) -> float:
        theirs.extend(run(feed)["scores"].copy() for feed in feeds())
        return 1.0

    scales = torch_scales(source, graph, feeds, own, candidates=[TorchCandidate()], goal=TorchGoal(evaluate, 0.5))
    written = quantize_graph(graph, scales.ranges, scales.keep_float)
    backend, plain = OnnxBackend(written.model, engine=written.engine), OnnxBackend(graph)
    ours = np.stack([backend.run(feed)["scores"].copy() for feed in feeds()])
    wanted = np.stack([plain.run(feed)["scores"].copy() for feed in feeds()])
    spread = float(np.abs(wanted).max())
    assert float(np.abs(ours - np.stack(theirs)).max()) < 0.05 * spread
    assert float(np.abs(ours - wanted).max()) < 0.1 * spread


def test_the_network_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph: bytes, own: Any) -> None:
    monkeypatch.chdir(tmp_path)
    fresh = source_of(Net())
    before = {name: value.clone() for name, value in fresh.module.state_dict().items()}
    threads = torch.get_num_threads()
    torch_scales(fresh, graph, feeds, own, candidates=[TorchCandidate()])
    assert all(torch.equal(value, before[name]) for name, value in fresh.module.state_dict().items())
    assert torch.get_num_threads() == threads
    assert not list(tmp_path.iterdir()), "no workspace, no logs"


def test_what_it_left_in_float_stays_float(source: SourceModel, graph: bytes, own: Any) -> None:
    candidate = TorchCandidate(keep_float=("head.1", "depth.0"))
    scales = torch_scales(source, graph, feeds, own, candidates=[candidate])
    kept = {name: weighted(graph)[name] for name in scales.keep_float}
    assert sorted((node.op_type, len(kept)) for node in kept.values()) == [("Conv", 2), ("Gemm", 2)]
    assert "2 operators stay float" in scales.notes[-1]
    written = quantize_graph(graph, scales.ranges, scales.keep_float)
    constants = {tensor.name for tensor in onnx.load_model_from_string(written.model).graph.initializer}
    in_float = {name for name, node in weighted(written.model).items() if node.input[1] in constants}
    assert in_float == set(scales.keep_float)


@pytest.mark.parametrize(
    ("scores", "accept", "tried", "best"),
    [
        ([0.5, 0.9], 0.4, 1, "minmax"),
        ([0.5, 0.9], 0.8, 2, "kl"),
        ([-1.0, -3.0], 0.0, 2, "minmax"),
        ([float("nan"), 0.1], float("inf"), 2, "kl"),
    ],
)
def test_its_tuner_works_towards_our_goal(
    source: SourceModel, graph: bytes, own: Any, scores: list[float], accept: float, tried: int, best: str
) -> None:
    given = iter(scores)
    scales = torch_scales(source, graph, feeds, own, goal=TorchGoal(lambda _run: next(given), accept))
    assert (len(scales.trials), scales.best.algorithm) == (tried, best)
    assert best in scales.notes[0]


def test_another_networks_graph_is_refused(source: SourceModel, graph: bytes, own: Any) -> None:
    model = onnx.load_model_from_string(graph)
    name = next(node.input[1] for node in model.graph.node if node.name in weighted(graph))
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    weight = onnx.numpy_helper.to_array(tensor).copy()
    weight[3] += np.random.default_rng(0).normal(0, 0.05, weight[3].shape).astype(np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(weight, name))
    with pytest.raises(ModelError, match=r"operator 'conv2d' with weights \[8, 3, 3, 3\] has no partner"):
        torch_scales(source, model.SerializeToString(), feeds, own, candidates=[TorchCandidate()])


def test_a_graph_with_more_in_it_is_refused(source: SourceModel, graph: bytes, own: Any) -> None:
    model = onnx.load_model_from_string(graph)
    head = next(node for node in model.graph.node if node.op_type == "Gemm")
    twin = onnx.NodeProto()
    twin.CopyFrom(head)
    twin.name, twin.output[0] = "second", "more"
    model.graph.node.append(twin)
    model.graph.output.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1, 5]))
    with pytest.raises(ModelError, match="has weights that neural-compressor's network does not have"):
        torch_scales(source, model.SerializeToString(), feeds, own, candidates=[TorchCandidate()])


class Branches(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if float(x.sum()) > 0 else -x


def test_a_network_it_cannot_export_is_refused(graph: bytes, own: Any) -> None:
    with pytest.raises(ModelError, match="cannot quantize this network"):
        torch_scales(source_of(Branches()), graph, feeds, own)


def test_a_network_without_weights_is_refused(graph: bytes, own: Any) -> None:
    with pytest.raises(JudgeError, match="quantized nothing"):
        torch_scales(source_of(nn.Sequential(nn.ReLU())), graph, feeds, own, candidates=[TorchCandidate()])


def test_what_judging_raises_passes_through(source: SourceModel, graph: bytes, own: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        torch_scales(source, graph, feeds, own, goal=TorchGoal(lambda _run: 1 / 0, 0.5))


def test_wrong_requests_are_refused(source: SourceModel, graph: bytes, own: Any) -> None:
    with pytest.raises(JudgeError, match="at least one calibration picture"):
        torch_scales(source, graph, lambda: iter(()), own)
    with pytest.raises(SpecError, match="no module 'nose'"):
        torch_scales(source, graph, feeds, own, candidates=[TorchCandidate(keep_float=("nose",))])
    with pytest.raises(SpecError, match="not 'entropy'"):
        TorchCandidate("entropy")


@pytest.mark.parametrize("package", ["torchao", "neural_compressor"])
def test_without_its_packages_the_extra_is_named(tmp_path: Path, package: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.engines.torch_tuning import load_flow
try: load_flow()
except MissingExtraError as error: print(error)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert package in done.stdout
    assert "edgewright[neural-compressor,torch]" in done.stdout
