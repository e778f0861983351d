"""Which passes a chain holds."""

from __future__ import annotations

import pytest

from edgewright.optimize.chain.effort import PASSES, Effort, chain_for, parse_chain
from edgewright.optimize.errors import SpecError


def test_more_effort_tries_at_least_as_much() -> None:
    fast, balanced, best = (set(chain_for(effort).names) for effort in Effort)
    assert fast < balanced < best


@pytest.mark.parametrize("effort", list(Effort))
def test_every_effort_is_held_against_plain_min_max_and_names_known_passes(effort: Effort) -> None:
    chain = chain_for(effort)
    assert chain.ranges[0] == "minmax"
    assert not chain.forced
    assert {name.partition(":")[0] for name in chain.names} <= set(PASSES)


def test_a_chain_by_hand_is_read_as_written_and_forced() -> None:
    names = ("mean-minmax", "mend-heads", "equalize", "round-depthwise", "correct-bias", "mixed-precision", "float16")
    chain = parse_chain(names)
    assert chain.forced
    assert chain.names == names


def test_a_chain_without_a_range_method_takes_the_plain_one() -> None:
    assert parse_chain(("correct-bias",)).names == ("minmax", "correct-bias")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        pytest.param(("minmax", "polish"), "there is no pass 'polish'; a chain may hold minmax", id="unknown"),
        pytest.param(("correct-bias", "correct-bias"), "is named twice", id="twice"),
        pytest.param(("minmax", "entropy"), "one range method, not minmax and entropy", id="two range methods"),
    ],
)
def test_what_cannot_be_a_chain(names: tuple[str, ...], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        parse_chain(names)
