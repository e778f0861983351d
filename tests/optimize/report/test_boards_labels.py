"""Names of points in a chart: each has a place, and none lies over another or over a point."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from board_results import result, row
from hypothesis import example, given
from hypothesis import strategies as st

from edgewright.optimize.report.boards.charts import front_chart
from edgewright.optimize.report.boards.labels import Box, place_labels, text_width
from edgewright.optimize.report.boards.merge import Measurement, merge
from edgewright.runtime.results.signing import Signature, SignatureState

INSIDE = Box(64, 30, 656, 264)
POINT = st.tuples(st.floats(64, 696), st.floats(30, 294))


@given(points=st.lists(POINT, min_size=1, max_size=24), text=st.sampled_from(("7", "12 int8-tflite")))
@example(points=[(300.0, 100.0)] * 24, text="12 int8-tflite")
@example(points=[(696.0, 30.0), (64.0, 294.0), (696.0, 294.0), (64.0, 30.0)], text="12 int8-tflite")
def test_no_name_lies_over_another_or_over_a_point(points: list[tuple[float, float]], text: str) -> None:
    labels = place_labels(points, [text_width(text)] * len(points), 13, INSIDE)
    assert labels == place_labels(points, [text_width(text)] * len(points), 13, INSIDE)
    boxes = [label.box for label in labels]
    dots = [Box(x - 5.5, y - 5.5, 11, 11) for x, y in points]
    for at, box in enumerate(boxes):
        assert not any(box.meets(other) for other in (*boxes[:at], *dots))
        assert INSIDE.x <= box.x <= box.x + box.width <= INSIDE.x + INSIDE.width + 1e-6
        assert INSIDE.y <= box.y <= box.y + box.height <= INSIDE.y + INSIDE.height + 1e-6


def test_a_name_far_from_its_point_is_joined_with_it() -> None:
    labels = place_labels([(300.0, 100.0)] * 12, [40.0] * 12, 13, INSIDE)
    assert labels[0].leader is None
    assert labels[-1].leader is not None


def test_no_name_is_lost_where_there_is_no_room() -> None:
    labels = place_labels([(100.0, 40.0)] * 50, [60.0] * 50, 13, Box(64, 30, 120, 60))
    assert len(labels) == 50


@pytest.mark.parametrize("boards", [2, 12])
def test_every_variant_of_every_board_has_its_name(boards: int) -> None:
    """The same times everywhere: the worst there is."""
    made = result(rows=(row("int8", 40.0), row("tflite", 40.0), row("float", 40.0, precision="float32")))
    unsigned = Signature(SignatureState.UNSIGNED)
    each = [
        Measurement(f"{n}.json", replace(made, board=replace(made.board, name=f"b{n}")), unsigned)
        for n in range(boards)
    ]
    chart = front_chart(merge(each)["boards"], "ap50")
    names = re.findall(r'<text class="name f\d" x="([\d.]+)" y="([\d.]+)">(\d+)', chart)
    assert sorted(int(number) for _, _, number in names) == list(range(1, 3 * boards + 1))
    assert len({(x, y) for x, y, _ in names}) == 3 * boards
    height = float(re.findall(r'viewBox="0 0 \d+ ([\d.]+)"', chart)[0])
    assert all(0 < float(y) < height for _, y, _ in names)
