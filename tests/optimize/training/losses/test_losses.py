"""What networks are trained for: against hand calculations, the device's decoder, and the real detector's own boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from examples.person.model import factory, person_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from edgewright.bundle.manifest import (
    Box,
    ClassifyDecode,
    Preprocess,
    ResizeMode,
    ScoreActivation,
    SsdDecode,
    Task,
    TensorSpec,
)
from edgewright.optimize.errors import DataError, LabelsError, ModelError, SpecError
from edgewright.optimize.spec import ModelSpec
from edgewright.optimize.training.losses import MultiboxSettings, Supervised, boxes_metric, top1_metric
from edgewright.optimize.training.losses.anchors import Matcher, encode
from edgewright.optimize.training.losses.classification import class_loss
from edgewright.optimize.training.sets import Distort, PictureSet, TrainingData, open_training_set
from edgewright.optimize.training.types import Batch, Boxes
from edgewright.runtime.decode import SsdDecoder
from edgewright.runtime.preprocess import Placement

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.optimize.spec import SourceModel

SOFTMAX, SIGMOID, NONE = ScoreActivation.SOFTMAX, ScoreActivation.SIGMOID, ScoreActivation.NONE


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks on a busy machine: threads would mostly wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


ANCHORS = np.array(
    [[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.75, 0.75, 0.3, 0.2]], np.float32
)


def ssd_spec(activation: ScoreActivation = SIGMOID, background: int | None = 0, order: Box = Box.XYWH) -> ModelSpec:
    decode = SsdDecode("codes", "scores", "anchors.npy", order, activation=activation, background=background)
    preprocess = Preprocess(ResizeMode.STRETCH, 32, 32)
    return ModelSpec("toy", Task.DETECT, preprocess, decode, ("a", "b"), {"anchors.npy": ANCHORS}, (1, 3, 32, 32))


def class_spec(activation: ScoreActivation = SOFTMAX) -> ModelSpec:
    preprocess = Preprocess(ResizeMode.STRETCH, 32, 32)
    return ModelSpec(
        "toy", Task.CLASSIFY, preprocess, ClassifyDecode("s", activation), tuple("abcd"), {}, (1, 3, 32, 32)
    )


def boxes(*corners: tuple[float, ...], classes: tuple[int, ...] = (), weights: tuple[float, ...] = ()) -> Boxes:
    count = len(corners)
    return Boxes(
        np.array(corners, np.float32).reshape(-1, 4),
        np.array(classes or (0,) * count, np.int64),
        np.array(weights or (1.0,) * count, np.float32),
    )


def batch(count: int, *, classes: list[int] | None = None, labelled: list[Boxes | None] | None = None) -> Batch:
    rows = np.arange(count)
    known = None if classes is None else torch.tensor(classes)
    return Batch(torch.zeros(count, 3, 32, 32), rows, np.zeros_like(rows), known, labelled)


class Says(torch.nn.Module):
    """A network that answers what it was told, and learns it."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        super().__init__()
        self.said = torch.nn.ParameterList(tensor.clone() for tensor in tensors)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        return self.said[0] if len(self.said) == 1 else tuple(self.said)


class TestClasses:
    scores = torch.tensor([[2.0, 0.0, -1.0, 0.5], [0.3, 0.2, 0.1, 0.0], [0.0, 4.0, 0.0, 0.0]])

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_is_pytorchs_cross_entropy_without_the_unlabelled(self, smoothing: float) -> None:
        loss = Supervised(class_spec(), ("s",), smoothing=smoothing)(Says(self.scores), batch(3, classes=[1, -1, 1]))
        wanted = functional.cross_entropy(self.scores[[0, 2]], torch.tensor([1, 1]), label_smoothing=smoothing)
        assert loss.total.item() == pytest.approx(wanted.item(), rel=1e-6)
        assert loss.parts == {"classes": loss.total.item()}

    def test_a_network_that_ends_in_softmax_has_the_same_loss(self) -> None:
        classes = torch.tensor([0, 1, 1])
        ours, theirs = (class_loss(*given, 0.1) for given in (
            (self.scores, classes, SOFTMAX), (self.scores.softmax(-1), classes, NONE)))  # fmt: skip
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)

    def test_each_class_by_itself(self) -> None:
        loss = class_loss(self.scores, torch.tensor([0, -1, 1]), SIGMOID, 0.0)
        wanted = functional.binary_cross_entropy_with_logits(
            self.scores[[0, 2]], torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]]), reduction="sum"
        )
        assert loss.item() == pytest.approx(wanted.item() / 2, rel=1e-6)

    @pytest.mark.parametrize("classes", [None, [-1, -1, -1]])
    def test_without_labels_nothing_is_learned_and_nothing_breaks(self, classes: list[int] | None) -> None:
        module = Says(self.scores * float("inf"))
        loss = Supervised(class_spec(), ("s",))(module, batch(3, classes=classes))
        loss.total.backward()
        assert loss.total.item() == 0
        assert not module.said[0].grad.any()

    def test_a_class_without_a_score_is_named(self) -> None:
        with pytest.raises(LabelsError, match="of class 4, the network answers 4 scores"):
            Supervised(class_spec(), ("s",))(Says(self.scores), batch(3, classes=[0, 4, 1]))


