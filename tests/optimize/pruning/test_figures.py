"""Exported files: smaller where they should be, and said where they are not."""

import dataclasses
import json

import pytest
from examples.fashion.model import DepthwiseNet
from pruning_nets import source_of

from edgewright.bundle.manifest import Format
from edgewright.optimize.errors import JudgeError, PassError
from edgewright.optimize.graph.cost import GraphCost, cost_of
from edgewright.optimize.progress import SilentProgress
from edgewright.optimize.pruning import latency
from edgewright.optimize.pruning.figures import StepFigures, check_smaller, export_float, step_figures, tflite_of
from edgewright.optimize.pruning.network import cost_of_module
from edgewright.optimize.pruning.settings import PruneSettings, PruneTarget
from edgewright.optimize.pruning.sparse_files import compare_sparse
from edgewright.optimize.pruning.structured import prune
from edgewright.optimize.pruning.timing import PairTimes, time_pair
from edgewright.optimize.pruning.tracing import probe_input
from edgewright.optimize.spec import SourceModel
from edgewright.runtime.bench_ratio import Ratio

SMALL = StepFigures("as it came", GraphCost(1000, 5000, 4100))


def times(ratio: float, low: float, high: float) -> PairTimes:
    return PairTimes(2.0, 2.0 / ratio, Ratio("before", "after", ratio, low, high, 24), "engine", 1)


@pytest.fixture(scope="module")
def files() -> tuple[SourceModel, bytes, bytes]:
    import torch

    torch.set_num_threads(1)
    source = source_of(DepthwiseNet(), 28, ("logits",))
    return source, export_float(source), export_float(prune(source, PruneSettings(PruneTarget(macs=0.5))).source)


def test_the_module_costs_what_its_file_costs(files: tuple[SourceModel, bytes, bytes]) -> None:
    source, before, after = files
    cost, module = cost_of(before), cost_of_module(source.module, probe_input(source, 1), "net")
    assert (cost.macs, cost.parameters) == (module.macs, module.parameters)
    assert cost_of(after).macs <= 0.5 * cost.macs


def test_a_row_of_the_report(files: tuple[SourceModel, bytes, bytes]) -> None:
    _, before, after = files
    first, second = step_figures("pruned", before, after, tflite=(tflite_of(before), tflite_of(after)))
    row = json.loads(json.dumps(second.to_json()))
    assert row["macs"] < first.cost.macs
    assert set(row["times"]) == {"onnx", "tflite"}
    assert not [failure for failure in second.failures if "latency" not in failure]


def test_a_step_that_made_nothing_smaller_has_failed(files: tuple[SourceModel, bytes, bytes]) -> None:
    _, before, _ = files
    words = " ".join(step_figures("pruned", before, before)[1].failures)
    assert "parameters did not fall" in words
    assert "MACs did not fall" in words
    assert "bytes of the ONNX file did not fall" in words


@pytest.mark.parametrize(
    ("measured", "words"),
    [((2.0, 1.8, 2.2), None), ((1.1, 0.9, 1.3), "was not shown to fall"), ((0.9, 0.8, 0.95), "did not fall")],
)
def test_latency_must_be_shown_to_fall(measured: tuple[float, float, float], words: str | None) -> None:
    after = StepFigures("pruned", GraphCost(500, 2500, 2100), times={"onnx": times(*measured)})
    failures = check_smaller(SMALL, after)
    assert not failures if words is None else len(failures) == 1 and words in failures[0]


def test_more_bytes_in_tflite_are_a_failure() -> None:
    first = dataclasses.replace(SMALL, tflite_bytes=4000)
    after = StepFigures("pruned", GraphCost(500, 2500, 2100), 4001)
    assert check_smaller(first, after) == ("pruned: bytes of the TFLite file did not fall (4,000 before, 4,001 after)",)


def test_sparse_files_compress(files: tuple[SourceModel, bytes, bytes]) -> None:
    import copy

    from edgewright.optimize.pruning.sparse import SparseSettings, make_sparse_permanent

    source, before, _ = files
    sparse = dataclasses.replace(source, module=copy.deepcopy(source.module))
    make_sparse_permanent(sparse.module, SparseSettings(share=0.8))
    (row,) = compare_sparse([(Format.ONNX, before, export_float(sparse))])
    assert row.bytes[0] == pytest.approx(row.bytes[1], rel=0.02)
    assert row.deflated[1] < 0.7 * row.deflated[0]
    assert "of the compressed bytes" in str(row)
    json.dumps(row.to_json())


def test_a_damaged_file_cannot_be_timed(files: tuple[SourceModel, bytes, bytes]) -> None:
    with pytest.raises(JudgeError, match="cannot be timed"):
        time_pair(files[1], b"\x00garbage", Format.ONNX)


class TestLatencyTarget:
    """The search, on a machine whose time is a constant and a part that follows the MACs."""

    @pytest.fixture(autouse=True)
    def machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(latency, "export_float", lambda source: str(source.macs).encode())

        def timed(before: bytes, after: bytes, *_: object, **__: object) -> PairTimes:
            took = [0.2 + 0.8 * float(model) for model in (before, after)]
            return PairTimes(*took, Ratio("before", "after", took[0] / took[1], 0.0, 9.0, 24), "engine", 1)

        monkeypatch.setattr(latency, "time_pair", timed)

    class Net:
        def __init__(self, macs: float) -> None:
            self.macs = macs
            self.spec = type("Spec", (), {"name": "net"})

    @pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.95])
    def test_it_finds_the_macs(self, share: float) -> None:
        found, note = latency.macs_for_latency(self.Net(1.0), self.Net, share, 1, SilentProgress())  # type: ignore[arg-type]
        assert share - 0.08 <= 0.2 + 0.8 * found <= share
        assert "asked for" in note

    def test_what_cannot_be_had_is_said(self) -> None:
        with pytest.raises(PassError, match=r"cannot come down to 10% of its latency.*least that was had"):
            latency.macs_for_latency(self.Net(1.0), self.Net, 0.1, 1, SilentProgress())  # type: ignore[arg-type]
