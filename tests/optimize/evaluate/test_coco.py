"""Average precision on cases whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgewright.optimize.contract import Measured
from edgewright.optimize.evaluate.coco import MIN_CURVE_BLOCKS, GroundTruth, as_truth, compare_precision
from edgewright.runtime.types import Detections


def truth(*boxes: tuple[float, float], ignore: tuple[int, ...] = (), label: int = 0) -> GroundTruth:
    """Labelled 20 x 40 boxes with their corner at each point."""
    xyxy = np.array([[x, y, x + 20, y + 40] for x, y in boxes], np.float64).reshape(-1, 4)
    ignored = np.isin(np.arange(len(boxes)), ignore)
    return GroundTruth(xyxy, np.full(len(boxes), label, np.int64), ignored)


def seen(*boxes: tuple[float, float, float], label: int = 0) -> Detections:
    """Detected 20 x 40 boxes: corner and score."""
    xyxy = np.array([[x, y, x + 20, y + 40] for x, y, _ in boxes], np.float32).reshape(-1, 4)
    scores = np.array([score for _, _, score in boxes], np.float32)
    return Detections(xyxy, scores, np.full(len(boxes), label, np.int64))


NOTHING = Detections.empty()


def ap50(labels: GroundTruth, found: Detections) -> float:
    return compare_precision([labels], [found], [found]).float_.ap50.value


@pytest.mark.parametrize(
    ("labels", "found", "expected"),
    [
        pytest.param(truth((10, 10)), seen((10, 10, 0.9)), 1.0, id="found"),
        pytest.param(truth((10, 10), (80, 10)), seen((10, 10, 0.9)), 51 / 101, id="one of two found"),
        pytest.param(truth((10, 10)), NOTHING, 0.0, id="nothing found"),
        pytest.param(truth((10, 10)), seen((10, 10, 0.5), (80, 80, 0.9)), 0.5, id="a better scored false alarm"),
        pytest.param(truth((10, 10)), seen((10, 10, 0.9), (80, 80, 0.5)), 1.0, id="a worse scored false alarm"),
        pytest.param(truth((10, 10)), seen((10, 10, 0.9), label=1), 0.0, id="wrong class"),
        pytest.param(truth((10, 10), (80, 10), ignore=(1,)), seen((10, 10, 0.9)), 1.0, id="ignored box not found"),
        pytest.param(
            truth((10, 10), (80, 10), ignore=(1,)), seen((10, 10, 0.5), (80, 10, 0.9)), 1.0, id="ignored box found"
        ),
    ],
)
def test_known_cases(labels: GroundTruth, found: Detections, expected: float) -> None:
    assert ap50(labels, found) == pytest.approx(expected, abs=1e-6)


def test_ap_over_ious_sees_a_shifted_box() -> None:
    # 20 x 40 shifted by 2 to the right: IoU 18/22 = .818, right at .50 to .80 and wrong at .85 to .95.
    found = [seen((12, 10, 0.9))]
    pair = compare_precision([truth((10, 10))], found, found)
    assert pair.float_.ap.value == pytest.approx(0.7, abs=1e-6)
    assert pair.float_.ap50.value == pytest.approx(1.0, abs=1e-6)


def test_the_drop_is_paired() -> None:
    random = np.random.default_rng(0)
    labels = [truth(*(tuple(corner) for corner in random.uniform(0, 300, (4, 2)))) for _ in range(40)]
    # Both models find the same random subset; INT8 shifts nothing: scenes differ a lot, the models not at all.
    float_ = [
        Detections(
            frame.boxes[keep].astype(np.float32),
            random.uniform(0.2, 1, keep.sum()).astype(np.float32),
            frame.class_ids[keep],
        )
        for frame in labels
        for keep in [random.random(4) < random.random()]
    ]
    pair = compare_precision(labels, float_, float_)
    assert pair.float_.ap50.high - pair.float_.ap50.low > 0.05
    # Not one resample differs, and still 40 frames cannot prove that no frame would (rule of three).
    assert (pair.drop.ap50.low, pair.drop.ap50.value, pair.drop.ap50.high) == (-3 / 40, 0.0, 3 / 40)


def test_a_worse_model_loses_and_the_interval_says_so() -> None:
    labels = [truth((10, 10), (80, 10)) for _ in range(40)]
    good, bad = [seen((10, 10, 0.9), (80, 10, 0.8))] * 40, [seen((10, 10, 0.9))] * 40
    drop = compare_precision(labels, good, bad).drop.ap50
    assert drop.low > 0.4
    assert drop.samples == 40


@pytest.mark.parametrize(("frames", "block"), [(3, 1), (MIN_CURVE_BLOCKS - 1, 1), (60, 5)])
def test_few_frames_decide_nothing(frames: int, block: int) -> None:
    labels, found = [truth((10, 10))] * frames, [seen((10, 10, 0.9))] * frames
    drop = compare_precision(labels, found, [NOTHING] * frames, block=block).drop.ap50
    assert (drop.low, drop.high) == (-1.0, 1.0)


def street() -> list[tuple[GroundTruth, Detections, Detections]]:
    """The person detector's scores on the 30 labelled street frames: people, scores of hits and of false alarms."""
    rows = json.loads(Path(__file__).with_name("street_scores.json").read_text(encoding="utf-8"))

    def said(hits: list[int], alarms: list[int]) -> Detections:
        corners = [(40.0 * k, 0.0, score / 1000) for k, score in enumerate(hits)]
        return seen(*corners, *((40.0 * k, 100.0, score / 1000) for k, score in enumerate(alarms)))

    people = [truth(*((40.0 * k, 0.0) for k in range(row["people"]))) for row in rows]
    return [(labels, said(*row["float"]), said(*row["int8"])) for labels, row in zip(people, rows, strict=True)]


def test_the_interval_of_a_drop_covers_the_truth() -> None:
    """Twenty frames drawn anew, many times."""
    population, random = street(), np.random.default_rng(11)

    def drop(drawn: list[int]) -> Measured:
        labels, float_, int8 = (list(column) for column in zip(*(population[k] for k in drawn), strict=True))
        return compare_precision(labels, float_, int8, replicates=300).drop.ap50  # type: ignore[arg-type]

    true = drop(list(range(30))).value
    intervals = [drop(random.integers(0, 30, 20).tolist()) for _ in range(100)]
    assert sum(row.low <= true <= row.high for row in intervals) >= 95
    assert sum(row.high < true for row in intervals) <= 4
    assert sum(row.low > true for row in intervals) <= 4


def test_frames_without_labels_count_false_alarms() -> None:
    labels = [truth((10, 10)), truth()]
    assert compare_precision(labels, [seen((10, 10, 0.5)), seen((9, 9, 0.9))], [NOTHING] * 2).float_.ap50.value < 0.6


def test_several_classes_are_averaged() -> None:
    labels = [truth((10, 10)), truth((10, 10), label=1)]
    found = [seen((10, 10, 0.9)), NOTHING]
    assert compare_precision(labels, found, found).float_.ap50.value == pytest.approx(0.5)


def test_it_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    ap50(truth((10, 10)), seen((10, 10, 0.9)))
    assert capfd.readouterr() == ("", "")


def test_detections_as_truth() -> None:
    labels = as_truth(seen((10, 10, 0.9), (50, 50, 0.3)), 0.5)
    assert labels.boxes.tolist() == [[10, 10, 30, 50]]
    assert not labels.ignore.any()
