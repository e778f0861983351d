"""Quantization-aware training at the end of a chain: it helps, or the run ends with what there was."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from chain_models import CLASSIFIER, SIDE, depthwise_classifier, workbench, write_classes
from onnx import numpy_helper

from edgewright.optimize.chain.run import ChainResult, State
from edgewright.optimize.compression.aware import QAT, train_aware
from edgewright.optimize.compression.learning import Learning
from edgewright.optimize.compression.steps import Compression, QatChoice, QatWhen
from edgewright.optimize.contract import Contract
from edgewright.optimize.errors import OptimizeError
from edgewright.optimize.progress import SilentProgress
from edgewright.optimize.qat.train import QatSettings
from edgewright.optimize.training.sets import Distort, PictureSet, TrainingData, open_training_set
from edgewright.optimize.training.settings import Device, OptimizerName, TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.spec import SourceModel

SPEC = replace(CLASSIFIER, input_shape=(1, 3, SIDE, SIDE))
SHORT = TrainSettings(
    epochs=6.0, batch=16, rate=1e-3, weight_decay=0.0, evaluations=2, threads=1, device=Device.CPU, checkpoint_minutes=0
)
STRICT = Contract(min_agreement=100.0)


class Told(SilentProgress):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory) -> PictureSet:
    folder = write_classes(tmp_path_factory.mktemp("aware"), 48)
    pictures = open_training_set(TrainingData(str(folder / "soft"), distort=Distort.none()), SPEC)
    assert isinstance(pictures, PictureSet)
    return pictures


def bench_of(model: bytes) -> Workbench:
    bench: Workbench = workbench(model, spec=SPEC)
    bench.progress = Told()
    return bench


def chained(bench: Workbench, model: bytes) -> ChainResult:
    """The plain min-max candidate, as a chain that tried nothing leaves it."""
    ranges = bench.calibrate(model, ["minmax"]).ranges["minmax"]
    graph = bench.quantize(model, ranges)
    best = State(model, "minmax", ranges, frozenset(), graph, bench.losses(graph))
    return ChainResult(best, best, (), {})


def aware(
    model: bytes, pictures: PictureSet, when: QatWhen = QatWhen.NEEDED, train: TrainSettings = SHORT, **rest: Any
) -> tuple[ChainResult, ChainResult, list[str]]:
    bench = bench_of(model)
    before = chained(bench, model)
    choice = QatChoice(QatSettings(train, pictures=rest.pop("means", 32)), when)
    compression = Compression(TrainingData("soft"), qat=choice, checkpoints=rest.pop("folder", None))
    learn = rest.pop("learn", lambda network: Learning(network, pictures))
    after = train_aware(before, bench, compression, rest.pop("contract", STRICT), learn)
    return before, after, bench.progress.notes  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def hurt() -> bytes:
    return depthwise_classifier()


def unknown_operator(model: bytes) -> bytes:
    """The same with an operator that the executor does not know."""
    made = onnx.load_model_from_string(model)
    last = made.graph.node[-1]
    last.output[0] = "inner"
    made.graph.node.append(onnx.helper.make_node("Sinh", ["inner"], ["scores"], name="odd"))
    del made.graph.value_info[:]
    return bytes(onnx.shape_inference.infer_shapes(made).SerializeToString())


def test_it_trains_where_the_contract_would_be_missed_and_float_forms_keep_float_weights(
    hurt: bytes, soft: PictureSet
) -> None:
    before, after, _ = aware(hurt, soft)
    (trial,) = after.trials
    assert trial.name == QAT
    assert trial.kept, trial.why
    assert "steps; simulation and file agree on" in trial.why
    assert after.best.losses.mean() < before.best.losses.mean()
    assert after.best.passes == (QAT,)
    # The trained float graph holds integers times steps; float16 and the like are made of the one before.
    assert after.best.model != hurt
    assert after.best.in_float.model == hurt
    assert after.best.in_float.ranges == before.best.ranges
    assert before.best.in_float is before.best


def test_a_contract_that_is_met_needs_none(hurt: bytes, soft: PictureSet) -> None:
    before, after, notes = aware(hurt, soft, contract=Contract(min_agreement=1.5))
    assert after.best is before.best
    assert "not trained: the contract is met without it" in after.trials[0].why
    assert notes[-1].startswith("--qat needed: the contract is met without it: ")
    assert notes[-1].endswith("; not trained")


def test_without_a_promise_it_is_said_that_nothing_is_trained(hurt: bytes, soft: PictureSet) -> None:
    before, after, notes = aware(hurt, soft, contract=Contract(min_speedup=2.0))
    assert after.best is before.best
    assert notes == [
        "--qat needed: nothing of accuracy is promised (--max-drop, --min-agreement), so nothing can be missed; not trained"
    ]


@pytest.mark.parametrize("what", ["operator", "runaway", "pictures"])
def test_what_goes_wrong_ends_no_run_unless_it_was_asked_for(hurt: bytes, soft: PictureSet, what: str) -> None:
    model = unknown_operator(hurt) if what == "operator" else hurt
    train = SHORT
    if what == "runaway":
        train = replace(SHORT, rate=1000.0, optimizer=OptimizerName.SGD, clip=0.0, warmup=0.0, epochs=30.0)
    pictures = soft.part(np.arange(9)) if what == "pictures" else soft
    words = {
        "operator": r"node 'odd' \(Sinh\): this operator is not known",
        "runaway": "lower rate",
        "pictures": "9 training pictures are too few",
    }[what]
    before, after, notes = aware(model, pictures, train=train)
    assert after.best is before.best
    (trial,) = after.trials
    assert not trial.kept
    assert trial.why.startswith("not trained to the end: ")
    assert any("the candidate from before it is kept" in note for note in notes)
    with pytest.raises(OptimizeError, match=words):
        aware(model, pictures, QatWhen.ALWAYS, train)


def test_checkpoints_are_of_the_pictures_that_weights_are_chosen_by(
    hurt: bytes, soft: PictureSet, tmp_path: Path
) -> None:
    """Other pictures held out, other ranges: another training, which goes on from no checkpoint of this one."""

    def other(network: SourceModel) -> Learning:
        learning = Learning(network, soft)
        learning.held = learning.held.part(np.arange(len(learning.held) - 1))
        return learning

    brief = replace(SHORT, epochs=0.5, evaluations=1)
    aware(hurt, soft, train=brief, folder=tmp_path)
    aware(hurt, soft, train=brief, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    aware(hurt, soft, train=brief, folder=tmp_path, learn=other)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_to_be_known_of_the_training_is_told(hurt: bytes, soft: PictureSet) -> None:
    """Integers that the simulation cannot start from, as another tool may have written them."""
    bench = bench_of(hurt)
    before = chained(bench, hurt)
    model = onnx.load_model_from_string(before.best.graph.model)
    steps = next(item for item in model.graph.initializer if item.name.endswith("_scale") and list(item.dims) == [12])
    steps.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(steps) * np.float32(1.5), steps.name))
    graph = replace(before.best.graph, model=model.SerializeToString())
    odd = replace(before, best=replace(before.best, graph=graph))
    choice = QatChoice(QatSettings(replace(SHORT, epochs=0.5), pictures=0), QatWhen.ALWAYS)
    after = train_aware(
        odd, bench, Compression(TrainingData("soft"), qat=choice), STRICT, lambda network: Learning(network, soft)
    )
    words = "training starts from the writer's choice of"
    assert words in after.trials[0].why
    assert any(words in note for note in bench.progress.notes)  # type: ignore[attr-defined]
    row = after.details["training"][0]
    assert row["label"] == "qat"
    assert row["sentence"] == after.trials[0].why
    assert any(words in note for note in row["notes"])
    assert [look["step"] for look in row["trainings"][0]["history"]][-1] == row["trainings"][0]["steps"] > 0
