"""Where a training stands: all that the next step depends on, in memory and in a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import IntegrityError
from edgewright.optimize.errors import TrainingError
from edgewright.optimize.training.average import Average
from edgewright.optimize.training.optimizers import load_state, open_optimizer, state_of
from edgewright.optimize.training.precision import Precision
from edgewright.optimize.training.settings import OptimizerName
from edgewright.optimize.training.tensors import copies, first_not_finite, fits, put_back, size_of, tensors_of
from edgewright.optimize.training.trained import Look

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from edgewright.optimize.training.checkpoint import Checkpoint, Parts
    from edgewright.optimize.training.settings import TrainSettings

__all__ = ["State"]


class State:
    """Where a training stands.

    Attributes:
        step: Steps done.
        history: Of every look.
        best_metric: The best so far; None before the first.
        kept: The best weights so far; before any metric, the last that were known to be good.
        kept_step: Of those.
        sums: Losses and their parts since the last look, summed up by name; ``None`` stands for the loss itself.
        smooth: Running mean of the loss, for people.
        stale: Looks in a row without a better metric.
        seconds: Spent on training, over all runs that led here.
        skipped: Steps in a row that mixed precision skipped.
        torn: Whether it is amid something that a checkpoint must not hold, such as a step.
    """

    def __init__(
        self, module: torch.nn.Module, adapters: torch.nn.Module | None, settings: TrainSettings, device: torch.device
    ) -> None:
        """At the first step, with the module where it is trained.

        Args:
            module: What is trained.
            adapters: What the objective learns beside it.
            settings: How.
            device: Where.

        Raises:
            TrainingError: There is nothing to train, or the weights are no numbers.
        """
        self.module, self.adapters, self._settings = module, adapters, settings
        both = [*module.parameters(), *([] if adapters is None else adapters.parameters())]
        self.parameters = [parameter for parameter in both if parameter.requires_grad]
        if not any(parameter.requires_grad for parameter in module.parameters()):
            msg = "there is nothing to train: no parameter of the module requires a gradient"
            raise TrainingError(msg)
        self.optimizer = open_optimizer(settings, self.parameters)
        self.precision = Precision(settings, device)
        self.average = Average(module, settings.ema) if settings.ema else None
        self.step = 0
        self.history: list[Look] = []
        self.best_metric: float | None = None
        self.kept = copies(tensors_of(module))
        self.kept_step = 0
        self.sums: dict[str | None, float] = {}
        self.smooth: float | None = None
        self.stale = self.skipped = 0
        self.seconds = 0.0
        self.torn = False
        if bad := self.not_finite():
            msg = f"{bad} holds values that are not finite before the training begins; load other weights"
            raise TrainingError(msg)

    def not_finite(self) -> str | None:
        """Name of the first weight that is not finite, None without any. Buffers may be: observers begin so."""
        trained = {name: value for name, value in self.module.named_parameters() if value.requires_grad}
        return first_not_finite(trained)

    def keep(self) -> None:
        """Remembers the weights as they are, to fall back to."""
        self.kept, self.kept_step = copies(tensors_of(self.module)), self.step

    def expected_bytes(self) -> int:
        """Of one checkpoint, about, once the optimizer has a state."""
        trained = size_of(self.parameters)
        states = 2 if self._settings.optimizer is OptimizerName.ADAMW else 1
        average = [] if self.average is None else self.average.values.values()
        adapters = {} if self.adapters is None else tensors_of(self.adapters)
        return 2 * size_of(self.kept.values()) + size_of(adapters.values()) + states * trained + size_of(average)

    def parts(self, *, ended: bool = False) -> Parts:
        """The tensors of a checkpoint; those that are the result only, for a training that has ended."""
        parts = {"module": tensors_of(self.module)}
        if self.adapters is not None:
            parts["adapters"] = tensors_of(self.adapters)
        if ended:
            return parts
        parts["optimizer"] = state_of(self.optimizer)
        if self.best_metric is not None:
            parts["best"] = self.kept
        if self.average is not None:
            parts["average"] = self.average.values
        return parts

    def to_json(self) -> dict[str, Any]:
        """All the rest of a checkpoint."""
        return {
            "history": [look.to_json() for look in self.history],
            "best_metric": self.best_metric,
            "kept_step": self.kept_step,
            "sums": [[name, value] for name, value in self.sums.items()],
            "smooth": self.smooth,
            "stale": self.stale,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "averaged": 0 if self.average is None else self.average.count,
            "scaler": self.precision.scaler.state_dict(),
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from a checkpoint.

        Raises:
            IntegrityError: It does not fit, and nothing was changed.
            KeyError: Likewise, as whatever reading malformed values raises.
            TypeError: Likewise.
            ValueError: Likewise.
        """
        parts, state = checkpoint.parts, checkpoint.state
        self._check(parts, ended=checkpoint.ended)
        history = [Look.from_json(look) for look in state["history"]]
        best = None if state["best_metric"] is None else float(state["best_metric"])
        smooth = None if state["smooth"] is None else float(state["smooth"])
        if not checkpoint.ended:
            load_state(self.optimizer, parts["optimizer"], self._settings.optimizer)
            self._restore_rest(parts, state)
        put_back(parts["module"], self.module)
        if self.adapters is not None:
            put_back(parts["adapters"], self.adapters)
        self.step, self.history, self.best_metric, self.smooth = checkpoint.step, history, best, smooth
        self.kept = copies(parts["best"] if "best" in parts else parts["module"])
        self.kept_step = int(state["kept_step"]) if "best" in parts else checkpoint.step
        self.stale, self.skipped, self.seconds = int(state["stale"]), int(state["skipped"]), float(state["seconds"])

    def _restore_rest(self, parts: Parts, state: Mapping[str, Any]) -> None:
        self.sums = {name if name is None else str(name): float(value) for name, value in state["sums"]}
        if self.average is not None:
            self.average.restore(parts["average"], int(state["averaged"]))
        if state["scaler"]:
            self.precision.scaler.load_state_dict(dict(state["scaler"]))

    def _check(self, parts: Parts, *, ended: bool) -> None:
        wanted = {"module"} if ended else {"module", "optimizer"}
        wanted |= set() if self.adapters is None else {"adapters"}
        wanted |= {"average"} if self.average is not None and not ended else set()
        missing = sorted(wanted - set(parts))
        problem = f"it lacks {missing[0]}" if missing else fits(parts["module"], self.module)
        if not problem and "best" in parts:
            problem = fits(parts["best"], self.module)
        if not problem and self.adapters is not None:
            problem = fits(parts["adapters"], self.adapters)
        if not problem and "average" in wanted and self.average is not None:
            kept, own = parts["average"], self.average.values
            if set(kept) != set(own) or any(kept[name].shape != own[name].shape for name in own):
                problem = "its mean of weights is of another network"
        if problem:
            raise IntegrityError(problem)
