"""The trainer: a module, pictures and an objective in, the same module with better weights out.

What it holds to:

* the same settings, pictures, objective and first weights give the same weights: on a processor to the last bit (for
  the same number of threads), on CUDA as far as its kernels do;
* a training that was killed at any moment and is started again ends with those weights too;
* nobody else's random numbers, threads or signal handlers are changed once it is over.

An example::

    trainer = Trainer(TrainSettings(epochs=5), folder=Path("checkpoints"), progress=progress)
    trained = trainer.fit(module, pictures, objective, title="distil", evaluate=top1, enough=lambda value: value > 0.9)
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import IntegrityError
from edgewright.optimize.errors import TrainingError
from edgewright.optimize.progress import SilentProgress
from edgewright.optimize.training.checkpoint import CheckpointFolder
from edgewright.optimize.training.interrupts import Interrupts
from edgewright.optimize.training.key import key_of, network_of
from edgewright.optimize.training.loop import Loop
from edgewright.optimize.training.precision import choose_device
from edgewright.optimize.training.state import State
from edgewright.optimize.training.task import Hook, Task, describe_hooks
from edgewright.optimize.training.trained import Look, Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

    from edgewright.optimize.progress import Progress
    from edgewright.optimize.training.settings import TrainSettings
    from edgewright.optimize.training.types import Objective, TrainingSet

__all__ = ["Hook", "Look", "Trained", "Trainer"]

_STOPPING_KEPT = "stopping: writing a checkpoint ..."
_STOPPING = "stopping when this step is done ..."


class Trainer:
    """Trains modules, one after another."""

    def __init__(
        self, settings: TrainSettings, *, folder: Path | None = None, progress: Progress | None = None
    ) -> None:
        """Trains nothing yet.

        Args:
            settings: How.
            folder: For checkpoints; those of other trainings in it are left alone. None keeps none.
            progress: Where it is told how far it is; None tells nobody.
        """
        self._settings = settings
        self._folder = folder
        self._progress = progress or SilentProgress()

    def fit(
        self,
        module: torch.nn.Module,
        training_set: TrainingSet,
        objective: Objective,
        *,
        title: str,
        evaluate: Callable[[torch.nn.Module], float] | None = None,
        enough: Callable[[float], bool] | None = None,
        hooks: Sequence[Hook] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> Trained:
        """Trains a module in place.

        It ends with the best weights by metric, the last where nothing was measured, in eval mode and on the processor.

        Args:
            module: What is trained: those of its parameters that require a gradient.
            training_set: On what.
            objective: What is made small.
            title: For people; a checkpoint is gone on from under the same title only.
            evaluate: The metric of the module as it is, larger is better. It is called in eval mode, without gradients,
                and with the module where it is trained.
            enough: Whether a metric is good enough to stop.
            hooks: Called after every step.
            extra: More JSON values that determine the result and cannot be seen here, such as the contract behind
                ``enough`` and the pictures behind ``evaluate``: under others, a checkpoint is not gone on from.

        Returns:
            What it came to.

        Raises:
            TrainingError: There is nothing to train (on), the loss or its gradient is not finite, or there is no room
                for checkpoints.
            KeyboardInterrupt: Ctrl-C; a checkpoint was written, and progress was told how to go on. After SIGTERM, which
                is held back in the same way, the process ends as it would have at once.
        """
        settings = self._settings
        device = choose_device(settings.device)
        if not len(training_set):
            msg = f"{title}: the training set holds no pictures; give some, or leave fewer out"
            raise TrainingError(msg)
        task = Task(module, training_set, objective, title, evaluate, enough, tuple(hooks))
        store = self._open_store(task, dict(extra or {}), device)
        stopping = _STOPPING if store is None else _STOPPING_KEPT
        with _surroundings(settings, device, stopping) as interrupts, _moved(module, objective.adapters, device):
            state = State(module, objective.adapters, settings, device)
            loop = Loop(
                settings, task, state, device=device, store=store, progress=self._progress, interrupts=interrupts
            )
            resumed, stopped = _resume(loop, state, store)
            if stopped is None:
                stopped = loop.run()
                loop.finish(stopped)
            state.optimizer.zero_grad(set_to_none=True)
        epochs = state.step * min(settings.batch, len(training_set)) / len(training_set)
        history, notes = tuple(state.history), tuple(loop.notes)
        return Trained(state.step, epochs, history, state.best_metric, stopped, resumed, notes)

    def _open_store(self, task: Task, extra: dict[str, Any], device: torch.device) -> CheckpointFolder | None:
        if self._folder is None:
            return None
        extra |= {"title": task.title, "hooks": describe_hooks(task.hooks)}
        extra |= {"evaluated": task.evaluate is not None, "stops": task.enough is not None}
        key = key_of(task.module, task.training_set, task.objective, self._settings, extra, device=device)
        return CheckpointFolder(self._folder, task.title, key, network_of(task.module))


def _resume(loop: Loop, state: State, store: CheckpointFolder | None) -> tuple[int, str | None]:
    """The step it goes on from, and why it had ended, None where it had not."""
    if store is None:
        return 0, None
    checkpoint, problems = store.load()
    for problem in problems:
        loop.note(problem)
    if checkpoint is not None:
        try:
            state.restore(checkpoint)
        except (IntegrityError, KeyError, TypeError, ValueError, RuntimeError) as error:
            msg = f"the checkpoint of step {checkpoint.step} in {store.path} does not fit: {error}; remove that folder"
            raise TrainingError(msg) from error
        loop.saved_step = checkpoint.step
        if checkpoint.ended:
            loop.note(f"it had ended before, at step {checkpoint.step}; its result in {store.path} is used")
            return checkpoint.step, str(checkpoint.state.get("stopped", "ended"))
        loop.note(f"goes on from step {checkpoint.step} of {loop.steps}, as kept in {store.path}")
    elif others := store.others():
        loop.note(f"{others[0]} is of another training (other settings, pictures, weights or code) and is left alone")
    store.prepare(state.expected_bytes())
    return state.step, None


@contextlib.contextmanager
def _surroundings(settings: TrainSettings, device: torch.device, stopping: str) -> Iterator[Interrupts]:
    """Random numbers, threads and signals of a training, given back afterwards."""
    import torch

    threads = torch.get_num_threads()
    cuda = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda), Interrupts(stopping) as interrupts:
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        try:
            yield interrupts
        finally:
            torch.set_num_threads(threads)


@contextlib.contextmanager
def _moved(module: torch.nn.Module, adapters: torch.nn.Module | None, device: torch.device) -> Iterator[None]:
    """The layers where they are trained, and back on the processor afterwards."""
    both = [module] if adapters is None else [module, adapters]
    for part in both:
        part.to(device)
    try:
        yield
    finally:
        for part in both:
            part.to("cpu")
            part.eval()
            part.zero_grad(set_to_none=True)
