"""Percentiles from a histogram agree with exact ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.runtime.latency import LatencyHistogram, LatencyRecorder


@given(values=st.lists(st.floats(0.001, 900_000.0), min_size=1, max_size=300))
def test_percentiles_are_within_two_percent(values: list[float]) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    for share in (0.0, 0.5, 0.95, 0.99, 1.0):
        exact = float(np.percentile(values, 100 * share, method="inverted_cdf"))
        assert histogram.percentile(share) == pytest.approx(exact, rel=0.02)
    summary = histogram.summary()
    assert summary.count == len(values)
    assert summary.max_ms == max(values)
    assert summary.mean_ms == pytest.approx(np.mean(values))
    assert summary.p50_ms <= summary.p95_ms <= summary.p99_ms <= summary.max_ms


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-9, 1e12])
def test_odd_durations_are_counted(value: float) -> None:
    histogram = LatencyHistogram()
    histogram.add(value)
    assert histogram.summary().count == 1
    assert histogram.percentile(0.5) == max(value, 0.0)


def test_nothing_measured_is_not_zero() -> None:
    assert math.isnan(LatencyHistogram().percentile(0.5))
    assert math.isnan(LatencyHistogram().summary().mean_ms)


def test_stages_keep_their_order() -> None:
    recorder = LatencyRecorder()
    for stage in ("read", "inference", "read"):
        recorder.add(stage, 1.0)
    assert list(recorder.summary()) == ["read", "inference"]
    assert recorder.summary()["read"].count == 2
