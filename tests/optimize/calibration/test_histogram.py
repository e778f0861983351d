"""Histograms of streams: exact counts in fixed memory, whatever the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgewright.optimize.calibration.histogram import Histogram

# Nothing so far from the largest that float32 loses it when both are counted in bins.
FLOATS = st.one_of(st.just(0.0), st.floats(2.0**-50, 2.0**40, width=32), st.floats(-(2.0**40), -(2.0**-50), width=32))
CHUNKS = st.lists(arrays(np.float32, st.integers(0, 40), elements=FLOATS), min_size=1, max_size=8)
BINS = st.sampled_from([4, 64, 2048])


def counted(chunks: list[np.ndarray], bins: int) -> Histogram:
    histogram = Histogram(bins)
    for chunk in chunks:
        histogram.add(chunk)
    return histogram


def same(a: Histogram, b: Histogram) -> bool:
    return (
        np.array_equal(a.counts, b.counts) and np.array_equal(a.edges, b.edges) and (a.low, a.high) == (b.low, b.high)
    )


@given(CHUNKS, BINS)
def test_it_is_one_histogram_of_everything_on_its_final_grid(chunks: list[np.ndarray], bins: int) -> None:
    histogram = counted(chunks, bins)
    values = np.concatenate(chunks).astype(np.float64)
    # np.histogram closes its last bin on both sides; one edge more keeps every bin half open.
    edges = np.append(histogram.edges, histogram.edges[-1] + histogram.width)
    assert np.array_equal(histogram.counts, np.histogram(values, edges)[0][:-1])
    assert histogram.total == len(values)
    assert histogram.low == min(values.min(initial=0), 0)
    assert histogram.high == max(values.max(initial=0), 0)


@given(CHUNKS, BINS, st.randoms())
def test_order_does_not_matter(chunks: list[np.ndarray], bins: int, random: object) -> None:
    shuffled = list(chunks)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert same(counted(chunks, bins), counted(shuffled, bins))


@given(CHUNKS, CHUNKS, BINS)
def test_merging_parts_is_counting_the_whole(one: list[np.ndarray], other: list[np.ndarray], bins: int) -> None:
    merged = counted(one, bins)
    part = counted(other, bins)
    before = part.counts
    merged.merge(part)
    assert same(merged, counted([*one, *other], bins))
    assert np.array_equal(part.counts, before)


@given(CHUNKS, BINS)
def test_zero_is_an_edge_and_the_range_fills_half_the_bins(chunks: list[np.ndarray], bins: int) -> None:
    histogram = counted(chunks, bins)
    assert 0.0 in histogram.edges
    assert len(histogram.counts) == bins
    used = (histogram.high - histogram.low) / histogram.width
    assert used <= bins
    if histogram.width > 2.0**-120:
        # The next finer grid would not do.
        assert 2 * used > bins - 2


def test_what_doubles_is_the_range_never_the_memory() -> None:
    histogram = Histogram()
    sizes = set()
    for power in range(-30, 30):
        histogram.add(np.linspace(-(2.0**power), 2.0**power, 999, dtype=np.float32))
        sizes.add(len(histogram.counts))
    assert sizes == {2048}
    assert histogram.total == 60 * 999


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0, 1e-40, 3e38, -3e38])
def test_constants(value: float) -> None:
    histogram = Histogram()
    histogram.add(np.full(300_000, value, np.float32))
    (bin_,) = np.flatnonzero(histogram.counts)
    assert histogram.counts[bin_] == 300_000
    assert histogram.edges[bin_] <= np.float32(value) < histogram.edges[bin_ + 1]


def test_arrays_of_any_layout() -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    plain, turned = Histogram(), Histogram()
    plain.add(values)
    turned.add(values.T[:, ::-1])
    assert same(plain, turned)
