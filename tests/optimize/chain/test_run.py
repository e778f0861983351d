"""Chains of passes: what helps is kept, what hurts is dropped, and the recipe makes the same file again."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from chain_models import CLASSIFIER, depthwise_classifier, smooth, workbench
from head_models import HEADS
from head_models import pictures as head_pictures

from edgewright.bundle.manifest import ClassifyDecode
from edgewright.optimize.chain import mixed
from edgewright.optimize.chain import run as chain_run
from edgewright.optimize.chain.effort import Chain, Effort, chain_for, parse_chain
from edgewright.optimize.chain.goal import agreement_of
from edgewright.optimize.chain.mixed import Wider
from edgewright.optimize.chain.run import run_chain
from edgewright.optimize.contract import Contract
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.quantization.writer import QuantizedGraph
from edgewright.optimize.sensitivity.chart import region_chart
from edgewright.optimize.sensitivity.latency import estimate_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from edgewright.optimize.chain.mixed import MixedResult
    from edgewright.optimize.chain.run import ChainResult
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.progress import Advance
    from edgewright.optimize.sensitivity.latency import NodeTimes

# A head that nothing is known of: what candidates lose is the noise of their outputs.
RAW = dataclasses.replace(CLASSIFIER, decode=ClassifyDecode("out"))
CHAIN = Chain(("minmax", "mean-minmax"), rounding=("round-depthwise", "round-second-moment", "correct-bias"))


@pytest.fixture(scope="module")
def model() -> bytes:
    return prepare_graph(depthwise_classifier(), list(smooth(2))).model


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("steps")


@pytest.fixture
def steady_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators cost what their multiplications say: which region is cheapest is then the same in every run."""

    def estimated(float_model: bytes, *_: object, **__: object) -> NodeTimes:
        return estimate_nodes(float_model, "for the test")

    monkeypatch.setattr(mixed, "profile_nodes", estimated)


@pytest.fixture(scope="module")
def chained(model: bytes, cache: Path) -> ChainResult:
    return run_chain(workbench(model, cache), CHAIN, Contract())


def remade(result: ChainResult, bench: Workbench) -> ChainResult:
    """What the recipe of a result gives."""
    return run_chain(bench, parse_chain(result.best.names), Contract(), result.best.keep_float)


def test_a_chain_is_better_than_the_plain_candidate_and_says_why(chained: ChainResult) -> None:
    assert chained.best.losses.mean() < 0.7 * chained.plain.losses.mean()
    assert chained.plain.names == ("minmax",)
    names = [trial.name for trial in chained.trials]
    assert (names[0], names[-1]) == ("minmax", "correct-bias")
    assert set(names) == {"mean-minmax", "minmax", *CHAIN.rounding}
    kept = [trial.name for trial in chained.trials if trial.kept]
    assert set(chained.best.names) <= set(kept)
    for trial in chained.trials[1:]:
        assert trial.loss is not None
        assert trial.before is not None
        assert trial.loss < trial.before or not trial.kept
        assert trial.why.endswith("kept")


def test_the_recipe_of_a_chain_makes_the_same_file(chained: ChainResult, model: bytes) -> None:
    again = remade(chained, workbench(model))
    assert again.best.graph.model == chained.best.graph.model
    assert len(again.trials) == len(chained.best.names)


class Spoiler:
    """A workbench one of whose passes does harm."""

    def __init__(self, bench: Workbench, name: str) -> None:
        self._bench, self._name = bench, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bench, name)

    def round(self, name: str, graph: QuantizedGraph, model: bytes, scheme: Any = None) -> QuantizedGraph:
        if name != self._name:
            return self._bench.round(name, graph, model, scheme)
        integers = IntegerGraph(graph.model)
        random = np.random.default_rng(0)
        for layer in integers.layers:
            noise = random.integers(-9, 10, layer.codes.shape)
            integers.set_codes(layer.node, np.clip(layer.codes + noise, -127, 127).astype(layer.codes.dtype))
        return dataclasses.replace(graph, model=integers.to_bytes())


def test_a_pass_that_hurts_is_dropped_unless_it_was_named_by_hand(model: bytes, cache: Path) -> None:
    bench: Any = Spoiler(workbench(model, cache), "round-second-moment")
    tried = run_chain(bench, dataclasses.replace(CHAIN, ranges=("minmax",)), Contract())
    assert "round-second-moment" not in tried.best.names
    trial = next(trial for trial in tried.trials if trial.name == "round-second-moment")
    assert not trial.kept
    assert trial.why.endswith("not kept")
    forced = run_chain(bench, parse_chain(("minmax", "round-second-moment")), Contract())
    assert forced.best.names == ("minmax", "round-second-moment")
    assert forced.trials[-1].kept
    assert "named by hand" in forced.trials[-1].why
    assert forced.best.losses.mean() > forced.plain.losses.mean()


