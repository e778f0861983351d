"""What candidates are chosen by: the loss follows the damage, and noise is not taken for progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from tiny_models import SIDE, anchors, classifier_onnx, detector_onnx, spot_frame

from edgewright.bundle.manifest import ClassifyDecode, Preprocess, ResizeMode, ScoreActivation, SsdDecode, Task
from edgewright.optimize.calibration import RangeCollector, RangeMethod
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.errors import DataError, JudgeError
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.optimize.selection import FidelityJudge, improves
from edgewright.optimize.selection.losses import BoxLoss, ClassLoss, HeadLoss, NoiseLoss
from edgewright.optimize.spec import ModelSpec
from edgewright.runtime.backends.onnx import OnnxBackend
from edgewright.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.sources import FloatModel

Answer = dict[str, "NDArray[np.float32]"]
PRE = Preprocess(ResizeMode.STRETCH, SIDE, SIDE)
DETECTOR = ModelSpec(
    "spots", Task.DETECT, PRE, SsdDecode("codes", "logits", "anchors.npy"), ("spot",), {"anchors.npy": anchors()}
)
CLASSIFIER = ModelSpec("colours", Task.CLASSIFY, PRE, ClassifyDecode("scores"), ("red", "green", "blue"))


def feeds(count: int = 12) -> list[Answer]:
    preprocessor = Preprocessor(PRE, OnnxBackend(detector_onnx()).inputs[0])
    return [{"image": preprocessor(spot_frame(index))[0].copy()} for index in range(count)]


FEEDS = feeds()


def walk() -> Iterator[Answer]:
    return iter(FEEDS)


def shaken(model: bytes, amount: float, seed: int = 0) -> bytes:
    """The model with noise on its weights, relative to their size."""
    random = np.random.default_rng(seed)
    result = onnx.load_model_from_string(model)
    for tensor in result.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim > 1:
            noisy = values + random.normal(size=values.shape) * amount * np.abs(values).mean()
            tensor.CopyFrom(numpy_helper.from_array(noisy.astype(np.float32), tensor.name))
    return bytes(result.SerializeToString())


CASES = [
    pytest.param(detector_onnx(), DETECTOR, id="detector"),
    pytest.param(classifier_onnx(), CLASSIFIER, id="classifier"),
    pytest.param(detector_onnx(), None, id="unknown head"),
]


@pytest.mark.parametrize(("model", "spec"), CASES)
def test_the_same_model_loses_nothing_and_noise_loses_more_and_more(model: bytes, spec: ModelSpec | None) -> None:
    judge = FidelityJudge(spec, model, walk)
    assert (judge.losses(model) == 0).all()
    rising = [
        np.mean([judge.losses(shaken(model, amount, seed)).mean() for seed in range(4)]) for amount in (0.02, 0.1, 0.5)
    ]
    assert 0 < rising[0] < rising[1] < rising[2]


@pytest.mark.parametrize(("model", "spec"), CASES)
def test_each_picture_is_judged_for_itself(model: bytes, spec: ModelSpec | None) -> None:
    other = shaken(model, 0.1)
    order = np.random.default_rng(3).permutation(len(FEEDS))
    straight = FidelityJudge(spec, model, walk).losses(other)
    mixed = FidelityJudge(spec, model, lambda: (FEEDS[k] for k in order)).losses(other)
    assert mixed == pytest.approx(straight[order])


def held_by(judge: FidelityJudge) -> int:
    return sum(value.nbytes for answer in judge._reference for value in answer.values())


@pytest.mark.parametrize(("model", "spec"), CASES)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_outputs_that_were_not_kept_are_computed_again(model: bytes, spec: ModelSpec | None, share: float) -> None:
    other = shaken(model, 0.1)
    whole = FidelityJudge(spec, model, walk)
    keep_bytes = int(share * held_by(whole))
    bounded = FidelityJudge(spec, model, walk, keep_bytes=keep_bytes)
    assert len(bounded) == len(whole) == len(FEEDS)
    assert (bounded.losses(other) == whole.losses(other)).all()
    assert bounded.describe(other) == whole.describe(other)
    outputs = [OnnxBackend(other).run(feed) for feed in FEEDS]
    assert (bounded.losses_of(outputs) == whole.losses_of(outputs)).all()
    assert (held_by(bounded) > 0) is (share > 0)
    assert held_by(bounded) <= keep_bytes
    with pytest.raises(JudgeError, match="12 selection pictures"):
        bounded.losses(other, feeds=lambda: iter([*FEEDS, FEEDS[0]]))
    with pytest.raises(JudgeError, match="12 selection pictures"):
        bounded.losses(other, feeds=lambda: iter(FEEDS[:-1]))


def test_average_precision_with_floats_boxes_as_truth() -> None:
    model = detector_onnx()
    judge = FidelityJudge(DETECTOR, model, walk)
    assert judge.agreement_precision(model).value == pytest.approx(1.0)
    assert min(judge.agreement_precision(shaken(model, 2.0, seed)).value for seed in range(6)) < 0.99
    with pytest.raises(JudgeError, match="finds no boxes"):
        FidelityJudge(CLASSIFIER, classifier_onnx(), walk).agreement_precision(classifier_onnx())


def test_figures_of_a_detector() -> None:
    model = detector_onnx()
    judge = FidelityJudge(DETECTOR, model, walk)
    same = judge.describe(model)
    assert same.float_boxes == same.kept_boxes
    assert same.float_boxes is not None
    assert same.float_boxes >= 12
    assert (same.loss, same.extra_boxes, same.score_rmse) == (0, 0, 0)
    assert same.sqnr_db == {"codes": 200, "logits": 200}
    assert same.cosine == pytest.approx({"codes": 1, "logits": 1})
    assert same.same_top is None
    worse = judge.describe(shaken(model, 0.2))
    assert worse.loss == pytest.approx(judge.losses(shaken(model, 0.2)).mean())
    assert worse.sqnr_db["logits"] < 40
    assert worse.to_json()["pictures"] == 12
    assert "boxes kept" in worse.sentence


def test_figures_of_a_classifier() -> None:
    model = classifier_onnx()
    judge = FidelityJudge(CLASSIFIER, model, walk)
    assert judge.describe(model).same_top == 1
    assert judge.describe(model).float_boxes is None
    assert "same class in 100.0 %" in judge.describe(model).sentence


def test_narrow_logits_cost_a_classifier_more_than_their_noise_says() -> None:
    """Clipped logits can have the better signal-to-noise ratio and change the answers all the same."""
    random = np.random.default_rng(0)
    loss, noise = ClassLoss(ClassifyDecode("scores")), NoiseLoss()
    noisy, clipped = [], []
    for _ in range(20):
        logits = random.normal(0, 2, 1000)
        logits[:3] = (12, 11, 10.5)
        before = {"scores": logits.astype(np.float32)}
        candidates = logits + random.normal(0, 0.3, 1000), np.minimum(logits, 9.5)
        after = [{"scores": values.astype(np.float32)} for values in candidates]
        assert noise(before, after[1]) < noise(before, after[0])
        noisy.append(loss(before, after[0]))
        clipped.append(loss(before, after[1]))
    assert improves(np.array(clipped), np.array(noisy)).accepted


def test_engine_and_other_feeds_are_honoured() -> None:
    model = classifier_onnx()
    judge = FidelityJudge(CLASSIFIER, model, walk)
    with pytest.raises(JudgeError, match="engine option"):
        judge.losses(model, {"unheard_of": True})
    renamed = onnx.load_model_from_string(model)
    renamed.graph.input[0].name = renamed.graph.node[0].input[0] = "camera"
    given = [{"camera": feed["image"]} for feed in FEEDS]
    assert not judge.losses(renamed.SerializeToString(), feeds=lambda: iter(given)).any()
    for wrong in (given[:-1], [*given, given[0]]):
        with pytest.raises(JudgeError, match="12 selection pictures"):
            judge.losses(renamed.SerializeToString(), feeds=lambda wrong=wrong: iter(wrong))  # type: ignore[misc]


def test_a_candidate_of_nan_is_infinitely_bad() -> None:
    for model, spec in ((detector_onnx(), DETECTOR), (classifier_onnx(), CLASSIFIER)):
        judge = FidelityJudge(spec, model, walk)
        broken = shaken(model, np.nan)
        assert np.isinf(judge.losses(broken)).all()
        assert improves(judge.losses(broken), judge.losses(shaken(model, 0.1))).accepted
        assert not improves(judge.losses(shaken(model, 0.1)), judge.losses(broken)).accepted
        with pytest.raises(JudgeError, match="NaN or infinity in output"):
            FidelityJudge(spec, broken, walk)


def test_no_pictures_and_foreign_outputs() -> None:
    with pytest.raises(DataError, match="--select"):
        FidelityJudge(None, detector_onnx(), lambda: iter([]))
    with pytest.raises(JudgeError, match="no output"):
        FidelityJudge(CLASSIFIER, detector_onnx(), walk)
    with pytest.raises(JudgeError, match="no output 'codes'"):
        FidelityJudge(DETECTOR, detector_onnx(), walk).losses(classifier_onnx())


def random_answer(seed: int) -> Answer:
    random = np.random.default_rng(seed)
    return {
        "codes": random.normal(0, 1, (1, 16, 4)).astype(np.float32),
        "logits": random.normal(0, 3, (1, 16, 2)).astype(np.float32),
        "scores": random.normal(0, 2, (1, 7)).astype(np.float32),
    }


LOSSES: list[HeadLoss] = [
    BoxLoss(SsdDecode("codes", "logits", "anchors.npy"), anchors().astype(np.float64)),
    *(ClassLoss(ClassifyDecode("scores", activation)) for activation in ScoreActivation),
    NoiseLoss(),
]


@given(st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=40)
def test_losses_are_distances(first: int, second: int) -> None:
    a, b = random_answer(first), random_answer(second)
    for loss in LOSSES:
        assert loss(a, a) == pytest.approx(0, abs=1e-9)
        assert loss(a, b) >= 0
        assert np.isfinite(loss(a, b))


@given(st.integers(0, 1000), st.floats(0.5, 3))
@settings(max_examples=30)
def test_what_lies_in_the_background_costs_nothing(seed: int, shift: float) -> None:
    """Scores far below the threshold in both models, whatever their boxes."""
    a = random_answer(seed)
    a["logits"][..., 1] = -9
    b = {**a, "codes": a["codes"] + np.float32(shift), "logits": a["logits"] - np.float32(shift)}
    assert LOSSES[0](a, b) == 0


def test_a_lost_box_costs_about_one_however_many_anchors_fire() -> None:
    costs = []
    for count in (1, 3):
        head = BoxLoss(
            SsdDecode("codes", "logits", "a", background=None), np.tile(anchors()[:1], (count, 1)).astype(float)
        )
        seen, lost = (
            {"codes": np.zeros((count, 4), np.float32), "logits": np.full((count, 1), logit, np.float32)}
            for logit in (4.0, -4.0)
        )
        costs += [head(seen, lost), head(lost, seen)]
    assert costs == pytest.approx([costs[0]] * 4)
    assert costs[0] > 1


def test_a_moved_box_costs_by_its_overlap() -> None:
    head = BoxLoss(SsdDecode("codes", "logits", "a", background=None), anchors()[:1].astype(float))
    logits = np.full((1, 1), 6, np.float32)
    costs = [
        head(
            {"codes": np.zeros((1, 4), np.float32), "logits": logits},
            {"codes": np.array([[move, 0, 0, 0]], np.float32), "logits": logits},
        )
        for move in (0.0, 1.0, 3.0, 10.0)
    ]
    assert costs[0] == 0
    assert costs == sorted(costs)
    assert costs[-1] == pytest.approx(1, abs=0.01)


def test_the_real_detector_ranks_what_is_known_to_be_better(person: FloatModel, clip: str) -> None:
    """Ranges cut by a third lose most of the boxes."""
    ready = prepare_graph(person.model, person.feeds[:1]).model
    preprocessor = Preprocessor(person.spec.preprocess, person.inputs[0])

    def tensors(part: str) -> list[Answer]:
        return [{person.inputs[0].name: preprocessor(s.image)[0].copy()} for s in open_samples(f"{clip}{part}")]

    def int8(width: float) -> QuantizedGraph:
        ranges = collector.ranges(RangeMethod.MINMAX)
        return quantize_graph(ready, {name: (width * low, width * high) for name, (low, high) in ranges.items()})

    collector = RangeCollector(ready)
    for tensor in tensors("#1:400:80"):
        collector.observe(tensor)
    chosen = tensors("#5:640:80")
    judge = FidelityJudge(person.spec, ready, lambda: iter(chosen))
    good, bad = (judge.losses(found.model, found.engine) for found in (int8(1.0), int8(0.7)))
    assert improves(bad, good).accepted
    assert not improves(good, bad).accepted
    assert good.mean() < 0.2 * bad.mean()
