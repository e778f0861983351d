"""Learning from a teacher: nothing to learn from oneself, answers that are remembered and the same, parts that add up."""

from __future__ import annotations

import copy
import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from examples.fashion.data import CLASSES, load_split
from examples.fashion.model import DepthwiseNet
from examples.person.model import factory
from torch import nn
from torch.nn import functional

from edgewright.bundle.manifest import ColorOrder, ResizeMode, ScoreActivation, TensorSpec
from edgewright.optimize.distillation import DistilSettings, Teacher, distilled
from edgewright.optimize.distillation.features import FeaturePair, automatic_pairs
from edgewright.optimize.distillation.logits import logit_loss
from edgewright.optimize.distillation.taps import tapped
from edgewright.optimize.errors import SpecError
from edgewright.optimize.spec import ClassifierOptions, SourceModel, classifier_spec
from edgewright.optimize.training.losses import top1_metric
from edgewright.optimize.training.sets import Distort, PictureSet, TrainingData, open_training_set
from edgewright.optimize.training.settings import TrainSettings
from edgewright.optimize.training.trainer import Trainer
from edgewright.optimize.training.types import Batch, Boxes
from edgewright.runtime.preprocess import Preprocessor

SOFTMAX = ScoreActivation.SOFTMAX
PLAIN = {"resize": ResizeMode.STRETCH, "mean": (0.0,) * 3, "std": (1.0,) * 3, "labels": CLASSES}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks on a busy machine: threads would mostly wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def source(module: nn.Module, **changes: Any) -> SourceModel:
    options = ClassifierOptions(**{**PLAIN, **changes})
    spec = classifier_spec(options, name="fashion", input_shape=(1, 3, 28, 28), scores="logits")
    return SourceModel(module.eval(), spec, ("logits",))


def seeded(make: Any, seed: int) -> Any:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make()


def small(width: int = 4) -> nn.Module:
    """A stem, a stage and a head."""
    layers = OrderedDict(
        stem=nn.Conv2d(3, width, 3, 2, 1),
        norm=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
        down=nn.Conv2d(width, 2 * width, 3, 2, 1),
        act=nn.ReLU(),
        flat=nn.Flatten(),
        head=nn.Linear(2 * width * 49, 10),
    )
    return nn.Sequential(layers)