@settings(max_examples=60, deadline=None)
@given(
    order=st.sampled_from(list(Box)),
    numbers=st.lists(st.floats(0.0, 0.99), min_size=4, max_size=4),
    variances=st.tuples(st.sampled_from([0.1, 1.0]), st.sampled_from([0.2, 1.0])),
)
def test_codes_are_what_the_device_decodes(order: Box, numbers: list[float], variances: tuple[float, float]) -> None:
    low = np.array(numbers[:2])
    corners = np.concatenate([low, low + 0.005 + (1 - low - 0.005) * numbers[2:]])[None].astype(np.float32)
    spec = ssd_spec(order=order)
    assert isinstance(spec.decode, SsdDecode)
    decode = replace(spec.decode, variance_xy=variances[0], variance_wh=variances[1])
    tensors = {name: TensorSpec(name, (1, 4, n), "float32") for name, n in (("codes", 4), ("scores", 3))}
    decoder = SsdDecoder(decode, spec.preprocess, spec.arrays, tensors)
    for row in range(4):
        codes = np.zeros((4, 4), np.float32)
        codes[row] = encode(corners, ANCHORS[row : row + 1], decode)[0]
        scores = np.full((4, 3), -9, np.float32)
        scores[row, 2] = 9
        seen = decoder({"codes": codes, "scores": scores}, Placement(1, 1, 0, 0, 32, 32))
        assert seen.class_ids.tolist() == [1]
        np.testing.assert_allclose(seen.boxes[0] / 32, corners[0], atol=2e-5)


class TestMatching:
    def match(self, labelled: Boxes, least: float = 0.5) -> tuple[dict[int, int], list[int]]:
        decode = ssd_spec().decode
        assert isinstance(decode, SsdDecode)
        made = Matcher(decode, ANCHORS, least)(labelled)
        return dict(zip(made.objects.tolist(), made.classes.tolist(), strict=True)), made.ignored.tolist()

    def test_an_object_gets_its_best_anchor_however_poor(self) -> None:
        assert self.match(boxes((0.6, 0.6, 0.7, 0.7))) == ({3: 0}, [])

    def test_every_anchor_that_fits_answers(self) -> None:
        assert self.match(boxes((0.1, 0.0, 0.9, 0.5)), 0.4) == ({0: 0, 1: 0}, [])

    def test_two_objects_never_share_their_best_anchor(self) -> None:
        owners, _ = self.match(boxes((0, 0, 0.5, 0.5), (0, 0, 0.45, 0.55), classes=(0, 1)))
        assert owners == {0: 0, 2: 1}

    def test_anchors_of_ignored_objects_count_neither_way(self) -> None:
        labelled = boxes((0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5), classes=(0, 1), weights=(1.0, 0.0))
        assert self.match(labelled) == ({0: 0}, [1])

    def test_an_ignored_object_takes_no_anchor_from_one_that_counts(self) -> None:
        labelled = boxes((0, 0, 0.5, 0.5), (0, 0, 0.4, 0.45), classes=(0, 1), weights=(0.0, 1.0))
        assert self.match(labelled)[0] == {0: 1}

    def test_nothing_is_learned_of_anchors_inside_a_crowd(self) -> None:
        labelled = boxes((0.5, 0.0, 1.0, 1.0), weights=(0.0,))
        assert self.match(labelled) == ({}, [1, 3])

    def test_a_picture_may_be_empty(self) -> None:
        assert self.match(boxes()) == ({}, [])


