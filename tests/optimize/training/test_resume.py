"""A training that was stopped in any way goes on to the very weights of one that was not."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training import OFTEN, SETTINGS, CrossEntropy, Pictures, said, tiny_net, top1, weights_of

from edgewright.optimize.errors import TrainingError
from edgewright.optimize.training.checkpoint import CheckpointFolder
from edgewright.optimize.training.settings import Device, TrainSettings
from edgewright.optimize.training.trainer import Trained, Trainer
from edgewright.optimize.training.types import Batch, Loss

ROOT = Path(__file__).resolve().parents[3]
CHILD = [sys.executable, "-B", str(ROOT / "tests/support/training.py")]


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return Pictures()


@pytest.fixture(scope="module")
def whole(pictures: Pictures) -> tuple[dict[str, bytes], Trained]:
    """One that nobody stopped, and that kept no checkpoints."""
    module = tiny_net()
    trained = Trainer(SETTINGS).fit(
        module, pictures, CrossEntropy(), title="kill me", evaluate=top1(pictures), hooks=[said]
    )
    return weights_of(module), trained


class Stopping(CrossEntropy):
    """Somebody presses Ctrl-C in the middle of some step."""

    def __init__(self, call: int, adapters: torch.nn.Module | None = None) -> None:
        super().__init__(adapters)
        self.left = call

    def __call__(self, module: torch.nn.Module, batch: Batch) -> Loss:
        loss = super().__call__(module, batch)
        self.left -= 1
        if not self.left:
            signal.raise_signal(signal.SIGINT)
        return loss


def fit(
    folder: Path, pictures: Pictures, objective: Any = None, settings: TrainSettings = SETTINGS, **rest: Any
) -> tuple[dict[str, bytes], Trained]:
    module = rest.pop("module", None) or tiny_net()
    chosen = {"title": "kill me", "evaluate": top1(pictures), "hooks": [said], **rest}
    progress = chosen.pop("progress", None)
    trained = Trainer(settings, folder=folder, progress=progress).fit(
        module, pictures, objective or CrossEntropy(), **chosen
    )
    return weights_of(module), trained


def figures(trained: Trained) -> Any:
    return [replace(look, seconds=0.0) for look in trained.history], trained.best_metric, trained.steps, trained.stopped


def child_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/support")])}


def test_sigkill_and_again(tmp_path: Path, pictures: Pictures, whole: tuple[dict[str, bytes], Trained]) -> None:
    with subprocess.Popen([*CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=child_environment()) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == 23:
                child.kill()
                break
    assert child.returncode == -signal.SIGKILL
    weights, trained = fit(tmp_path, pictures)
    assert trained.resumed_from in (22, 23)
    assert weights == whole[0]
    assert figures(trained) == figures(whole[1])


SLOWLY = """
import sys, time
from pathlib import Path
import training
from edgewright.optimize.training.trainer import Trainer

def said(module, step, steps):
    training.said(module, step, steps)
    if step == 23:
        time.sleep(0.3)  # amid the step, where the signal finds it

