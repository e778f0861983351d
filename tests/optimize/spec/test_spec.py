"""Specs: parts that do not belong together are refused when they are put together, not on the device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.bundle.manifest import (
    ClassifyDecode,
    Layout,
    Preprocess,
    ResizeMode,
    ScoreActivation,
    SsdDecode,
    Task,
)
from edgewright.optimize.errors import SpecError
from edgewright.optimize.spec import ClassifierOptions, ModelSpec, classifier_spec

STRETCH = Preprocess(ResizeMode.STRETCH, 8, 6)
SSD = SsdDecode("boxes", "scores", "arrays/anchors.npy")
ANCHORS = {"arrays/anchors.npy": np.full((5, 4), 0.5, np.float32)}
DETECTOR = ModelSpec("d", Task.DETECT, STRETCH, SSD, ("person",), ANCHORS, (1, 3, 6, 8))


def test_names_and_layout() -> None:
    assert DETECTOR.output_names == ("boxes", "scores")
    assert DETECTOR.layout is Layout.NCHW
    assert DETECTOR.with_shape((1, 6, 8, 3)).layout is Layout.NHWC


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"task": Task.CLASSIFY}, "task is 'classify'", id="task"),
        pytest.param({"decode": ClassifyDecode("scores")}, "task is 'detect'", id="head"),
        pytest.param({"arrays": {}}, "arrays holds nothing", id="no anchors"),
        pytest.param({"arrays": {"arrays/anchors.npy": np.ones((5, 3), np.float32)}}, r"\(n, 4\)", id="columns"),
        pytest.param({"arrays": {"arrays/anchors.npy": np.ones((5, 4))}}, "float64", id="dtype"),
        pytest.param({"arrays": {"arrays/anchors.npy": np.full((1, 4), np.nan, np.float32)}}, "finite", id="nan"),
        pytest.param({"input_shape": (1, 3, 8, 6)}, "one picture of 8x6", id="turned shape"),
        pytest.param({"preprocess": replace(STRETCH, std=(1.0, 0.0, 1.0))}, "not zero", id="std"),
        pytest.param({"preprocess": replace(STRETCH, mean=(float("inf"), 0.0, 0.0))}, "finite", id="mean"),
        pytest.param({"preprocess": replace(STRETCH, width=0)}, "within 1..16384", id="no width"),
        pytest.param({"decode": replace(SSD, iou_threshold=1.5)}, "iou_threshold must be within 0..1", id="threshold"),
        pytest.param({"decode": replace(SSD, max_detections=0)}, "at least 1", id="no detections"),
        pytest.param(
            {"decode": replace(SSD, anchors="../a.npy"), "arrays": {"../a.npy": ANCHORS["arrays/anchors.npy"]}},
            "names a file of the bundle",
            id="path",
        ),
        pytest.param({"preprocess": replace(STRETCH, resize=ResizeMode.CROP)}, "needs crop_from", id="crop"),
    ],
)
def test_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        replace(DETECTOR, **change)  # type: ignore[arg-type]


@given(width=st.integers(4, 1000), height=st.integers(4, 1000))
def test_default_crop_always_holds_the_picture(width: int, height: int) -> None:
    spec = classifier_spec(ClassifierOptions(), name="c", input_shape=(1, 3, height, width), scores="s")
    assert spec.preprocess.crop_from is not None
    assert spec.preprocess.crop_from >= max(width, height)


@pytest.mark.parametrize("said", [None, *ScoreActivation])
def test_the_activation_is_the_one_said(said: ScoreActivation | None) -> None:
    options = ClassifierOptions(activation=said)
    spec = classifier_spec(options, name="c", input_shape=(1, 8, 8, 3), scores="s")
    assert isinstance(spec.decode, ClassifyDecode)
    assert spec.decode.activation is (said or ScoreActivation.SOFTMAX)


def test_a_crop_no_bundle_would_hold() -> None:
    with pytest.raises(SpecError, match=r"within 8\.\.16384 pixels, found 20000"):
        classifier_spec(ClassifierOptions(crop_from=20_000), name="c", input_shape=(1, 3, 8, 8), scores="s")


def test_top_k_needs_at_least_one() -> None:
    with pytest.raises(SpecError, match="top_k must be at least 1"):
        classifier_spec(ClassifierOptions(top_k=0), name="c", input_shape=(1, 3, 8, 8), scores="s")
