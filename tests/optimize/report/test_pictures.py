"""Which pictures the report shows, and what it says of them."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgewright.optimize.data.samples import Sample
from edgewright.optimize.evaluate.observe import Observation, Seen
from edgewright.optimize.evaluate.quality import agreement_quality
from edgewright.optimize.judge import Picture, _choose_pictures
from edgewright.optimize.report.pictures import draw_pictures
from edgewright.optimize.report.render import _alone
from edgewright.runtime.types import Detections


class _Source:
    """Grey pictures, by number."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __iter__(self) -> Any:
        return (Sample(k, f"picture {k}", np.full((40, 40, 3), k, np.uint8)) for k in range(self._count))


def boxes(*scores: float) -> Detections:
    corners = np.array([[10 * k, 0, 10 * k + 8, 8] for k in range(len(scores))], np.float32).reshape(-1, 4)
    return Detections(corners, np.array(scores, np.float32), np.zeros(len(scores), np.int64))


def observation(rows: list[tuple[Detections, Detections]]) -> Observation:
    seen = tuple(Seen(k, f"picture {k}", ours, theirs) for k, (ours, theirs) in enumerate(rows))
    return Observation(seen, "0" * 64, None, "x")


def test_lost_boxes_come_before_many_made_up_ones() -> None:
    agreed = [(boxes(0.9), boxes(0.9))] * 24
    extra = [(boxes(), boxes(0.9, 0.8, 0.7, 0.6))] * 6
    lost = [(boxes(0.6), boxes()), (boxes(0.95), boxes())]
    seen = observation([*agreed, *extra, *lost])
    plan: Any = SimpleNamespace(agreement=_Source(32), images=None)
    shown = _choose_pictures(plan, seen, agreement_quality(seen, 0.5)).shown
    worst = [picture.seen for picture in shown if picture.why == "among the worst disagreements"]
    assert worst[:2] == [31, 30]
    assert len(worst) == 6
    typical = [picture.seen for picture in shown if picture.why != "among the worst disagreements"]
    assert len(typical) == 2
    assert min(typical) < 12 < max(typical)


def test_the_caption_names_what_was_lost_and_made_up() -> None:
    seen = observation([(boxes(0.9, 0.8), boxes(0.9)), (boxes(), boxes(0.61))])
    pictures = [Picture(Sample(k, "x", np.zeros((40, 40, 3), np.uint8)), k, "why") for k in range(2)]
    rows, _ = draw_pictures(pictures, seen, ["person"], 0.5)
    assert rows[0]["lost"] == [{"label": "person", "score": 0.8}]
    assert _alone(rows[0]) == "INT8 lost person 0.80"
    assert _alone(rows[1]) == "INT8 alone saw person 0.61"
    many, _ = draw_pictures(pictures[:1], observation([(boxes(*[0.9] * 9), boxes())]), ["person"], 0.5)
    assert re.fullmatch(r"INT8 lost (person 0\.90, ){3}person 0\.90 and 5 more", _alone(many[0]))
    # A bundle made before this was recorded.
    assert _alone({"float_boxes": 1, "int8_boxes": 1, "agreed": 1}) == ""
