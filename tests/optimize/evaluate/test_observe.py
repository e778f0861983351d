"""What intervals must take together, and what is asked of the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from bundles import write_classifier, write_detector
from tiny_models import write_clip

from edgewright.bundle.reader import open_bundle
from edgewright.optimize.data.samples import Sample, open_samples
from edgewright.optimize.errors import JudgeError
from edgewright.optimize.evaluate.observe import Observation, Seen, observe, open_pair
from edgewright.optimize.evaluate.quality import agreement_quality
from edgewright.runtime.types import Classification, Detections

if TYPE_CHECKING:
    from pathlib import Path

NAME = "float32-onnx"


@pytest.mark.parametrize(
    ("slice_", "rate", "block"),
    [
        pytest.param("", 10, 20, id="every frame of two seconds"),
        pytest.param("#3::4", 10, 5, id="a step of 0.4 seconds"),
        pytest.param("#::20", 10, 1, id="a step of two seconds"),
        pytest.param("", 1, 2, id="a slow camera"),
    ],
)
def test_frames_of_two_seconds_belong_together(tmp_path: Path, slice_: str, rate: float, block: int) -> None:
    source = open_samples(f"{write_clip(tmp_path / 'clip.avi', 60, rate=rate)}{slice_}")
    with open_bundle(write_detector(tmp_path / "tiny.edge")) as bundle:
        pair = open_pair(bundle, NAME, NAME, 1)
        pictures = ((sample, b"") for sample in source)
        seen = observe(pictures, pair, lambda _done: None, source="clip", spacing_s=source.spacing_s)
    assert seen.block == block
    assert isinstance(seen.seen[0].float_, Detections)


def observation(indices: list[int], spacing_s: float | None, answer: Classification) -> Observation:
    return Observation(tuple(Seen(k, str(k), answer, answer) for k in indices), "0" * 64, spacing_s, "x")


ANSWER = Classification(np.array([1]), np.array([0.5], np.float32))


def test_labelled_frames_may_lie_apart_or_in_bursts() -> None:
    assert observation([0, 30, 60, 90], 0.1, ANSWER).block == 1
    assert observation([0, 1, 2, 60, 61, 62], 0.1, ANSWER).block == 3
    assert observation([0, 1, 2], None, ANSWER).block == 1


def test_a_classifier_is_asked_for_its_best_class_however_unsure(tmp_path: Path) -> None:
    with open_bundle(write_classifier(tmp_path / "tiny.edge")) as bundle:
        pair = open_pair(bundle, NAME, NAME, 1)
    assert pair.curve_threshold is None
    grey = Sample(0, "grey", np.full((8, 8, 3), 9, np.uint8))
    seen = observe([(grey, b"")], pair, lambda _done: None, source="x", spacing_s=None)
    assert isinstance(seen.seen[0].int8, Classification)
    assert len(seen.seen[0].int8.scores) == 3


@pytest.mark.parametrize("scores", [[], [float("nan")]])
def test_no_class_is_an_error(scores: list[float]) -> None:
    empty = Classification(np.arange(len(scores)), np.array(scores, np.float32))
    with pytest.raises(JudgeError, match="gave no class for 0"):
        agreement_quality(observation([0], None, empty), None)
