"""A spec must be able to read what the model puts out; both numbers are named when it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.bundle.manifest import ClassifyDecode, Preprocess, ResizeMode, SsdDecode, Task, TensorSpec
from edgewright.optimize.errors import SpecError
from edgewright.optimize.sources.fit import check_fit
from edgewright.optimize.spec import ModelSpec

STRETCH = Preprocess(ResizeMode.STRETCH, 8, 8)
ANCHORS = {"a.npy": np.full((6, 4), 0.5, np.float32)}


def detector(labels: tuple[str, ...] = (), background: int | None = 0) -> ModelSpec:
    """A detector with six anchors."""
    decode = SsdDecode("boxes", "scores", "a.npy", background=background)
    return ModelSpec("d", Task.DETECT, STRETCH, decode, labels, ANCHORS)


def classifier(labels: tuple[str, ...] = ()) -> ModelSpec:
    """A classifier."""
    return ModelSpec("c", Task.CLASSIFY, STRETCH, ClassifyDecode("scores"), labels)


def outputs(boxes: tuple[int, ...] = (1, 6, 4), scores: tuple[int, ...] = (1, 6, 3)) -> tuple[TensorSpec, ...]:
    """What a detector puts out."""
    return (TensorSpec("boxes", boxes, "float32"), TensorSpec("scores", scores, "float32"))


@pytest.mark.parametrize(
    ("spec", "tensors"),
    [
        pytest.param(detector(("cat", "dog")), outputs(), id="background is no label"),
        pytest.param(detector(("a", "b", "c"), background=None), outputs(), id="no background"),
        pytest.param(detector(), outputs((1, 6, 1, 4), (6, 3)), id="other axes, same numbers"),
        pytest.param(classifier(("a", "b", "c")), [TensorSpec("scores", (1, 3, 1, 1), "float32")], id="pooled map"),
    ],
)
def test_fits(spec: ModelSpec, tensors: tuple[TensorSpec, ...]) -> None:
    check_fit(spec, tensors, "m.onnx")


@pytest.mark.parametrize(
    ("spec", "tensors", "words"),
    [
        pytest.param(detector(), outputs()[:1], "no output 'scores'; it has 'boxes'", id="output missing"),
        pytest.param(
            classifier(),
            [TensorSpec("scores", (1, 3), "int64")],
            "'scores' is int64; decoding reads float32",
            id="dtype",
        ),
        pytest.param(detector(), outputs((1, 5, 4)), "not 4 codes for each of the 6 anchors", id="anchors"),
        pytest.param(detector(), outputs(scores=(1, 7)), "6 anchors do not divide", id="scores"),
        pytest.param(detector(background=3), outputs(), "background is 3, but output 'scores' has 3", id="background"),
        pytest.param(detector(("cat",)), outputs(), "2 classes apart, but 1 labels", id="labels"),
        pytest.param(classifier(("a",)), [TensorSpec("scores", (3,), "float32")], "3 classes apart, but 1", id="names"),
        pytest.param(classifier(), [TensorSpec("scores", (1, 1), "float32")], "is a single score", id="one score"),
        pytest.param(
            classifier(), [TensorSpec("scores", (1, 6, 3), "float32")], "one row of scores.*'ssd'", id="a detector"
        ),
    ],
)
def test_does_not_fit(spec: ModelSpec, tensors: tuple[TensorSpec, ...], words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        check_fit(spec, tensors, "m.onnx")
    assert str(caught.value).startswith("m.onnx")