def test_after_the_deadline_nothing_new_is_tried(model: bytes, cache: Path) -> None:
    late = workbench(model, cache, seconds=0)
    chain = dataclasses.replace(chain_for(Effort.BEST), forms=())
    found = run_chain(late, chain, Contract(min_agreement=100))
    assert found.best is found.plain
    told = {trial.name: trial.why for trial in found.trials[1:]}
    assert set(told) >= {*CHAIN.rounding, "equalize", "smooth", "mean-minmax", "entropy", "mixed-precision"}
    assert set(told.values()) == {"not tried: the time budget was spent"}


def test_moments_from_the_cache_are_those_that_were_computed(model: bytes, tmp_path: Path) -> None:
    computed, cached = (workbench(model, tmp_path).moments(model) for _ in range(2))
    assert set(computed) == set(cached) == {"stem", "deep", "point", "head"}
    for node, moment in computed.items():
        assert (moment.second == cached[node].second).all()
        assert moment.second.dtype == cached[node].second.dtype == np.float64
        assert moment.count == cached[node].count > 0


@pytest.mark.parametrize("name", ["equalize", "smooth"])
def test_scale_passes_change_the_float_graph_and_are_judged(name: str, model: bytes, cache: Path) -> None:
    bench = workbench(model, cache)
    found = run_chain(bench, parse_chain(("minmax", name, "round-depthwise")), Contract())
    trial = next(trial for trial in found.trials if trial.name == name)
    if trial.kept:
        assert found.best.model != model
        assert name in found.best.names
    else:
        assert "nothing to scale" in trial.why or "no" in trial.why
    assert np.isfinite(found.best.losses).all()
    assert found.best.losses.mean() < 20 * max(found.plain.losses.mean(), 1e-6)


@pytest.mark.usefixtures("steady_times")
def test_mixed_precision_rescues_a_promise_that_the_rest_does_not_keep(model: bytes, cache: Path) -> None:
    bench = workbench(model, cache)
    chain = Chain(("minmax",), rescue=True)
    plain = agreement_of(bench.describe(run_chain(bench, chain, Contract()).best.graph))
    assert plain is not None
    assert plain < 100, "the test needs a network that plain INT8 hurts"
    found = run_chain(bench, chain, Contract(min_agreement=100))
    assert found.best.keep_float
    assert found.trials[-1].name == "mixed-precision"
    reached = agreement_of(bench.describe(found.best.graph))
    assert reached is not None
    assert reached > plain
    assert found.details["sensitivity"]["regions"]
    easy = run_chain(bench, chain, Contract(min_agreement=max(plain - 1, 0)))
    assert not easy.best.keep_float
    assert "sensitivity" not in easy.details


@pytest.mark.usefixtures("steady_times")
def test_a_recipe_with_regions_in_float_makes_the_same_file(model: bytes, cache: Path) -> None:
    bench = workbench(model, cache)
    chain = dataclasses.replace(CHAIN, mixed_precision=True)
    found = run_chain(bench, chain, Contract(min_agreement=100, max_size=10**6))
    if not found.best.keep_float:
        found = run_chain(bench, chain, Contract(), frozenset({"deep"}))
    assert found.best.keep_float
    again = remade(found, workbench(model))
    assert again.best.graph.model == found.best.graph.model
    assert again.best.graph.engine == found.best.graph.engine


def test_biases_are_corrected_anew_once_regions_are_in_float(model: bytes, cache: Path) -> None:
    bench = workbench(model, cache)
    forced = parse_chain(("minmax", "round-depthwise", "correct-bias", "mixed-precision"))
    found = run_chain(bench, forced, Contract(min_agreement=100))
    names = [trial.name for trial in found.trials]
    assert names[:4] == ["minmax", "round-depthwise", "correct-bias", "mixed-precision"]
    if found.best.keep_float:
        assert names[4:] == ["correct-bias"]
        assert found.best.passes == ("round-depthwise", "correct-bias")
        again = remade(found, workbench(model))
        assert again.best.graph.model == found.best.graph.model


@pytest.mark.parametrize("head", ["mixed", "anchor-free"])
def test_heads_are_mended_within_the_chain_and_the_recipe_does_it_again(head: str, tmp_path: Path) -> None:
    model = prepare_graph(HEADS[head](), list(head_pictures(2))).model
    bench = workbench(model, tmp_path, spec=RAW, pictures=head_pictures)
    chain = Chain(("minmax", "mean-minmax"), rounding=("correct-bias",))
    found = run_chain(bench, chain, Contract())
    assert "mend-heads" in found.best.names
    assert found.best.losses.mean() < found.plain.losses.mean()
    assert any(row["kept"] and row["remedy"] != "none" for row in found.details["heads"])
    again = remade(found, workbench(model, spec=RAW, pictures=head_pictures))
    assert again.best.graph.model == found.best.graph.model


def test_nodes_that_stay_in_float_do_so_through_all_passes(model: bytes, cache: Path) -> None:
    found = run_chain(workbench(model, cache), CHAIN, Contract(), frozenset({"deep"}))
    assert found.best.keep_float >= {"deep"}
    assert "deep" not in {layer.node for layer in IntegerGraph(found.best.graph.model).layers}
    assert found.best.graph.engine


