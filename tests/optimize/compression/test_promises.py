"""Steps that do not go together, specs of named networks, films beside judged ones, and rounds of pruning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from examples.fashion.residual import student

from edgewright.bundle.manifest import Format
from edgewright.optimize.compression.beside import count_beside
from edgewright.optimize.compression.comparing import check_pruned
from edgewright.optimize.compression.learning import Learning, hold_out
from edgewright.optimize.compression.run import compress
from edgewright.optimize.compression.steps import (
    Compression,
    DistilStep,
    ModelReference,
    PruneStep,
    QatChoice,
    QatWhen,
    SparsifyStep,
    Terms,
    TuneStep,
)
from edgewright.optimize.errors import SpecError
from edgewright.optimize.progress import SilentProgress
from edgewright.optimize.pruning.settings import PruneSettings, PruneTarget
from edgewright.optimize.pruning.sparse import SparseSettings
from edgewright.optimize.sources.float_model import FloatModel
from edgewright.optimize.sources.module import from_module
from edgewright.optimize.training.sets import PictureSet, TrainingData, open_training_set
from edgewright.optimize.training.settings import TrainSettings

DATA = TrainingData("unused")
SPARSE = SparsifyStep(SparseSettings(share=0.5))
NAMED = ModelReference("nets:make")
QUICK = TrainSettings(epochs=0.1, batch=20, threads=1, evaluations=1)

OTHER_MEAN = """
import dataclasses
from examples.fashion.residual import student

def factory():
    made = student()
    pre = dataclasses.replace(made.spec.preprocess, mean=(0.25, 0.25, 0.25))
    return dataclasses.replace(made, spec=dataclasses.replace(made.spec, preprocess=pre))
"""


@pytest.fixture(scope="module")
def training(pictures: Path) -> PictureSet:
    made = open_training_set(TrainingData(str(pictures / "train.npz")), student().spec)
    assert isinstance(made, PictureSet)
    return made


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"steps": (TuneStep(),), "student": NAMED}, "the student nets:make is for a step that distils"),
        ({"qat": QatChoice(when=QatWhen.ALWAYS), "teacher": NAMED}, "learns from the float network"),
        ({"steps": (TuneStep(terms=Terms(teacher=0.0)),), "teacher": NAMED}, "the steps learn from labels alone"),
        ({"steps": (SPARSE, TuneStep())}, "put sparsify last"),
        ({"steps": (SPARSE,), "qat": QatChoice(when=QatWhen.NEEDED)}, "would not outlive quantization-aware training"),
    ],
)
def test_what_would_have_no_effect_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Compression(DATA, **given)  # type: ignore[arg-type]
    Compression(DATA, (TuneStep(), SPARSE))


def test_a_named_network_keeps_its_own_spec(
    training: PictureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other_mean.py").write_text(OTHER_MEAN)
    monkeypatch.chdir(tmp_path)
    named, network = ModelReference("other_mean:factory"), student()
    assert Learning(network, training, teacher=named).teacher.spec.preprocess.mean == (0.25,) * 3
    original = FloatModel(b"", network.spec, (), (), "net", "", module=network)
    compression = Compression(DATA, (DistilStep(),), student=named)
    with pytest.raises(SpecError, match="the student other_mean:factory prepares pictures otherwise"):
        compress(original, b"", compression, lambda source: Learning(source, training), SilentProgress())


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("between", [0.0, 0.1])
def test_features_are_learned_from_in_every_round_of_pruning(training: PictureSet, between: float) -> None:
    original = from_module(student(), "net")
    target = PruneSettings(PruneTarget(macs=0.6), rounds=2, round_to=4)
    step = PruneStep(target, Terms(features=0.5), QUICK, between)
    few = training.part(np.arange(100))
    (made,) = compress(
        original, original.model, Compression(DATA, (step,)), lambda source: Learning(source, few), SilentProgress()
    )
    assert len(made.facts["trainings"]) == (2 if between else 1)


def test_single_pictures_are_held_out_of_unrelated_ones_and_stretches_of_a_film(training: PictureSet) -> None:
    def runs(pictures: PictureSet) -> int:
        names = {name: row for row, name in enumerate(pictures.names)}
        rows = np.sort([names[name] for name in hold_out(pictures)[1].names])
        return 1 + int((np.diff(rows) > 1).sum())

    film = PictureSet(replace(training._held, spacing_s=0.04), student().spec, training.distort)
    assert runs(film) < runs(training)


def test_frames_beside_judged_ones_are_counted() -> None:
    trained, judged = np.array([0, 40, 60, 200]), np.array([100, 300])
    assert count_beside(trained, judged, 0.04) == 1  # 60 is 1.6 s away, 40 is 2.4 s away
    assert count_beside(trained, np.array([], np.int64), 0.04) == 0


def test_a_failure_of_one_format_stands_at_that_format() -> None:
    model = from_module(student(), "net").model
    check = check_pruned("1 prune", model, model, (Format.ONNX,))
    assert any("parameters did not fall" in text for text in check.failed[None])
    assert any("ONNX file" in text for text in check.failed[Format.ONNX])
    assert Format.TFLITE not in check.failed