@pytest.fixture(scope="module")
def fashion(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> PictureSet:
    split = load_split(samples / "fashion", "t10k")
    path = tmp_path_factory.mktemp("fashion") / "some.npz"
    np.savez(path, images=split.images[:320], labels=split.labels[:320])
    made = open_training_set(TrainingData(str(path), distort=Distort()), source(small()).spec)
    assert isinstance(made, PictureSet)
    return made


def first(pictures: PictureSet, count: int = 32, seed: int = 0) -> Batch:
    return pictures.batch(np.arange(count), np.random.default_rng(seed))


class TestTeacher:
    def test_is_frozen_and_apart_from_what_it_was_made_of(self, fashion: PictureSet) -> None:
        student = seeded(DepthwiseNet, 1)
        teacher = Teacher(source(student))
        before = teacher(first(fashion)).outputs[0]
        with torch.no_grad():
            for weight in student.parameters():
                weight.mul_(2.0)
        student.train()
        assert not teacher.module.training
        assert not any(weight.requires_grad for weight in teacher.module.parameters())
        assert torch.equal(Teacher(source(seeded(DepthwiseNet, 1)))(first(fashion)).outputs[0], before)
        assert torch.equal(teacher(first(fashion)).outputs[0], before)

    def test_is_asked_once_about_each_view(self, fashion: PictureSet) -> None:
        teacher = Teacher(source(seeded(DepthwiseNet, 1)))
        for seed in range(12):
            teacher(first(fashion, 16, seed))
        assert teacher.remembered == 32  # sixteen pictures, each as it is and mirrored
        before = teacher.asked
        teacher(first(fashion, 16, 99))
        assert teacher.asked == before

    @pytest.mark.parametrize("features", [(), ("features.4",)])
    def test_what_it_says_does_not_depend_on_what_it_remembers(
        self, fashion: PictureSet, features: tuple[str, ...]
    ) -> None:
        """To the last bit, or a run that goes on after a kill would end elsewhere than one that was not killed."""
        knowing, fresh = (Teacher(source(seeded(DepthwiseNet, 1)), features=features) for _ in range(2))
        for seed in range(3):
            knowing(fashion.batch(np.random.default_rng(seed).permutation(320)[:50], np.random.default_rng(seed)))
        rows = np.random.default_rng(9).permutation(320)[:41]
        batch = fashion.batch(rows, np.random.default_rng(9))
        ours, theirs = knowing(batch), fresh(batch)
        for one, other in zip((*ours.outputs, *ours.features), (*theirs.outputs, *theirs.features), strict=True):
            assert one.numpy().tobytes() == other.numpy().tobytes()
        direct = knowing.module(batch.inputs)
        torch.testing.assert_close(ours.outputs[0], direct, rtol=1e-5, atol=1e-6)

    def test_remembers_no_more_than_it_may(self, fashion: PictureSet) -> None:
        teacher = Teacher(source(seeded(DepthwiseNet, 1)), memory_bytes=20 * 10 * 4)
        batch = first(fashion, 64)
        said = teacher(batch).outputs[0]
        assert teacher.remembered == 20
        torch.testing.assert_close(teacher(batch).outputs[0], said, rtol=0, atol=0)
        assert teacher.asked <= 128 + 64

    def test_does_not_remember_what_will_not_come_again(self, fashion: PictureSet) -> None:
        teacher = Teacher(source(seeded(DepthwiseNet, 1)))
        batch = first(fashion)
        teacher(replace(batch, views=np.full_like(batch.views, -1)))
        assert teacher.remembered == 0

    @pytest.mark.parametrize("swap", [False, True])
    def test_a_teacher_with_other_normalisation_sees_the_same_picture(self, fashion: PictureSet, swap: bool) -> None:
        color = ColorOrder.BGR if swap else ColorOrder.RGB
        other = source(seeded(DepthwiseNet, 1), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), color=color)
        teacher = Teacher(other)
        teacher.fit(source(small()).spec)
        image = np.random.default_rng(0).integers(0, 256, (28, 28, 3)).astype(np.uint8)
        tensors = [
            Preprocessor(spec.preprocess, TensorSpec("x", (1, 3, 28, 28), "float32", spec.layout))(image)[0].copy()
            for spec in (source(small()).spec, other.spec)
        ]
        row = np.zeros(1, np.int64)
        said = teacher(Batch(torch.from_numpy(tensors[0]), row, row)).outputs[0]
        torch.testing.assert_close(said, other.module(torch.from_numpy(tensors[1])).detach(), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"resize": ResizeMode.LETTERBOX}, "do not see the same picture"),
            ({"labels": CLASSES[::-1]}, "other labels, or in another order"),
        ],
    )
    def test_one_that_does_not_fit_is_refused(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(SpecError, match=message):
            distilled(source(small()), Teacher(source(small(), **changes)), DistilSettings())


class TestLogits:
    def test_is_hintons_loss(self) -> None:
        ours, theirs = torch.randn(5, 10), torch.randn(5, 10)
        for temperature in (1.0, 4.0):
            wanted = functional.kl_div(
                (ours / temperature).log_softmax(-1), (theirs / temperature).softmax(-1), reduction="batchmean"
            )
            loss = logit_loss(ours, theirs, temperature, (SOFTMAX, SOFTMAX))
            assert loss.item() == pytest.approx(wanted.item() * temperature**2, rel=1e-4)

    def test_a_teacher_that_ends_in_softmax_teaches_the_same(self) -> None:
        ours, theirs = torch.randn(5, 10), torch.randn(5, 10)
        pairs = [(theirs, SOFTMAX), (theirs.softmax(-1), ScoreActivation.NONE)]
        losses = [logit_loss(ours, scores, 3.0, (SOFTMAX, kind)).item() for scores, kind in pairs]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)

    def test_other_numbers_of_classes_are_refused(self) -> None:
        with pytest.raises(SpecError, match="answers 10 classes, the teacher 9"):
            logit_loss(torch.zeros(1, 10), torch.zeros(1, 9), 1.0, (SOFTMAX, SOFTMAX))


