"""The board's integers are chosen as the rest of the run goes: with the same nodes in float, and within its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from chain_models import depthwise_classifier, smooth, workbench

from edgewright.optimize.chain.effort import Chain
from edgewright.optimize.chain.run import run_chain
from edgewright.optimize.contract import Contract
from edgewright.optimize.forms import make_forms
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.progress import PlainProgress
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.target import choose_target, predict_boards

if TYPE_CHECKING:
    pass

BOARD = "generic-x86-avx2"


@pytest.fixture(scope="module")
def model() -> bytes:
    return prepare_graph(depthwise_classifier(), list(smooth(2))).model


def made_by(bench: Any) -> list[Any]:
    """Keeps what a workbench quantizes."""
    made, quantize = [], bench.quantize

    def kept(*given: Any, **named: Any) -> Any:
        made.append(quantize(*given, **named))
        return made[-1]

    bench.quantize = kept
    return made


def test_nodes_that_stay_in_float_do_so_when_schemes_are_compared(model: bytes) -> None:
    bench = workbench(model)
    made = made_by(bench)
    choose_target(BOARD, bench, Chain(("minmax",)), frozenset({"deep"}))
    assert made
    for graph in made:
        assert "deep" not in {layer.node for layer in IntegerGraph(graph.model).layers}


def test_without_time_nothing_is_emulated_and_that_is_said(model: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    late = workbench(model, seconds=0)
    late.progress = PlainProgress()
    made = made_by(late)
    target = choose_target(BOARD, late, Chain(("minmax",)))
    assert not made
    assert target.scheme == Scheme()
    assert "time budget was spent" in target.reasons[0]
    graph = workbench(model).quantize(model, late.calibrate(model, ("minmax",)).ranges["minmax"])
    assert predict_boards(graph, late, None) == []
    assert f"not emulated for the report, as the time budget was spent: {BOARD}" in capsys.readouterr().err


class Countdown:
    """A deadline that passes after it was asked so often."""

    left = 1.0

    def __init__(self, times: int) -> None:
        self._times = iter(range(times))

    @property
    def passed(self) -> bool:
        return next(self._times, None) is None


def test_schemes_that_time_does_not_allow_are_named(model: bytes) -> None:
    bench: Any = workbench(model)
    bench.deadline = Countdown(1)
    target = choose_target(BOARD, bench, Chain(("minmax",)))
    assert target.scheme == Scheme()
    assert any("u8s7 was not tried: the time budget was spent" in reason for reason in target.reasons) or any(
        "nothing is to be mended" in reason for reason in target.reasons
    )


@pytest.mark.parametrize(
    ("chain", "wanted", "names"),
    [
        (Chain(("minmax",), forms=("dynamic", "float16")), None, {"int8"}),
        (Chain(("minmax",), forms=("dynamic", "float16")), "float16", {"int8", "float16"}),
        (Chain(("minmax",), forms=("dynamic", "float16"), forced=True), None, {"int8", "dynamic", "float16"}),
    ],
)
def test_forms_are_left_out_when_time_is_up_unless_they_were_asked_for(
    chain: Chain, wanted: str | None, names: set[str], model: bytes
) -> None:
    best = run_chain(workbench(model), Chain(("minmax",)), Contract()).best
    source: Any = None  # only the form that takes the camera's bytes reads it
    forms, notes = make_forms(best, chain, workbench(model, seconds=0), source, wanted)
    assert {form.name for form in forms} == names
    assert [note for note in notes if "time budget was spent" in note] == [
        f"no {name} form: the time budget was spent" for name in chain.forms if name not in names
    ]
