"""What steps learn from: pictures held out, teachers, students that must fit, and trainings that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from examples.fashion.residual import student
from hypothesis import given
from hypothesis import strategies as st

from edgewright.bundle.manifest import Format
from edgewright.optimize.compression.learning import Learning, hold_out
from edgewright.optimize.compression.run import compress
from edgewright.optimize.compression.steps import (
    Compression,
    DistilStep,
    ModelReference,
    Terms,
)
from edgewright.optimize.contract import Contract
from edgewright.optimize.errors import ConversionError, DataError, SpecError
from edgewright.optimize.progress import SilentProgress
from edgewright.optimize.sources.float_model import FloatModel
from edgewright.optimize.training.sets import TrainingData, open_training_set
from edgewright.optimize.training.settings import TrainSettings
from edgewright.optimize.training.trainer import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.optimize.spec import SourceModel
    from edgewright.optimize.training.sets import PictureSet


@pytest.fixture(scope="module")
def network() -> SourceModel:
    return student()


@pytest.fixture(scope="module")
def training(pictures: Path, network: SourceModel) -> PictureSet:
    return open_training_set(TrainingData(str(pictures / "train.npz")), network.spec)


@given(count=st.integers(16, 400), seed=st.integers(0, 3))
def test_every_picture_is_trained_on_or_held_out(training: PictureSet, count: int, seed: int) -> None:
    some = training.part(np.arange(count))
    rest, held = hold_out(some, seed)
    assert len(rest) + len(held) == count
    assert len(held) >= 1
    assert set(rest.names).isdisjoint(held.names)
    assert len(held) <= max(8, count // 4)


def test_too_few_pictures_are_not_parted(training: PictureSet) -> None:
    with pytest.raises(DataError, match="15 training pictures are too few to hold some out"):
        hold_out(training.part(np.arange(15)))


def test_a_part_gives_the_pictures_it_names(training: PictureSet) -> None:
    rows = np.array([7, 3, 300])
    part = training.part(rows).undistorted()
    whole = training.undistorted().batch(rows, np.random.default_rng(0))
    some = part.batch(np.arange(3), np.random.default_rng(0))
    assert (some.inputs == whole.inputs).all()
    assert part.labelled == 3
    assert part.digest != training.part(np.array([3, 7, 300])).undistorted().digest


def test_weights_are_chosen_by_labels_or_else_by_the_teacher(
    training: PictureSet, pictures: Path, network: SourceModel
) -> None:
    assert 0.0 <= Learning(network, training).metric(network)(network.module) < 0.9  # it is untrained
    unlabelled = open_training_set(TrainingData(str(pictures / "test")), network.spec)
    assert Learning(network, unlabelled).metric(network)(network.module) == 1.0  # it agrees with itself


def test_a_student_in_the_networks_place_must_be_fed_and_read_alike(
    training: PictureSet, network: SourceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other_nets.py").write_text(
        "import dataclasses\nfrom examples.fashion.residual import student\n\n"
        "def factory():\n    made = student()\n"
        "    return dataclasses.replace(made, output_names=('scores',),\n"
        "        spec=dataclasses.replace(made.spec, decode=dataclasses.replace(made.spec.decode, scores='scores')))\n"
    )
    monkeypatch.chdir(tmp_path)
    compression = Compression(TrainingData("unused"), (DistilStep(),), student=ModelReference("other_nets:factory"))
    original = FloatModel(b"", network.spec, (), (), "the network", "", module=network)
    with pytest.raises(
        SpecError, match="the student other_nets:factory names its outputs otherwise than fashion-student"
    ):
        compress(original, b"", compression, lambda source: Learning(source, training), SilentProgress())


def test_a_student_that_tflite_cannot_hold_is_refused_before_it_is_taught(
    training: PictureSet, network: SourceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_nets.py").write_text(
        "import dataclasses\nimport torch\nfrom examples.fashion.residual import student\n\n"
        "class Odd(torch.nn.Module):\n"
        "    def __init__(self, inner):\n        super().__init__()\n        self.inner = inner\n\n"
        "    def forward(self, x):\n        return torch.erf(self.inner(x))\n\n"
        "def factory():\n    made = student()\n    return dataclasses.replace(made, module=Odd(made.module))\n"
    )
    monkeypatch.chdir(tmp_path)
    taught: list[str] = []
    monkeypatch.setattr(Trainer, "fit", lambda *_, title, **__: taught.append(title))
    compression = Compression(TrainingData("unused"), (DistilStep(),), student=ModelReference("odd_nets:factory"))
    original = FloatModel(b"", network.spec, (), (), "the network", "", module=network)
    with pytest.raises(ConversionError, match="Erf"):
        compress(
            original,
            b"",
            compression,
            lambda source: Learning(source, training),
            SilentProgress(),
            formats=(Format.ONNX, Format.TFLITE),
        )
    assert not taught


def test_a_step_without_anything_to_learn_from_says_so(pictures: Path, network: SourceModel) -> None:
    unlabelled = open_training_set(TrainingData(str(pictures / "test")), network.spec)
    learning = Learning(network, unlabelled)
    with pytest.raises(DataError, match="learns from labels alone, and no training picture has any"):
        learning.objective(Terms(labels=1.0, teacher=0.0), network)


def test_the_same_training_is_known_again(training: PictureSet, network: SourceModel, tmp_path: Path) -> None:
    settings = TrainSettings(epochs=0.2, batch=20, threads=1, evaluations=1)
    resumed = []
    for _ in range(2):
        learner, learning = student(), Learning(network, training)
        done = Trainer(settings, folder=tmp_path).fit(
            learner.module,
            learning.pictures,
            learning.objective(Terms(), learner),
            title="1 tune",
            evaluate=learning.metric(learner),
            extra=learning.describe(),
        )
        resumed.append(done.resumed_from)
    assert resumed == [0, 4]


def test_training_ends_when_the_contract_asks_for_nothing_more(
    training: PictureSet, pictures: Path, network: SourceModel
) -> None:
    held = np.resize(np.arange(len(training)), 20 * 240)  # of so many, 240 are held out
    many = training.part(held)
    whole = Learning(network, many).metric(network)(network.module)
    labelled = Learning(network, many, contract=Contract(max_drop=1.0))
    assert labelled.enough(whole)
    assert not labelled.enough(whole - 0.01)
    assert not Learning(network, many, contract=Contract(min_agreement=90.0)).enough(1.0)
    assert not Learning(network, training, contract=Contract(max_drop=1.0)).enough(1.0)  # only 20 are held out

    plain = open_training_set(TrainingData(str(pictures / "test")), network.spec)
    unlabelled = plain.part(np.resize(np.arange(len(plain)), 20 * 240))
    promised = Learning(network, unlabelled, contract=Contract(min_agreement=90.0))
    assert promised.enough(0.96)
    assert not promised.enough(0.91)  # of 240 pictures, that may be less than 90 %
    assert not Learning(network, unlabelled).enough(1.0)
