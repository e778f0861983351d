"""The curves of a training: every look is on them, and what is no number is left out."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.optimize.report.svg import round_ticks
from edgewright.optimize.report.training_chart import training_chart


def look(step: int, loss: float, metric: float | None) -> dict[str, Any]:
    return {"step": step, "loss": loss, "metric": metric, "parts": {}, "rate": 0.1, "seconds": 1.0}


def curves(chart: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline class="curve" points="([^"]*)"', chart)
    return [[(float(x), float(y)) for x, _, y in (pair.partition(",") for pair in text.split())] for text in found]


def test_loss_falls_and_metric_rises_on_the_page() -> None:
    loss, metric = curves(training_chart([look(10, 2.0, 0.5), look(20, 1.0, 0.7), look(30, 0.5, 0.8)]))
    assert [down for _, down in loss] == sorted(down for _, down in loss)
    assert [down for _, down in metric] == sorted((down for _, down in metric), reverse=True)
    # The two lie side by side.
    assert max(across for across, _ in loss) < min(across for across, _ in metric)


@pytest.mark.parametrize("metric", [None, math.nan])
def test_without_a_metric_there_is_one_curve(metric: float | None) -> None:
    assert len(curves(training_chart([look(10, 2.0, metric), look(20, 1.0, metric)]))) == 1


def test_a_single_look_is_no_curve() -> None:
    assert training_chart([look(10, 2.0, 0.5)]) == ""
    assert training_chart([look(10, math.nan, 0.5), look(20, 1.0, 0.5)]) == ""


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1)), min_size=2, max_size=6))
def test_whatever_is_measured_stays_on_the_chart(values: list[tuple[float, float]]) -> None:
    chart = training_chart([look(10 * k, loss, metric) for k, (loss, metric) in enumerate(values, start=1)])
    _, _, width, height = (float(text) for text in ET.fromstring(chart).attrib["viewBox"].split())
    points = [point for curve in curves(chart) for point in curve]
    assert len(points) == 2 * len(values)
    assert all(0 <= across <= width and 0 <= down <= height for across, down in points)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_lie_within(low: float, extent: float) -> None:
    ticks = round_ticks(low, low + extent)
    slack = 1e-6 * (abs(low) + extent)
    assert ticks == sorted(ticks)
    assert all(low - slack <= tick <= low + extent + slack for tick in ticks)