class TestClassifier:
    def test_from_oneself_there_is_nothing_to_learn(self, fashion: PictureSet) -> None:
        net = source(seeded(DepthwiseNet, 1))
        objective = distilled(net, Teacher(net), DistilSettings(labels=0.0, features=1.0))
        loss = objective(net.module, first(fashion))
        assert loss.total.item() == pytest.approx(0.0, abs=1e-6)
        other = seeded(DepthwiseNet, 2).eval()
        parts = objective(other, first(fashion)).parts
        assert set(parts) == {"logits", "features"}
        assert min(parts.values()) > 1e-3

    def test_parts_are_weighted_and_add_up(self, fashion: PictureSet) -> None:
        student, teacher = source(seeded(small, 2)), Teacher(source(seeded(DepthwiseNet, 1)))
        one, two = (
            distilled(student, teacher, DistilSettings(labels=weight, logits=2 * weight, features=3 * weight))(
                student.module, first(fashion)
            )
            for weight in (1.0, 0.5)
        )
        assert list(one.parts) == ["labels", "logits", "features"]
        assert one.total.item() == pytest.approx(sum(one.parts.values()), rel=1e-6)
        assert {name: part / 2 for name, part in one.parts.items()} == pytest.approx(dict(two.parts), rel=1e-5)

    def test_gradients_reach_the_student_and_the_adapters_and_nothing_else(self, fashion: PictureSet) -> None:
        student, strong = source(seeded(small, 2)), source(seeded(DepthwiseNet, 1))
        teacher = Teacher(strong)
        objective = distilled(student, teacher, DistilSettings(labels=0.0, logits=0.0, features=1.0))
        assert objective.adapters is not None
        student.module.train()
        objective(student.module, first(fashion)).total.backward()
        assert student.module.stem.weight.grad.any()
        assert student.module.head.weight.grad is None  # features end before it
        assert all(weight.grad is not None for weight in objective.adapters.parameters())
        assert all(weight.grad is None for weight in strong.module.parameters())
        assert not student.module._forward_hooks
        assert all(not part._forward_hooks for part in student.module.modules())

    def test_a_copy_of_the_student_can_be_taught_by_the_same_objective(self, fashion: PictureSet) -> None:
        student = source(seeded(small, 2))
        objective = distilled(student, Teacher(source(seeded(DepthwiseNet, 1))), DistilSettings(features=1.0))
        twin = copy.deepcopy(student.module)
        batch = first(fashion)
        assert objective(twin, batch).total.item() == objective(student.module, batch).total.item()

    def test_stages_are_paired_by_size(self, fashion: PictureSet) -> None:
        student, teacher = seeded(small, 2), seeded(DepthwiseNet, 1)
        pairs = automatic_pairs(student, teacher, torch.zeros(1, 3, 28, 28))
        assert pairs == (FeaturePair("relu", "features.9"), FeaturePair("act", "features.25"))
        with tapped(student, ["relu", "act"]) as ours, tapped(teacher, ["features.9", "features.25"]) as theirs:
            student(torch.zeros(1, 3, 28, 28))
            teacher(torch.zeros(1, 3, 28, 28))
        assert [tuple(t.shape[2:]) for t in ours.values()] == [tuple(t.shape[2:]) for t in theirs.values()]

    def test_adapters_follow_the_seed(self) -> None:
        made = [
            distilled(source(seeded(small, 2)), Teacher(source(seeded(DepthwiseNet, 1))),
                      DistilSettings(features=1.0, seed=seed)).adapters.state_dict()
            for seed in (3, 3, 4)
        ]  # fmt: skip
        same = [all(torch.equal(made[0][key], other[key]) for key in made[0]) for other in made]
        assert same == [True, True, False]

    @pytest.mark.parametrize(
        ("pair", "message"),
        [
            (FeaturePair("nowhere", "features.1"), "no module 'nowhere' .* there are stem, norm"),
            (FeaturePair("relu", "features.77"), "no module 'features.77'.* features.0, features.1"),
            (FeaturePair("act", "features.1"), r"'act' are \[8, 7, 7\] and .* 'features.1' \[16, 14, 14\]"),
            (FeaturePair("head", "classifier"), "pair maps"),
        ],
    )
    def test_pairs_that_do_not_fit_are_named(self, pair: FeaturePair, message: str) -> None:
        teacher = Teacher(source(seeded(DepthwiseNet, 1)))
        with pytest.raises(SpecError, match=message):
            distilled(source(small()), teacher, DistilSettings(features=1.0, pairs=(pair,)))

    def test_learning_nothing_at_all_is_refused(self) -> None:
        teacher = Teacher(source(small()))
        with pytest.raises(SpecError, match="would learn nothing"):
            distilled(source(small()), teacher, DistilSettings(labels=0, logits=0, features=0))

    @pytest.mark.parametrize("changes", [{"labels": -1.0}, {"temperature": 0.0}, {"features": float("nan")}])
    def test_settings_that_make_no_sense_are_refused(self, changes: dict[str, float]) -> None:
        with pytest.raises(SpecError, match=next(iter(changes))):
            DistilSettings(**changes)

    def test_labels_alone_do_not_trouble_the_teacher(self, fashion: PictureSet) -> None:
        student, teacher = source(seeded(small, 2)), Teacher(source(seeded(DepthwiseNet, 1)))
        loss = distilled(student, teacher, DistilSettings(logits=0.0))(student.module, first(fashion))
        assert list(loss.parts) == ["labels"]
        assert teacher.asked == 0

    def test_the_description_names_the_teachers_weights(self) -> None:
        student = source(seeded(small, 2))
        said = [
            distilled(student, Teacher(source(seeded(DepthwiseNet, seed))), DistilSettings()).describe()
            for seed in (1, 1, 2)
        ]
        assert said[0] == said[1]
        assert json.loads(json.dumps(said[0])) == said[0]
        assert said[0] != said[2]

    def test_training_ends_the_same_whatever_the_teacher_remembers(self, fashion: PictureSet) -> None:
        """As it does after a kill, when the teacher has forgotten everything."""
        ends = []
        for answers_kept in (1000, 1, 77):
            student = source(seeded(small, 2))
            teacher = Teacher(source(seeded(DepthwiseNet, 1)), memory_bytes=answers_kept * 40)
            settings = TrainSettings(epochs=2, batch=40, threads=1, evaluations=0)
            Trainer(settings).fit(
                student.module, fashion, distilled(student, teacher, DistilSettings()), title="distil"
            )
            assert teacher.remembered <= answers_kept
            ends.append(b"".join(value.numpy().tobytes() for value in student.module.state_dict().values()))
        assert ends[0] == ends[1] == ends[2]

    def test_without_any_label_a_student_learns_its_teachers_classes(self, fashion: PictureSet) -> None:
        """On real pictures: a teacher fitted to labels, a student that sees only the teacher."""
        strong = fitted(source(seeded(lambda: small(8), 1)), fashion, None)
        measure = top1_metric(fashion, strong.spec, strong.output_names)
        student = source(seeded(small, 2))
        before = measure(student.module)
        objective = distilled(student, Teacher(strong), DistilSettings(labels=0.0))
        fitted(student, fashion, objective)
        assert measure(strong.module) > 0.7
        assert measure(student.module) > before + 0.3