said.__qualname__ = "said"
pictures = training.Pictures()
Trainer(training.SETTINGS, folder=Path(sys.argv[1])).fit(
    training.tiny_net(), pictures, training.CrossEntropy(), title="kill me", evaluate=training.top1(pictures), hooks=[said]
)
"""


def test_sigterm_and_again(tmp_path: Path, pictures: Pictures, whole: tuple[dict[str, bytes], Trained]) -> None:
    """The step is finished and a checkpoint written, and the process ends by the signal all the same."""
    command = [sys.executable, "-B", "-c", SLOWLY, str(tmp_path)]
    pipe, environment = subprocess.PIPE, child_environment()
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        for line in child.stdout:
            if int(line) == 23:
                child.terminate()
        assert child.stderr.read() == "stopping: writing a checkpoint ...\n"
    assert child.returncode == -signal.SIGTERM
    assert [path.name for path in tmp_path.glob("*/*")] == ["step-000000023"]
    weights, trained = fit(tmp_path, pictures)
    assert trained.resumed_from == 23
    assert weights == whole[0]


@pytest.mark.parametrize("step", [1, 10, 25, 39])
def test_ctrl_c_and_again(
    tmp_path: Path, pictures: Pictures, whole: tuple[dict[str, bytes], Trained], step: int
) -> None:
    told = Told()
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, pictures, Stopping(step), progress=told)
    assert told.notes == [f"kill me: stopped at step {step} of 40; the same command goes on from there"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    weights, trained = fit(tmp_path, pictures)
    assert trained.resumed_from == step
    assert weights == whole[0]
    assert figures(trained) == figures(whole[1])


def test_ctrl_c_while_it_is_looked_at(
    tmp_path: Path, pictures: Pictures, whole: tuple[dict[str, bytes], Trained]
) -> None:
    measured, calls = top1(pictures), []

    def evaluate(module: torch.nn.Module) -> float:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return float(measured(module))

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, pictures, evaluate=evaluate)
    assert len(calls) == 2
    weights, trained = fit(tmp_path, pictures)
    assert trained.resumed_from == 20
    assert weights == whole[0]
    assert figures(trained) == figures(whole[1])


def test_with_adapters_sgd_and_bfloat16(tmp_path: Path, pictures: Pictures) -> None:
    settings = replace(SETTINGS, mixed=True, optimizer=type(SETTINGS.optimizer)("sgd"), ema=0.0, rate=0.05)

    def adapters() -> torch.nn.Module:
        layer = torch.nn.Linear(10, 10)
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        return layer

    first, second = adapters(), adapters()
    weights, _ = fit(tmp_path / "a", pictures, CrossEntropy(first), settings)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "b", pictures, Stopping(17, adapters()), settings)
    again, trained = fit(tmp_path / "b", pictures, CrossEntropy(second), settings)
    assert trained.resumed_from == 17
    assert again == weights
    assert weights_of(first) == weights_of(second)


@pytest.mark.parametrize("part", ["nothing", "optimizer", "average", "norms"])
def test_every_part_of_a_checkpoint_matters(
    tmp_path: Path, pictures: Pictures, whole: tuple[dict[str, bytes], Trained], part: str
) -> None:
    """The negative control: were one of them forgotten, the weights would be others."""
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, pictures, Stopping(33))
    (folder,) = tmp_path.iterdir()
    record = json.loads((folder / "step-000000033" / "record.json").read_text())["record"]
    store = CheckpointFolder(tmp_path, "kill me", record["key"])
    assert store.path == folder
    found, _ = store.load()
    assert found is not None
    if part == "norms":
        found.parts["module"]["1.running_mean"].zero_()
    elif part == "optimizer":
        for value in found.parts[part].values():
            value.zero_()
    elif part == "average":
        found.parts[part] |= found.parts["module"]
        found.parts[part].pop("1.num_batches_tracked")
    store.save(found.step, found.state, found.parts)
    weights, trained = fit(tmp_path, pictures)
    assert trained.resumed_from == 33
    same = whole[1].history[-1].metric == trained.history[-1].metric and weights == whole[0]
    assert same is (part == "nothing")


def test_one_that_had_ended_is_not_trained_again(tmp_path: Path, pictures: Pictures) -> None:
    weights, trained = fit(tmp_path, pictures)
    again, second = fit(tmp_path, pictures, Stopping(1))  # which would be heard
    assert again == weights
    assert second.resumed_from == 40
    assert figures(second) == figures(trained)
    assert any("had ended before" in note for note in second.notes)


@pytest.mark.parametrize(
    "change",
    [
        "settings",
        "weights",
        "pictures",
        "objective",
        "title",
        "network",
        "extra",
        "hooks",
        "forward",
        "tools",
        "threads",
        "settled",
    ],
)
def test_another_training_begins_anew(
    tmp_path: Path, pictures: Pictures, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = named_alike(Plain) if change == "forward" else tiny_net()
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, pictures, Stopping(9), module=given)
    settings = replace(SETTINGS, rate=0.02) if change == "settings" else SETTINGS
    rest: dict[str, Any] = {"module": tiny_net(9)} if change == "weights" else {}
    rest |= {"module": torch.nn.Sequential(tiny_net(), torch.nn.Identity())} if change == "network" else {}
    rest |= {"title": "someone else"} if change == "title" else {}
    rest |= {"extra": {"contract": 1}} if change == "extra" else {}
    rest |= {"hooks": []} if change == "hooks" else {}
    rest |= {"module": named_alike(Rounding)} if change == "forward" else {}
    if change == "settled":
        monkeypatch.setattr(said, "settled", lambda step, steps: step == steps, raising=False)
    if change == "tools":  # the digest of edgewright's own code is one of them
        monkeypatch.setattr("edgewright.optimize.training.key.tool_versions", lambda: {"edgewright": "0+other"})
    if change == "threads":
        settings = replace(SETTINGS, threads=2)
    objective = Stopping(2)
    if change == "objective":
        objective.describe = lambda: {"kind": "other"}  # type: ignore[method-assign]
    told = Told()
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, Pictures(300) if change == "pictures" else pictures, objective, settings, progress=told, **rest)
    assert "stopped at step 2 of" in told.notes[-1]
    assert ("is left alone" in told.notes[0]) is (change not in {"title", "network"})
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.undo()
    told = Told()
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, pictures, Stopping(1), progress=told, module=named_alike(Plain) if change == "forward" else None)
    assert "goes on from step 9 of 40" in told.notes[0]


class Plain(torch.nn.Sequential):
    """The user's network."""


