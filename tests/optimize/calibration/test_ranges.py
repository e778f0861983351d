"""From histograms to ranges: each method does what its name says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgewright.optimize.calibration.choice import RangeChoice, RangeMethod
from edgewright.optimize.calibration.entropy import LEVELS, divergences
from edgewright.optimize.calibration.histogram import Histogram
from edgewright.optimize.calibration.ranges import clipped_range
from edgewright.optimize.calibration.search import Bins
from edgewright.optimize.errors import SpecError

CLIPPING = ["percentile:99.9", "percentile:99.99", "percentile:99.999", "entropy", "mse"]


def histogram_of(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.add(values.astype(np.float32))
    return histogram


def bell_with_outlier(outlier: float) -> np.ndarray:
    return np.append(np.random.default_rng(0).normal(0, 1, 1_000_000), outlier)


def error(values: np.ndarray, low: float, high: float) -> float:
    """Mean squared error of 8-bit integers, done plainly."""
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    integers = np.clip(np.rint(values / scale) + zero, 0, 255)
    return float((((integers - zero) * scale - values) ** 2).mean())


@pytest.mark.parametrize("written", CLIPPING)
@pytest.mark.parametrize("sign", [1, -1])
def test_an_outlier_is_cut_off_its_own_side(written: str, sign: int) -> None:
    low, high = clipped_range(histogram_of(sign * bell_with_outlier(25.0)), RangeChoice.parse(written))
    near, far = (-low, high) if sign > 0 else (high, -low)
    assert 2.5 < near < 6.5
    assert 2.5 < far < 12


@pytest.mark.parametrize("written", CLIPPING)
def test_values_that_fill_their_range_keep_it(written: str) -> None:
    values = np.random.default_rng(0).uniform(0, 6, 500_000)
    low, high = clipped_range(histogram_of(values), RangeChoice.parse(written))
    assert low == 0
    assert high == pytest.approx(6, rel=0.02)


def test_percentiles_keep_what_they_say() -> None:
    values = np.random.default_rng(0).normal(0, 1, 1_000_000)
    for kept in (90.0, 99.0, 99.9):
        low, high = clipped_range(histogram_of(values), RangeChoice(RangeMethod.PERCENTILE, kept))
        outside = 100 * ((values < low) | (values > high)).mean()
        assert outside <= 100 - kept
        assert outside == pytest.approx(100 - kept, rel=0.15)
        assert -low == pytest.approx(high, rel=0.05)


def test_one_hundred_per_cent_is_everything() -> None:
    values = bell_with_outlier(60.0).astype(np.float32)
    assert clipped_range(histogram_of(values), RangeChoice(RangeMethod.PERCENTILE, 100)) == (values.min(), values.max())


@pytest.mark.parametrize("outlier", [8.0, 20.0, 60.0])
def test_mse_is_near_the_least_error_that_any_range_has(outlier: float) -> None:
    values = bell_with_outlier(outlier)[-200_000:]
    low, high = clipped_range(histogram_of(values), RangeChoice(RangeMethod.MSE))
    best = min(error(values, a, b) for a in np.linspace(-6, -2, 15) for b in np.linspace(2, outlier, 25))
    assert error(values, low, high) < 1.1 * best
    assert error(values, low, high) < error(values, values.min(), outlier)


def test_divergence_agrees_with_the_definition() -> None:
    """Against the procedure of the paper, written out bin by bin."""
    random = np.random.default_rng(0)
    counts = random.poisson(np.geomspace(300, 0.05, 900)).astype(np.float64)
    counts[-1] = counts[-2]
    bins = Bins(counts, np.arange(901.0), 0, 0, 900)
    for stop in (256, 300, 513, 900):
        clipped = counts[:stop].copy()
        clipped[-1] += counts[stop:].sum()
        rounded = np.zeros(stop)
        for level in range(LEVELS):
            part = slice(stop * level // LEVELS, stop * (level + 1) // LEVELS)
            filled = clipped[part] > 0
            if filled.any():
                rounded[part] = np.where(filled, counts[:stop][part].sum() / filled.sum(), 0)
        p, q = clipped / clipped.sum(), rounded / rounded.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = np.where(p > 0, p * np.log(p / q), 0).sum()
        (found,) = divergences(bins, np.array([0]), np.array([stop]))
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_range_that_loses_no_information_has_no_divergence() -> None:
    counts = np.repeat(np.random.default_rng(0).integers(1, 50, LEVELS), 4).astype(np.float64)
    assert divergences(Bins(counts, np.arange(1025.0), 0, 0, 1024), np.array([0]), np.array([1024])) == pytest.approx(0)


@pytest.mark.parametrize("written", CLIPPING)
def test_zeros_behind_a_relu_do_not_decide(written: str) -> None:
    """Half of all values being exactly zero, on any grid without error, leaves the range where it was."""
    values = np.abs(np.random.default_rng(0).normal(0, 1, 400_000))
    plain = clipped_range(histogram_of(values), RangeChoice.parse(written))
    mixed = clipped_range(histogram_of(np.append(values, np.zeros(400_000))), RangeChoice.parse(written))
    assert plain[0] == mixed[0] == 0
    assert mixed[1] == pytest.approx(plain[1], rel=0.1)


@pytest.mark.parametrize("written", CLIPPING)
@pytest.mark.parametrize("sides", [1, 2])
def test_a_saturated_activation_keeps_its_bounds(written: str, sides: int) -> None:
    """A twentieth of all values stands at six: the full range says them exactly, a narrower one would clip them."""
    values = np.random.default_rng(0).normal(0, 3, 500_000)
    clipped = np.clip(values, -6 if sides == 2 else 0, 6)
    low, high = clipped_range(histogram_of(clipped), RangeChoice.parse(written))
    assert high == pytest.approx(6, rel=0.03)
    assert low == pytest.approx(-6 if sides == 2 else 0, rel=0.03)


@pytest.mark.parametrize("written", CLIPPING)
@pytest.mark.parametrize("value", [0.0, 2.5, -2.5])
def test_constants_reach_from_zero_to_themselves(written: str, value: float) -> None:
    found = clipped_range(histogram_of(np.full(1000, value)), RangeChoice.parse(written))
    assert found == (min(value, 0.0), max(value, 0.0))


@given(
    arrays(np.float32, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)),
    st.sampled_from(CLIPPING),
)
def test_ranges_hold_zero_and_never_leave_what_was_seen(values: np.ndarray, written: str) -> None:
    low, high = clipped_range(histogram_of(values), RangeChoice.parse(written))
    assert min(float(values.min()), 0) <= low <= 0 <= high <= max(float(values.max()), 0)


@given(
    arrays(np.float32, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)),
    st.sampled_from(CLIPPING),
)
def test_symmetric_ranges_are_symmetric(values: np.ndarray, written: str) -> None:
    low, high = clipped_range(histogram_of(values), RangeChoice.parse(written), symmetric=True)
    assert -low == high <= np.abs(values).max()


def test_symmetric_mse_suits_the_symmetric_grid() -> None:
    """A Relu's values have 127 integers there, not 255, so less of the tail is worth keeping."""
    values = np.abs(bell_with_outlier(12.0))
    one_sided = clipped_range(histogram_of(values), RangeChoice(RangeMethod.MSE))[1]
    symmetric = clipped_range(histogram_of(values), RangeChoice(RangeMethod.MSE), symmetric=True)[1]
    assert symmetric < one_sided


@given(st.sampled_from(RangeMethod), st.floats(50.001, 100))
def test_choices_are_read_as_written(method: RangeMethod, kept: float) -> None:
    choice = RangeChoice(method, kept if method is RangeMethod.PERCENTILE else None)
    assert RangeChoice.parse(str(choice)) == choice


def test_how_choices_are_written() -> None:
    assert [str(RangeChoice(method)) for method in RangeMethod] == [
        "minmax",
        "mean-minmax",
        "percentile:99.99",
        "entropy",
        "mse",
    ]
    assert str(RangeChoice.parse("percentile:99")) == "percentile:99"


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("best", "no range method"),
        ("percentile:many", "no range method"),
        ("percentile:", "no range method"),
        ("entropy:3", "takes no number"),
        ("percentile:101", "makes no sense"),
        ("percentile:nan", "makes no sense"),
        ("percentile:5", "makes no sense"),
    ],
)
def test_choices_that_mean_nothing(written: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        RangeChoice.parse(written)