class TestMultibox:
    labelled = boxes((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1), classes=(0, 1))

    def outputs(self, columns: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
        random = torch.Generator().manual_seed(3)
        return torch.randn(2, 4, 4, generator=random), torch.randn(2, 4, columns, generator=random)

    def test_is_the_sum_done_by_hand(self) -> None:
        codes, scores = self.outputs()
        module = Says(codes, scores)
        one = MultiboxSettings(negatives=0.5, least_negatives=0)
        loss = Supervised(ssd_spec(), ("codes", "scores"), multibox=one)(
            module, batch(2, labelled=[self.labelled, None])
        )
        wanted = torch.tensor([[1.0, 0], [0, 0], [0, 0], [0, 1]])
        each = functional.binary_cross_entropy_with_logits(scores[0, :, 1:], wanted, reduction="none").sum(-1)
        classes = each[[0, 3]].sum() + each[[1, 2]].max()
        decode = ssd_spec().decode
        assert isinstance(decode, SsdDecode)
        targets = torch.from_numpy(encode(self.labelled.corners, ANCHORS[[0, 3]], decode))
        places = functional.smooth_l1_loss(codes[0, [0, 3]], targets, reduction="sum")
        assert loss.parts["classes"] == pytest.approx(classes.item() / 2, rel=1e-5)
        assert loss.parts["boxes"] == pytest.approx(places.item() / 2, rel=1e-5)
        assert loss.total.item() == pytest.approx(sum(loss.parts.values()), rel=1e-6)
        loss.total.backward()
        assert not module.said[0].grad[1].any()
        assert not module.said[1].grad[1].any()
        assert module.said[1].grad[0, 0].any()

    @pytest.mark.parametrize("focal", [False, True])
    @pytest.mark.parametrize(
        ("activation", "background"), [(SIGMOID, 0), (SIGMOID, None), (SOFTMAX, 0), (SOFTMAX, 2), (NONE, 0)]
    )
    def test_following_it_the_device_sees_the_labels(
        self, activation: ScoreActivation, background: int | None, focal: bool
    ) -> None:
        spec = ssd_spec(activation, background)
        codes, scores = self.outputs(2 if background is None else 3)
        if activation is NONE:
            scores = scores.sigmoid()
        module = Says(codes, scores)
        objective = Supervised(spec, ("codes", "scores"), multibox=MultiboxSettings(focal=focal))
        optimizer = torch.optim.Adam(module.parameters(), 0.2)
        for _ in range(120):
            optimizer.zero_grad()
            objective(module, batch(2, labelled=[self.labelled, boxes()])).total.backward()
            optimizer.step()
        tensors = {
            name: TensorSpec(name, (1, *t.shape[1:]), "float32") for name, t in (("codes", codes), ("scores", scores))
        }
        assert isinstance(spec.decode, SsdDecode)
        decoder = SsdDecoder(spec.decode, spec.preprocess, spec.arrays, tensors)
        for row, wanted in enumerate((self.labelled, boxes())):
            said = {"codes": module.said[0][row].detach().numpy(), "scores": module.said[1][row].detach().numpy()}
            seen = decoder(said, Placement(1, 1, 0, 0, 32, 32))
            order = np.argsort(seen.class_ids)
            assert seen.class_ids[order].tolist() == wanted.classes.tolist()
            np.testing.assert_allclose(seen.boxes[order] / 32, wanted.corners, atol=0.02)

    def test_an_object_with_half_the_weight_counts_half(self) -> None:
        codes, scores = self.outputs()
        only = MultiboxSettings(negatives=0.0, least_negatives=0)
        objective = Supervised(ssd_spec(), ("codes", "scores"), multibox=only)
        rows = [(1.0, 1.0), (1.0, 0.0), (0.5, 1.0)]
        sums = []
        for weights in rows:
            labelled = boxes(*self.labelled.corners.tolist(), classes=(0, 1), weights=weights)
            made = objective(Says(codes[:1], scores[:1]), batch(1, labelled=[labelled]))
            sums.append(made.total.item() * max(1.0, sum(weights)))
        both, first, half = sums
        assert half == pytest.approx(both - first / 2, rel=1e-5)

    @pytest.mark.parametrize("labelled", [None, [None, None]])
    def test_without_labels_nothing_is_learned(self, labelled: list[Boxes | None] | None) -> None:
        module = Says(*self.outputs())
        loss = Supervised(ssd_spec(), ("codes", "scores"))(module, batch(2, labelled=labelled))
        loss.total.backward()
        assert loss.total.item() == 0
        assert all(not said.grad.any() for said in module.said)

    def test_a_class_without_a_score_is_named(self) -> None:
        labelled = boxes((0, 0, 1, 1), classes=(2,))
        with pytest.raises(LabelsError, match="of class 2, the detector has scores for 2 classes"):
            Supervised(ssd_spec(), ("codes", "scores"))(Says(*self.outputs()), batch(2, labelled=[labelled, None]))

    def test_heads_that_cannot_learn_are_refused(self) -> None:
        with pytest.raises(SpecError, match="without a background column"):
            Supervised(ssd_spec(SOFTMAX, None), ("codes", "scores"))
        with pytest.raises(SpecError, match="no output 'scores'; it has codes, logits"):
            Supervised(ssd_spec(), ("codes", "logits"))
        spec = ssd_spec()
        object.__setattr__(spec, "decode", object())
        with pytest.raises(SpecError, match="no loss for a object head"):
            Supervised(spec, ("codes", "scores"))
        with pytest.raises(ModelError, match="answers 1 tensors, its outputs are codes, scores"):
            Supervised(ssd_spec(), ("codes", "scores"))(Says(torch.zeros(1, 4, 4)), batch(1))


@pytest.fixture(scope="module")
def detector(samples: Path) -> SourceModel:
    return factory(samples / "frozen_inference_graph.pb")


@pytest.fixture(scope="module")
def street(clip: str, person_labels: Path) -> PictureSet:
    made = open_training_set(TrainingData(f"{clip}#33:60:26", person_labels, Distort()), person_spec())
    assert isinstance(made, PictureSet)
    return made


def test_the_real_detector_is_much_nearer_to_its_own_boxes_than_to_shifted_ones(
    detector: SourceModel, street: PictureSet
) -> None:
    """What it decodes to is what the loss asks for: labels made of its own answers cost little, moved ones much."""
    from edgewright.optimize.distillation import TorchSession
    from edgewright.optimize.training.losses.metrics import detections
    from edgewright.optimize.training.losses.outputs import Reading

    names = detector.output_names
    rows = np.arange(2)
    own = detections(detector.module, street.undistorted(), rows, Reading(detector.spec, names), 2)
    given_ = street.undistorted().batch(rows, np.random.default_rng(0))
    objective = Supervised(detector.spec, names)

    def cost(shift: float) -> dict[str, float]:
        labelled: list[Boxes | None] = []
        for seen in own:
            kept = seen.select(seen.scores >= 0.5)
            corners = kept.boxes / 300 + np.float32(shift)
            labelled.append(Boxes(corners, kept.class_ids, np.ones(len(kept), np.float32)))
        with torch.no_grad():
            return dict(objective(detector.module, replace(given_, boxes=labelled)).parts)

    right, wrong = cost(0.0), cost(0.06)
    assert right["boxes"] < wrong["boxes"] / 4
    assert right["classes"] < wrong["classes"] / 2
    assert TorchSession(detector).score_threshold == 0.5


def test_the_boxes_metric_is_the_devices_average_precision(detector: SourceModel, street: PictureSet) -> None:
    measure = boxes_metric(street, detector.spec, detector.output_names)
    good = measure(detector.module)
    assert 0.3 < good < 0.95
    assert measure(Says(torch.zeros(4, 1917, 4), torch.full((4, 1917, 2), -9.0))) == 0.0
    same = boxes_metric(street, detector.spec, detector.output_names, reference=detector.module)
    assert same(detector.module) == pytest.approx(1.0)
    assert not detector.module.training


def test_metrics_without_anything_to_compare_with_are_refused(clip: str, detector: SourceModel) -> None:
    unlabelled = open_training_set(TrainingData(f"{clip}#1:2"), detector.spec)
    assert isinstance(unlabelled, PictureSet)
    with pytest.raises(DataError, match="no picture has a box"):
        boxes_metric(unlabelled, detector.spec, detector.output_names)
    with pytest.raises(SpecError, match="no detector"):
        boxes_metric(unlabelled, class_spec(), ("s",))
    with pytest.raises(DataError, match="no picture has a class"):
        top1_metric(unlabelled, class_spec(), ("s",))
