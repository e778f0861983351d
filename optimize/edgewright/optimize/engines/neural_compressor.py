"""neural-compressor's framework-neutral tuner drives the search over our quantization configurations.

The tuner expands a configuration whose parameters hold several options into single ones, hands them out in the order
of its sampler, keeps the history of trials, and says when the accuracy goal is met. What a configuration means, how it
is quantized and how it is judged is ours: ``evaluate`` does it. Neither torch nor tensorflow is needed.

What is handled here (seen with neural-compressor 3.10):

- Its stop rule is a loss relative to a baseline that must not be 0: our goal is given as the baseline, with no loss
  allowed, and 0 as the number next below it.
- A parameter without a declared type, or whose value is a sequence, silently expands to the wrong number of
  configurations: types are declared, and sequences travel as their place in the space.
- It logs every trial in a table of its own, at a level it sets itself: nothing of it is shown.

Example:
    >>> space = SearchSpace(method=("minmax", "entropy"), chain=((), ("bias-correction",)))
    >>> tuned = tune(space, evaluate, accept=0.98)                           # doctest: +SKIP
    >>> tuned.best.configuration                                             # doctest: +SKIP
"""

from __future__ import annotations

import math
import time
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgewright.bundle.errors import MissingExtraError, import_problem
from edgewright.optimize.engines.baseline import as_baseline
from edgewright.optimize.engines.configuration import Configuration, SearchSpace
from edgewright.optimize.engines.quiet import quiet
from edgewright.optimize.errors import JudgeError, OptimizeError, SpecError
from edgewright.optimize.steps.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgewright.optimize.types import OnStep

__all__ = ["Configuration", "SearchSpace", "Trial", "Tuning", "tune"]

_EXTRA = "neural-compressor"


@dataclass(frozen=True)
class Trial:
    """One configuration that was tried.

    Attributes:
        configuration: What was tried.
        score: What ``evaluate`` gave; higher is better. -inf where it failed.
        seconds: What it took.
        problem: Why it failed, empty where it did not.
    """

    configuration: Configuration
    score: float
    seconds: float
    problem: str = ""


@dataclass(frozen=True)
class Tuning:
    """A finished search.

    Attributes:
        trials: In the order they were made.
        best: The first of those with the highest score.
        accepted: Whether its score reaches the goal.
        stopped: Why the search ended, in words.
        size: How many configurations the space holds.
        tool: The tuner and its version.
    """

    trials: tuple[Trial, ...]
    best: Trial
    accepted: bool
    stopped: str
    size: int
    tool: str


@dataclass(frozen=True)
class _Tuner:
    """What of neural-compressor is used."""

    base_config: Any
    tuning_param: Any
    sequential_sampler: Any
    tuning_config: Any
    init_tuning: Any
    version: str


def tune(
    space: SearchSpace,
    evaluate: Callable[[Configuration], float],
    accept: float,
    *,
    deadline: Deadline | None = None,
    cost: Callable[[Configuration], float] | None = None,
    on_step: OnStep | None = None,
) -> Tuning:
    """Searches until a configuration reaches the goal, time is up, or all have been tried.

    Args:
        space: What may be tried.
        evaluate: Quantizes, judges, and gives a score, higher is better. An ``OptimizeError`` or a score that is not
            a number makes this trial a failed one, and the search goes on.
        accept: The score that is good enough.
        deadline: Asked between trials; at least one is made.
        cost: Cheaper configurations are tried first; None keeps the order of the space.
        on_step: Told about the trials.

    Raises:
        SpecError: The goal is not a finite number.
        JudgeError: Every trial failed.
        MissingExtraError: neural-compressor, or something it needs, is not installed.
    """
    if not math.isfinite(accept):
        msg = f"the accuracy goal must be a finite number, not {accept}"
        raise SpecError(msg)
    tuner = _load()
    deadline = deadline or Deadline()
    with quiet():
        loader, _, monitor = tuner.init_tuning(_tuning_config(tuner, space, cost))
        monitor.set_baseline(as_baseline(accept))
    if len(loader.config_set) != len(space):
        msg = (
            f"{tuner.version} made {len(loader.config_set)} configurations of {len(space)}; install the version of "
            "constraints.txt, or leave --engine out"
        )
        raise JudgeError(msg)
    trials: list[Trial] = []
    stopped = "every configuration was tried"
    for proposed in _quietly(loader):
        if trials and deadline.passed:
            stopped = "the time budget was used up"
            break
        trial = _try(_configuration(space, proposed), evaluate)
        trials.append(trial)
        with quiet():
            monitor.add_trial_result(len(trials), trial.score, proposed)
            met = trial.score >= accept
            stop = monitor.need_stop()
        if on_step is not None:
            on_step(len(trials), len(space))
        if met or stop:
            stopped = "the goal was met" if met else stopped
            break
    best = trials[monitor.get_best_trial_record().trial_index - 1]
    if best.problem:
        msg = f"none of the {len(trials)} configurations could be judged; the first failed: {trials[0].problem}"
        raise JudgeError(msg)
    return Tuning(tuple(trials), best, best.score >= accept, stopped, len(space), tuner.version)