def fitted(net: SourceModel, pictures: PictureSet, objective: Any) -> SourceModel:
    from edgewright.optimize.training.losses import Supervised

    objective = objective or Supervised(net.spec, net.output_names)
    optimizer = torch.optim.Adam(net.module.parameters(), 0.01)
    net.module.train()
    for step in range(40):
        rng = np.random.default_rng(step)
        optimizer.zero_grad()
        objective(net.module, pictures.batch(rng.permutation(320)[:48], rng)).total.backward()
        optimizer.step()
    net.module.eval()
    return net


@pytest.fixture(scope="module")
def detector(samples: Path) -> SourceModel:
    return factory(samples / "frozen_inference_graph.pb")


@pytest.fixture(scope="module")
def frames(clip: str, detector: SourceModel) -> Batch:
    made = open_training_set(TrainingData(f"{clip}#301", distort=Distort.none()), detector.spec)
    return made.batch(np.arange(1), np.random.default_rng(0))


class TestDetector:
    def test_from_itself_it_has_nothing_to_learn_and_from_a_worse_copy_much(
        self, detector: SourceModel, frames: Batch
    ) -> None:
        teacher = Teacher(detector)
        settings = DistilSettings(labels=0.0, features=1.0)
        objective = distilled(detector, teacher, settings)
        same = objective(detector.module, frames)
        assert same.total.item() == pytest.approx(0.0, abs=1e-4)
        assert set(same.parts) == {"class map", "box map", "features"}
        worse = copy.deepcopy(detector.module)
        with torch.no_grad():
            worse.boxes[0].predict.weight.mul_(0.5)
            worse.classes[0].predict.weight.mul_(0.5)
            worse.blocks[3].project.conv.weight.mul_(0.9)
        loss = objective(worse, frames)
        assert all(part > 100 * abs(same.parts[name]) for name, part in loss.parts.items())
        assert min(loss.parts.values()) > 1e-3
        loss.total.backward()
        assert worse.boxes[0].predict.weight.grad.any()
        assert worse.stem.conv.weight.grad.any()

    def test_objects_weigh_more_than_the_background(self, detector: SourceModel, frames: Batch) -> None:
        """The same error costs far more where the teacher sees somebody than where it sees nothing."""
        teacher = Teacher(detector)
        objective = distilled(detector, teacher, DistilSettings(labels=0.0))
        codes, scores = teacher(frames).outputs
        surest = scores[0, :, 1].argmax()
        least = scores[0, :, 1].argmin()

        def cost(anchor: torch.Tensor) -> dict[str, float]:
            changed = codes.clone()
            changed[0, anchor] += 3.0
            flipped = scores.clone()
            flipped[0, anchor, 1] -= 2.0
            answer = (changed, flipped)
            return dict(objective(_Says(answer), frames).parts)

        on, off = cost(surest), cost(least)
        assert on["box map"] > 100 * off["box map"]
        assert on["class map"] > 100 * off["class map"]

    def test_labels_count_along(self, detector: SourceModel, frames: Batch) -> None:
        one = Boxes(np.array([[0.4, 0.4, 0.5, 0.7]], np.float32), np.zeros(1, np.int64), np.ones(1, np.float32))
        objective = distilled(detector, Teacher(detector), DistilSettings())
        with torch.no_grad():
            parts = objective(detector.module, replace(frames, boxes=[one])).parts
        assert parts["labels"] > 0.1

    def test_other_anchors_are_refused(self, detector: SourceModel) -> None:
        arrays = {"arrays/anchors.npy": detector.spec.arrays["arrays/anchors.npy"][::-1].copy()}
        other = replace(detector, spec=replace(detector.spec, arrays=arrays))
        with pytest.raises(SpecError, match="other anchors .* pseudo-labels instead"):
            distilled(detector, Teacher(other), DistilSettings())


class _Says(nn.Module):
    def __init__(self, answer: tuple[torch.Tensor, ...]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.answer


def test_of_a_detector_the_stages_of_its_backbone_are_paired(detector: SourceModel) -> None:
    """Not the tails for the largest objects, not its heads, and nothing that only pads."""
    pairs = automatic_pairs(detector.module, detector.module, torch.zeros(1, 3, 300, 300))
    stages = [pair.student.partition(".")[0] for pair in pairs]
    assert stages[:3] == ["blocks", "blocks", "blocks"]
    assert len(pairs) == 4
    assert all(pair.student == pair.teacher for pair in pairs)
    assert not any(part in pair.student for pair in pairs for part in ("pad", "predict"))
