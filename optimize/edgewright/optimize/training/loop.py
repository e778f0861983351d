"""The steps of a training, from wherever it stands to its end."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING

from edgewright.bundle.errors import OutputError
from edgewright.optimize.training.schedule import looks_at, rate_at
from edgewright.optimize.training.step import Stepper
from edgewright.optimize.training.task import settled
from edgewright.optimize.training.tensors import copies, put_back, tensors_of
from edgewright.optimize.training.trained import Look

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from edgewright.optimize.progress import Advance, Progress
    from edgewright.optimize.training.checkpoint import CheckpointFolder
    from edgewright.optimize.training.interrupts import Interrupts
    from edgewright.optimize.training.settings import TrainSettings
    from edgewright.optimize.training.state import State
    from edgewright.optimize.training.task import Task

__all__ = ["Loop"]

_SPEAK_EVERY_S = 0.2


class Loop:
    """Runs the steps.

    Attributes:
        steps: Of the whole training.
        notes: What the user should know.
        saved_step: Step of the newest checkpoint, None without any.
    """

    def __init__(
        self,
        settings: TrainSettings,
        task: Task,
        state: State,
        *,
        device: torch.device,
        store: CheckpointFolder | None,
        progress: Progress,
        interrupts: Interrupts,
    ) -> None:
        """Does no step yet.

        Args:
            settings: How.
            task: What.
            state: Where it stands.
            device: Where it is trained.
            store: For checkpoints, None without.
            progress: Where it is told how far it is.
            interrupts: Entered.
        """
        self._settings, self._task, self._state = settings, task, state
        self._store, self._progress, self._interrupts = store, progress, interrupts
        self._stepper = Stepper(settings, task, state, device)
        self.steps = self._stepper.steps
        self._looks = looks_at(settings, self.steps)
        self._clock = time.monotonic()
        self.notes: list[str] = []
        self.saved_step: int | None = None
        self._saved_looks = 0

    def run(self) -> str:
        """All steps that are left, and the looks.

        Returns:
            Why it ended, in words.

        Raises:
            TrainingError: The loss, its gradient or the weights are not finite; the last good weights are back.
            KeyboardInterrupt: After a checkpoint was written.
        """
        state, self._clock = self._state, time.monotonic()
        spoken = written = self._clock
        self._stepper.train_mode()
        try:
            with self._progress.stage(self._task.title, self.steps) as advance:
                advance(state.step, self.steps, self._live())
                while True:
                    if state.step in self._looks and not self._looked():
                        self._look()
                    now = time.monotonic()
                    if (stopped := self._reason()) or now - spoken >= _SPEAK_EVERY_S:
                        self._tell(advance)
                        spoken = now
                    if stopped:
                        return stopped
                    if state.step and now - written >= 60.0 * self._settings.checkpoint_minutes:
                        self.save()
                        written = time.monotonic()
                    with self._interrupts.hold():
                        self._stepper.step()
        except (KeyboardInterrupt, SystemExit):  # what handlers of signals raise
            self._stop_for_now()
            raise

    def finish(self, stopped: str) -> None:
        """Leaves the best weights in the module, and the result on disk.

        Args:
            stopped: Why it ended.
        """
        state = self._state
        if state.best_metric is not None:
            put_back(state.kept, state.module)
        elif state.average is not None:
            self._stepper.show_average()
        if self._store is not None:
            with self._saving(), self._interrupts.hold():
                self._store.save(
                    state.step, {**state.to_json(), "stopped": stopped}, state.parts(ended=True), ended=True
                )

    def save(self) -> None:
        """Writes a checkpoint, if there is a place for it; where it cannot be written, that is said once."""
        state = self._state
        if self._store is None or (self.saved_step, self._saved_looks) == (state.step, len(state.history)):
            return
        self._stepper.check_weights()
        self._count_time()
        with self._saving(), self._interrupts.hold():
            self._store.save(state.step, state.to_json(), state.parts())
            self.saved_step, self._saved_looks = state.step, len(state.history)
            if state.best_metric is None:
                state.keep()

    def note(self, text: str) -> None:
        """Tells the user something, and remembers it."""
        self.notes.append(text)
        self._progress.note(text)

    def _looked(self) -> bool:
        history = self._state.history
        return bool(history) and history[-1].step == self._state.step

    def _look(self) -> None:
        state, evaluate = self._state, self._task.evaluate
        self._stepper.check_weights()
        if evaluate is None:
            with self._interrupts.hold():
                self._record(None)
                state.keep()
            return
        with self._shown():
            metric = float(evaluate(state.module))
            with self._interrupts.hold():
                self._record(metric)
                if not self._counts():
                    if state.best_metric is None:
                        state.keep()
                    return
                better = not math.isnan(metric) and (state.best_metric is None or metric > state.best_metric)
                state.stale = 0 if better else state.stale + 1
                if better:
                    state.best_metric = metric
                    state.keep()

    def _counts(self) -> bool:
        """Whether the weights as they are may be the result: not while, say, zeros are still to come."""
        return settled(self._task.hooks, self._state.step, self.steps)

    def _record(self, metric: float | None) -> None:
        state = self._state
        since = state.step - (state.history[-1].step if state.history else 0)
        means = {name: value / max(1, since) for name, value in state.sums.items()}
        loss = means.pop(None, math.nan)
        parts = {name: value for name, value in means.items() if name is not None}
        self._count_time()
        rate = rate_at(self._settings, state.step, self.steps)
        state.history.append(Look(state.step, loss, parts, metric, rate, state.seconds))
        state.sums = {}

    @contextlib.contextmanager
    def _shown(self) -> Iterator[None]:
        """The module as it would be exported: its mean weights where there are any, and not training."""
        import torch

        module = self._state.module
        self._state.torn = True
        raw = copies(tensors_of(module)) if self._state.average is not None else {}
        try:
            self._stepper.show_average()
            module.eval()
            with torch.no_grad():
                yield
        finally:
            with self._interrupts.hold():
                put_back(raw, module)
                self._stepper.train_mode()
                self._state.torn = False

    def _reason(self) -> str | None:
        """Why it is over, None when it is not: a function of where it stands, so that it is so after a resume too."""
        state, task, settings = self._state, self._task, self._settings
        metric = state.history[-1].metric if self._looked() and self._counts() else None
        where = f"at step {state.step} of {self.steps}"
        if metric is not None and task.enough is not None and task.enough(metric):
            return f"good enough {where}: metric {metric:.4g}"
        if state.step >= self.steps:
            return f"all {self.steps} steps done"
        if metric is not None and settings.patience is not None and state.stale >= settings.patience:
            return f"no better metric in {state.stale} looks, {where}"
        return None

    def _stop_for_now(self) -> None:
        state = self._state
        with self._interrupts.hold():
            if not self._state.torn:
                self.save()
            if self.saved_step is None:
                then = "there is no checkpoint, the same command begins anew"
            else:
                where = "there" if self.saved_step == state.step else f"step {self.saved_step}"
                then = f"the same command goes on from {where}"
            self.note(f"{self._task.title}: stopped at step {state.step} of {self.steps}; {then}")

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        try:
            yield
        except OutputError as error:
            before = "there is none" if self.saved_step is None else f"that of step {self.saved_step} is kept"
            text = f"{self._task.title}: a checkpoint was not written ({error}); {before}, and the training goes on"
            if not any("a checkpoint was not written" in note for note in self.notes):
                self.note(text)

    def _tell(self, advance: Advance) -> None:
        advance(self._state.step, self.steps, self._live())

    def _live(self) -> str:
        state = self._state
        loss = "" if state.smooth is None else f"loss {state.smooth:.4g}"
        metrics = [look.metric for look in state.history if look.metric is not None]
        return f"{loss}, metric {metrics[-1]:.4g}" if metrics else loss

    def _count_time(self) -> None:
        now = time.monotonic()
        self._state.seconds += now - self._clock
        self._clock = now
