"""One step of a training: pictures, loss, gradient, new weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgewright.optimize.errors import TrainingError
from edgewright.optimize.training.draws import Draws
from edgewright.optimize.training.optimizers import set_rate
from edgewright.optimize.training.schedule import rate_at, steps_of
from edgewright.optimize.training.task import check_loss, not_finite
from edgewright.optimize.training.tensors import put_back

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from edgewright.optimize.training.settings import TrainSettings
    from edgewright.optimize.training.state import State
    from edgewright.optimize.training.task import Task

__all__ = ["Stepper"]

_SMOOTH = 0.95  # of the running mean of the loss that people see
_MOST_SKIPPED = 200  # steps in a row; a scaler that halves its scale each time has long reached nothing by then


class Stepper:
    """Takes one step after another.

    Attributes:
        steps: Of the whole training.
    """

    def __init__(self, settings: TrainSettings, task: Task, state: State, device: torch.device) -> None:
        """Takes none yet.

        Args:
            settings: How.
            task: What.
            state: Where it stands.
            device: Where it is trained.
        """
        self._settings, self._task, self._state, self._device = settings, task, state, device
        pictures = len(task.training_set)
        self.steps = steps_of(settings, pictures)
        self._draws = Draws(settings.seed, pictures, settings.batch)

    def step(self) -> None:
        """Takes one step.

        Raises:
            TrainingError: The loss or its gradient is not finite; the last good weights are back.
        """
        import torch

        state, task, step = self._state, self._task, self._state.step + 1
        state.torn = True
        set_rate(state.optimizer, rate_at(self._settings, step, self.steps))
        self._draws.seed_torch(step, self._device)
        batch = task.training_set.batch(self._draws.rows(step), self._draws.distortions(step)).to(self._device)
        state.optimizer.zero_grad(set_to_none=True)
        scaler = state.precision.scaler
        with state.precision.forward():
            loss = task.objective(state.module, batch)
        check_loss(loss, task.title)
        scaler.scale(loss.total).backward()  # type: ignore[no-untyped-call]  # a tensor's method
        scaler.unscale_(state.optimizer)
        gradients = [parameter.grad for parameter in state.parameters if parameter.grad is not None]
        if not gradients:
            msg = f"{task.title}: no gradient reached any weight; the objective must run the module it is given"
            raise TrainingError(msg, step=step)
        norm = torch.nn.utils.get_total_norm(gradients)
        # The only wait for the device in a step: both numbers at once.
        total, length = torch.stack([loss.total.detach().float(), norm.float()]).tolist()
        self._check_numbers(total, length, loss.parts)
        if self._settings.clip and self._settings.clip < length < math.inf:
            torch.nn.utils.clip_grads_with_norm_(state.parameters, self._settings.clip, norm)
        scaler.step(state.optimizer)
        scaler.update()
        for hook in task.hooks:
            hook(state.module, step, self.steps)
        if state.average is not None:
            state.average.follow(state.module)
        self._count(step, total, loss.parts)
        state.torn = False

    def _count(self, step: int, total: float, parts: Mapping[str, float]) -> None:
        state = self._state
        state.step = step
        state.smooth = total if state.smooth is None else _SMOOTH * state.smooth + (1.0 - _SMOOTH) * total
        for name, value in ((None, total), *parts.items()):
            state.sums[name] = state.sums.get(name, 0.0) + float(value)

    def _check_numbers(self, total: float, length: float, parts: Mapping[str, float]) -> None:
        state, title = self._state, self._task.title
        if not math.isfinite(total):
            self._fail(f"{title}: the loss is {total}", parts)
        state.skipped = 0 if math.isfinite(length) else state.skipped + 1
        if not state.skipped:
            return
        if not state.precision.scaler.is_enabled():
            self._fail(f"{title}: the gradient is not finite, first in {self._bad_gradient()}", parts)
        if state.skipped > _MOST_SKIPPED:
            self._fail(f"{title}: no gradient was finite in mixed precision for {_MOST_SKIPPED} steps", parts)

    def _bad_gradient(self) -> str:
        import torch

        module, adapters = self._state.module, self._state.adapters
        named = [*module.named_parameters(), *([] if adapters is None else adapters.named_parameters("adapters"))]
        for name, parameter in named:
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                return name
        return "the sum over all layers"

    def check_weights(self) -> None:
        """Makes sure that the weights may be kept.

        Raises:
            TrainingError: One is not finite; the last good weights are back.
        """
        if bad := self._state.not_finite():
            self._fail(f"{self._task.title}: {bad} is not finite", {})

    def _fail(self, what: str, parts: Mapping[str, float]) -> None:
        state = self._state
        step = state.step + 1 if state.torn else state.step
        put_back(state.kept, state.module)
        raise not_finite(what, parts, self._settings, (step, self.steps, state.kept_step))

    def show_average(self) -> None:
        """Puts the mean weights into the module, where there are any."""
        state = self._state
        if state.average is None or not state.average.count:
            return
        put_back(state.average.values, state.module)
        for hook in self._task.hooks:  # what they keep true of the weights, such as zeros, is true of the mean too
            hook(state.module, state.step, self.steps)

    def train_mode(self) -> None:
        """Makes the layers behave as they do in training."""
        from torch.nn.modules.batchnorm import _NormBase

        self._state.module.train()
        if self._state.adapters is not None:
            self._state.adapters.train()
        if not self._settings.average_norms:
            for part in self._state.module.modules():
                if isinstance(part, _NormBase):
                    part.eval()