class Rounding(torch.nn.Sequential):
    """The same with another forward."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self:
            x = layer(x).half().float()
        return x


def named_alike(kind: type[torch.nn.Sequential]) -> torch.nn.Module:
    """One of them with the same weights, under a name that does not tell them apart."""
    made = type("Net", (kind,), {})(*tiny_net())
    assert isinstance(made, torch.nn.Module)
    return made


def test_who_asks_for_what_was_chosen_anyway_goes_on(tmp_path: Path, pictures: Pictures) -> None:
    """The device and the threads that are used count, not how they were asked for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, pictures, Stopping(5), replace(SETTINGS, device=Device.CPU))
        told, chosen = Told(), Device.AUTO if not torch.cuda.is_available() else Device.CPU
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, pictures, Stopping(1), replace(SETTINGS, threads=None, device=chosen), progress=told)
    finally:
        torch.set_num_threads(before)
    assert "goes on from step 5 of 40" in told.notes[0]


def test_damaged_ones_are_named_and_passed_over(
    tmp_path: Path, pictures: Pictures, whole: tuple[dict[str, bytes], Trained]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, pictures, Stopping(15), OFTEN)
    (newest,) = tmp_path.glob("*/step-000000015")
    path = newest / "optimizer-0.npz"
    path.write_bytes(path.read_bytes()[:-100])
    weights, trained = fit(tmp_path, pictures)
    assert trained.resumed_from == 14
    assert "step-000000015 is damaged and is not used: optimizer-0.npz is not what was written" in trained.notes[0]
    assert weights == whole[0]


def test_a_disk_that_fills_up_does_not_stop_it(tmp_path: Path, pictures: Pictures) -> None:
    """No file may grow beyond what a record takes: every checkpoint fails midway."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    environment = {name: value for name, value in child_environment().items() if not name.startswith("COVERAGE_")}
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, pictures, Stopping(12))
    done = subprocess.run(
        [*CHILD, str(tmp_path)], env=environment, preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {int(step) for step in done.stdout.split()} == set(range(13, 41))
    assert done.stderr.count("a checkpoint was not written") == 1
    assert "that of step 12 is kept, and the training goes on" in done.stderr
    after = sorted(path.name for path in tmp_path.glob("*/*"))
    assert after == ["step-000000012"]


def test_a_folder_that_vanishes_does_not_stop_it(
    tmp_path: Path, pictures: Pictures, whole: tuple[dict[str, bytes], Trained]
) -> None:
    class Vanishing(CrossEntropy):
        calls = 0

        def __call__(self, module: torch.nn.Module, batch: Batch) -> Loss:
            self.calls += 1
            if self.calls == 5:
                (folder,) = tmp_path.iterdir()
                shutil.rmtree(folder)
                folder.write_text("in the way")
            return super().__call__(module, batch)

    weights, trained = fit(tmp_path, pictures, Vanishing(), OFTEN)
    assert weights == whole[0]
    assert len(trained.notes) == 1


def test_a_loss_that_is_no_number_leaves_the_checkpoint(tmp_path: Path, pictures: Pictures) -> None:
    class Runaway(CrossEntropy):
        calls = 0

        def __call__(self, module: torch.nn.Module, batch: Batch) -> Loss:
            self.calls += 1
            loss = super().__call__(module, batch)
            return Loss(loss.total * (float("nan") if self.calls == 6 else 1.0), loss.parts)

    with pytest.raises(TrainingError, match="at step 6 of 40"):
        fit(tmp_path, pictures, Runaway(), OFTEN)
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["step-000000004", "step-000000005"]


class Told:
    """Remembers what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, title: str, total: int | None = None) -> Any:
        from edgewright.optimize.progress import SilentProgress

        return SilentProgress().stage(title, total)

    def note(self, text: str) -> None:
        self.notes.append(text)