@pytest.mark.usefixtures("steady_times")
def test_a_drop_that_is_promised_steers_the_search_without_labels(model: bytes, cache: Path) -> None:
    bench = workbench(model, cache)
    chain = Chain(("minmax",), rescue=True)
    plain = agreement_of(bench.describe(run_chain(bench, chain, Contract()).best.graph))
    assert plain is not None
    lost = 100 - plain
    found = run_chain(bench, chain, Contract(max_drop=lost / 2))
    assert found.best.keep_float
    (note,) = [note for note in found.notes if "looked for" in note]
    assert f"{lost:.2f} % of the answers changed" in note
    assert "--max-drop" in note
    assert not run_chain(bench, chain, Contract(max_drop=lost)).best.keep_float
    assert not run_chain(bench, chain, Contract(min_speedup=1.0)).best.keep_float


def test_for_a_board_of_another_kind_no_time_of_here_steers_the_search(
    model: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = workbench(model, cache)
    chain = Chain(("minmax",), rescue=True)
    wanted = Contract(min_agreement=100, min_speedup=10**5)

    def measured(float_model: bytes, *_: object, **__: object) -> NodeTimes:
        """Every layer takes twice as long in float, so that none fits into so short a time."""
        return estimate_nodes(float_model, "for the test")

    monkeypatch.setattr(mixed, "profile_nodes", measured)
    assert not run_chain(bench, chain, wanted).best.keep_float

    def forbidden(*_: object, **__: object) -> None:
        pytest.fail("operators were timed on a machine of another kind")

    monkeypatch.setattr(mixed, "profile_nodes", forbidden)
    bench.foreign = True
    found = run_chain(bench, chain, wanted)
    assert "deep" in found.best.keep_float
    table = found.details["sensitivity"]
    assert table["how_timed"].startswith("estimated by multiplications: the board has another kind of processor")
    assert {row["extra_ms"] for row in table["regions"]} == {None}
    assert all(row["price"] > 0 for row in table["regions"])
    assert " ms" not in region_chart(table["regions"])


@pytest.mark.usefixtures("steady_times")
def test_what_falls_short_once_it_is_made_again_gets_further_regions(
    model: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = chain_run.search_regions

    def flattered(*given: Any) -> MixedResult:
        """The search, had it found that less is enough."""
        found = real(*given)
        wider = Wider(found.keep_float | {"pool"}, found.regions)
        return dataclasses.replace(found, keep_float=frozenset({"pool"}), regions=("pool alone",), wider=(wider,))

    bench = workbench(model, cache)
    chain = Chain(("minmax",), rescue=True)
    wanted = Contract(min_agreement=100)
    honest = run_chain(bench, chain, wanted)
    assert "deep" in honest.best.keep_float
    monkeypatch.setattr(chain_run, "search_regions", flattered)
    found = run_chain(bench, chain, wanted)
    assert found.best.keep_float == honest.best.keep_float | {"pool"}
    assert any("pool alone in float" in note and "added" in note for note in found.notes)
    trial = next(trial for trial in found.trials if trial.name == "mixed-precision")
    assert trial.kept
    assert "100 promised" in trial.why
    assert trial.loss is not None
    assert trial.before is not None
    assert trial.loss < trial.before


@pytest.mark.usefixtures("steady_times")
def test_regions_that_neither_keep_the_promise_nor_help_stay_integers(
    model: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = chain_run.search_regions

    def useless(*given: Any) -> MixedResult:
        return dataclasses.replace(real(*given), keep_float=frozenset({"pool"}), regions=("pool",), wider=())

    monkeypatch.setattr(chain_run, "search_regions", useless)
    found = run_chain(workbench(model, cache), Chain(("minmax",), rescue=True), Contract(min_agreement=100))
    assert found.best.keep_float == frozenset()
    assert not next(trial for trial in found.trials if trial.name == "mixed-precision").kept


class Passing:
    """A deadline that passes once a stage has begun."""

    def __init__(self, title: str) -> None:
        self._title = title
        self.left = float("inf")

    @property
    def passed(self) -> bool:
        return not self.left

    @contextlib.contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        del total
        self.left = 0.0 if self._title in title else self.left
        yield lambda _done, _total=None, /: None

    def note(self, text: str) -> None:
        """See ``Progress``."""


@pytest.mark.parametrize(
    "stage", ["measure the error of every tensor", "measure what each layer does", "find better integers nowhere"]
)
def test_a_search_that_time_overtakes_gives_what_there_is(stage: str, model: bytes, cache: Path) -> None:
    bench: Any = workbench(model, cache)
    bench.deadline = bench.progress = Passing(stage)
    found = run_chain(bench, Chain(("minmax",), rescue=True), Contract(min_agreement=100))
    trial = found.trials[-1]
    late = "nowhere" not in stage
    assert trial.name == "mixed-precision"
    assert trial.kept is bool(found.best.keep_float) is not late
    assert ("the time budget was spent" in trial.why) is late
    assert found.details["sensitivity"]["tensors"]
