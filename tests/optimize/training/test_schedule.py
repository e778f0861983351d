"""Rates, lengths and looks follow from the step alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.optimize.training.schedule import looks_at, rate_at, steps_of
from edgewright.optimize.training.settings import Schedule, TrainSettings

SETTINGS = st.builds(
    TrainSettings,
    rate=st.floats(1e-6, 10.0),
    schedule=st.sampled_from(Schedule),
    floor=st.just(0.0) | st.floats(1e-6, 1.0),
    warmup=st.floats(0.0, 1.0),
    epochs=st.floats(0.01, 50.0),
    batch=st.integers(1, 300),
    evaluations=st.integers(0, 20),
)


@given(SETTINGS, st.integers(1, 400))
def test_a_rate_rises_to_its_largest_and_never_again(settings: TrainSettings, steps: int) -> None:
    rates = [rate_at(settings, step, steps) for step in range(1, steps + 1)]
    top = max(rates)
    assert top == pytest.approx(settings.rate)
    assert min(rates) > 0 or settings.floor == 0
    peak = rates.index(top)
    assert all(a <= b * (1 + 1e-9) for a, b in pairwise(rates[: peak + 1]))
    assert all(a >= b * (1 - 1e-9) for a, b in pairwise(rates[peak:]))


@given(SETTINGS, st.integers(50, 400))
def test_a_rate_has_no_jumps(settings: TrainSettings, steps: int) -> None:
    settings = replace(settings, warmup=min(settings.warmup, 0.8))
    rates = [rate_at(settings, step, steps) for step in range(1, steps + 1)]
    rising = round(settings.warmup * steps)
    falling = steps - rising - 1
    largest = settings.rate * max(1.0 / (rising + 1), 1.6 / falling)  # a cosine is at most pi / 2 times steeper
    assert all(abs(a - b) <= largest * (1 + 1e-9) for a, b in pairwise(rates))


@pytest.mark.parametrize("schedule", [Schedule.COSINE, Schedule.LINEAR])
def test_a_rate_ends_at_its_floor(schedule: Schedule) -> None:
    settings = TrainSettings(rate=0.5, floor=0.1, schedule=schedule)
    assert rate_at(settings, 100, 100) == pytest.approx(0.05)


@given(SETTINGS, st.integers(1, 5000))
def test_looks_are_spread_and_one_is_at_the_end(settings: TrainSettings, steps: int) -> None:
    looks = sorted(looks_at(settings, steps))
    assert len(looks) == min(settings.evaluations, steps)
    assert not looks or (looks[0] >= 1 and looks[-1] == steps)
    gaps = [b - a for a, b in pairwise(looks)]
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("epochs", "pictures", "batch", "steps"),
    [(4, 320, 32, 40), (0.5, 320, 32, 5), (2, 10, 64, 2), (0.001, 10, 64, 1), (1, 100, 64, 2)],
)
def test_steps(epochs: float, pictures: int, batch: int, steps: int) -> None:
    assert steps_of(TrainSettings(epochs=epochs, batch=batch), pictures) == steps