def _try(configuration: Configuration, evaluate: Callable[[Configuration], float]) -> Trial:
    started = time.monotonic()
    try:
        score, problem = float(evaluate(configuration)), ""
        if math.isnan(score):
            problem = "its score is not a number"
    except OptimizeError as error:
        score, problem = -math.inf, str(error)
    return Trial(configuration, -math.inf if problem else score, time.monotonic() - started, problem)


def _load() -> _Tuner:
    try:
        with quiet():
            from neural_compressor.common.base_config import BaseConfig
            from neural_compressor.common.base_tuning import SequentialSampler, TuningConfig, init_tuning
            from neural_compressor.common.tuning_param import TuningParam
            from neural_compressor.common.version import __version__
    except ModuleNotFoundError as error:
        what = f"the engine neural-compressor needs {error.name}, which is not installed"
        raise MissingExtraError(what, _EXTRA) from error
    except ImportError as error:
        raise import_problem(error, "neural_compressor", "the engine neural-compressor", _EXTRA) from error
    version = f"neural-compressor {__version__}"
    return _Tuner(BaseConfig, TuningParam, SequentialSampler, TuningConfig, init_tuning, version)


def _tuning_config(tuner: _Tuner, space: SearchSpace, cost: Callable[[Configuration], float] | None) -> Any:
    config = _config_class(tuner)(
        method=list(space.method),
        per_channel=list(space.per_channel),
        weight_bits=list(space.weight_bits),
        chain=list(range(len(space.chain))),
        keep_float=list(range(len(space.keep_float))),
    )
    sampler = tuner.sequential_sampler if cost is None else _sampler(tuner, space, cost)
    return tuner.tuning_config(config_set=[config], sampler=sampler, tolerable_loss=0.0, max_trials=len(space))


def _config_class(tuner: _Tuner) -> Any:
    """Our configuration as the tuner's: made here, for its base class is there only now."""
    several: Any = typing.List  # noqa: UP006 - the tuner asserts that it is a generic of `typing`

    class EdgewrightConfig(tuner.base_config):  # type: ignore[misc,name-defined]
        """Each parameter is one option, or the list of all options before the tuner expands it."""

        name = "edgewright"
        params_list: ClassVar[Sequence[Any]] = [
            tuner.tuning_param("method", tunable_type=several[str]),
            tuner.tuning_param("per_channel", tunable_type=several[bool]),
            tuner.tuning_param("weight_bits", tunable_type=several[int]),
            tuner.tuning_param("chain", tunable_type=several[int]),
            tuner.tuning_param("keep_float", tunable_type=several[int]),
        ]

        def __init__(
            self,
            *,
            method: Any,
            per_channel: Any,
            weight_bits: Any,
            chain: Any,
            keep_float: Any,
            white_list: Any = None,
        ) -> None:
            super().__init__(white_list=white_list)
            self.method, self.per_channel, self.weight_bits = method, per_channel, weight_bits
            self.chain, self.keep_float = chain, keep_float

        @classmethod
        def get_config_set_for_tuning(cls) -> None:
            """Required of every configuration; the space comes from outside."""

        @classmethod
        def register_supported_configs(cls) -> list[Any]:
            """Required of every configuration; nothing is registered."""
            return []

    return EdgewrightConfig


def _sampler(tuner: _Tuner, space: SearchSpace, cost: Callable[[Configuration], float]) -> Any:

    class CheapFirst(tuner.sequential_sampler):  # type: ignore[misc,name-defined]
        """Hands out the places of the configurations by rising cost."""

        def __iter__(self) -> Iterator[int]:
            prices = [cost(_configuration(space, config)) for config in self.config_source.config_list]
            return iter(sorted(range(len(prices)), key=prices.__getitem__))

    return CheapFirst


def _configuration(space: SearchSpace, proposed: Any) -> Configuration:
    return Configuration(
        method=proposed.method,
        per_channel=proposed.per_channel,
        weight_bits=proposed.weight_bits,
        chain=space.chain[proposed.chain],
        keep_float=space.keep_float[proposed.keep_float],
    )


def _quietly(proposals: Any) -> Iterator[Any]:
    """The tuner's proposals; it speaks only while it is asked for the next one."""
    walk = iter(proposals)
    while True:
        with quiet():
            proposed = next(walk, None)
        if proposed is None:
            return
        yield proposed
