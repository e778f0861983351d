"""Whether the interval of an AP drop holds the truth as often as it says, on made-up streets drawn anew many times."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.optimize.evaluate.coco import GroundTruth, compare_precision
from edgewright.runtime.types import Detections

Scene = tuple[GroundTruth, Detections, Detections]


def boxes(count: int, row: float) -> np.ndarray:
    corners = np.stack([40.0 * np.arange(count), np.full(count, row)], axis=1)
    return np.concatenate([corners, np.add(corners, (20, 40))], axis=1)


def scene(random: np.random.Generator, difficulty: float) -> Scene:
    """People and false alarms; INT8 shakes all scores and lowers those of people a little."""
    people, alarms = random.poisson(4), random.poisson(1.5)
    logits = np.concatenate([random.normal(1 - difficulty, 1.5, people), random.normal(-1.5, 1, alarms)])
    lowered = logits + random.normal(0, 0.35, len(logits)) - 0.1 * (np.arange(len(logits)) < people)
    place = np.concatenate([boxes(people, 0), boxes(alarms, 100)]).astype(np.float32)
    said = [
        Detections(place, (1 / (1 + np.exp(-values))).astype(np.float32), np.zeros(len(place), np.int64))
        for values in (logits, lowered)
    ]
    labels = GroundTruth(boxes(people, 0), np.zeros(people, np.int64), np.zeros(people, np.bool_))
    return labels, said[0], said[1]


def film(random: np.random.Generator, frames: int, persistence: float) -> list[Scene]:
    state = random.normal(size=frames)
    for k in range(1, frames):
        state[k] = persistence * state[k - 1] + np.sqrt(1 - persistence**2) * state[k]
    return [scene(random, difficulty) for difficulty in state]


@pytest.mark.parametrize(("frames", "block", "persistence", "rounds"), [(24, 1, 0.0, 40), (160, 8, 0.8, 15)])
def test_the_drop_is_covered(frames: int, block: int, persistence: float, rounds: int) -> None:
    random = np.random.default_rng(7)
    drawn = []
    for _ in range(rounds):
        truth, float_, int8 = (list(column) for column in zip(*film(random, frames, persistence), strict=True))
        drawn.append(compare_precision(truth, float_, int8, block=block, replicates=200).drop.ap50)  # type: ignore[arg-type]
    # The estimates scatter around the truth without bias that would matter here.
    truth_ = float(np.mean([row.value for row in drawn]))
    assert sum(row.low <= truth_ <= row.high for row in drawn) >= 0.9 * rounds
    # And the interval is no wider than it must be: at most twice what the scatter of the estimates says.
    scatter = float(np.std([row.value for row in drawn]))
    assert np.median([row.high - row.value for row in drawn]) < 2 * 1.96 * scatter
