"""Labels that a teacher writes: by which network, kept from run to run, and mended by people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgewright.optimize.compression.labelling import label_by_teacher
from edgewright.optimize.compression.steps import TEACHER_LABELS, Compression, ModelReference, TuneStep
from edgewright.optimize.data.plan import DataChoice
from edgewright.optimize.errors import SpecError
from edgewright.optimize.progress import SilentProgress
from edgewright.optimize.request import OptimizeRequest
from edgewright.optimize.training.sets import TrainingData

if TYPE_CHECKING:
    from edgewright.optimize.sources import FloatModel


class Notes(SilentProgress):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def labelled(person: FloatModel, film: str, folder: Path, teacher: ModelReference | None) -> tuple[Path, list[str]]:
    data = TrainingData(film, labels=Path(TEACHER_LABELS))
    compression = Compression(data, (TuneStep(),), teacher=teacher, checkpoints=folder)
    request = OptimizeRequest("person", folder / "person.edge", DataChoice(film))
    notes = Notes()
    return label_by_teacher(request, compression, person, frozenset(), notes), notes.said


def people(path: Path) -> int:
    return len(json.loads(path.read_text())["annotations"])


def test_another_detector_of_the_same_labels_may_be_the_teacher(
    person: FloatModel, clip: str, samples: Path, tmp_path: Path
) -> None:
    teacher = ModelReference("examples.person.model:factory", samples / "frozen_inference_graph.pb")
    path, said = labelled(person, f"{clip}#10:11", tmp_path, teacher)
    assert said[-1].startswith("the teacher ")
    assert people(path) > 0


def test_what_the_network_wrote_is_kept_with_what_people_mended(person: FloatModel, clip: str, tmp_path: Path) -> None:
    path, said = labelled(person, f"{clip}#10:12", tmp_path, None)
    assert said[-1].startswith("the network labelled 2 pictures, ")
    mended = json.loads(path.read_text())
    mended["annotations"] = mended["annotations"][:1]
    path.write_text(json.dumps(mended))
    again, said = labelled(person, f"{clip}#10:12", tmp_path, None)
    assert again == path
    assert people(again) == 1
    assert said == [f"the labels that the teacher wrote before, and what was mended in them, are used: {path}"]


def test_a_classifier_teaches_but_does_not_label(person: FloatModel, clip: str, tmp_path: Path) -> None:
    _, said = labelled(person, f"{clip}#10:11", tmp_path, ModelReference("examples.fashion.residual:student"))
    assert "is no detector of the same labels; the network itself labels the training pictures" in said[0]
    assert said[-1].startswith("the network labelled ")


def test_what_a_factory_makes_has_labels_already(person: FloatModel, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match="is a factory, which makes pictures and labels alike; leave --train-labels out"
    ):
        labelled(person, "examples.fashion.data:factory", tmp_path, None)
