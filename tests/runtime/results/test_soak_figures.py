"""The long run in figures: one definition, and the terminal, the page and the Markdown say the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from board_results import result

from edgewright.cli.bench_lines import result_lines
from edgewright.optimize.report.boards.merge import Measurement, merge
from edgewright.optimize.report.boards.render import render_boards
from edgewright.runtime.energy import Energy
from edgewright.runtime.results.schema import Point, Soak
from edgewright.runtime.results.signing import Signature, SignatureState
from edgewright.runtime.results.soak_figures import SoakFigures, soak_figures


def soak(count: int = 20, **changed: object) -> Soak:
    """Warm from the middle on; the first point holds one slow frame, the second the other 39 of its tenth."""
    points = tuple(
        Point(
            at_s=float(at + 1),
            frames={0: 1, 1: 39}.get(at, 20),
            p50_ms=80.0 if at == 0 else 40.0 if at < count // 2 else 60.0,
            clock_mhz=2400.0 if at < count // 2 else 1500.0,
            celsius=50.0 + at,
            throttled=("soft temperature limit",) if at >= count // 2 else (),
        )
        for at in range(count)
    )
    made = Soak("int8", 20.0, 20.0, 400, points, Energy("INA3221", 100.0, 20.0))
    return replace(made, **changed)  # type: ignore[arg-type]


def test_the_ends_are_tenths_weighed_by_their_frames() -> None:
    found = soak_figures(soak())
    assert found.first_ms == pytest.approx((80 * 1 + 40 * 39) / 40)
    assert found.last_ms == 60.0
    assert found.slower == pytest.approx(60 / 41)
    assert found.frames_per_s == 20.0
    assert (found.first_mhz, found.last_mhz) == (2400.0, 1500.0)
    assert (found.first_celsius, found.hottest_celsius) == (50.0, 69.0)
    assert (found.held_back, found.held_back_from_s) == (("soft temperature limit",), 11.0)
    assert found.joules_per_frame == 0.25


def test_what_nothing_tells_is_unknown() -> None:
    assert soak_figures(soak(points=(), seconds=0.0, frames=0, energy=None)) == SoakFigures()
    assert soak_figures(soak(1)).slower is None  # one point is no comparison
    silent = tuple(replace(point, throttled=None) for point in soak().points)
    assert soak_figures(soak(points=silent)).held_back is None


def test_terminal_page_and_markdown_say_the_same() -> None:
    made = result(soak=soak())
    data = merge([Measurement("a.json", made, Signature(SignatureState.UNSIGNED))])
    terminal = next(line for line in result_lines(made) if line.startswith("soak of"))
    page, markdown = render_boards(data, "html"), render_boards(data, "md")
    for text, words in (
        (terminal, ("20.0 a second", "41.00 ms", "60.00 ms", "1.46 times", "0.250 J a frame", "after 11 s")),
        (page, ("20.0 a second", "41.00 to 60.00 ms", "1.46x the time", "0.250 J a frame", "after 11 s")),
        (markdown, ("20.0 frames a second", "1.46x the time", "soft temperature limit")),
    ):
        for each in words:
            assert each in text
    assert "THROTTLED in the long run" in page
