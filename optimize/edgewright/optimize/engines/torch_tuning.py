"""neural-compressor's torch flow on one network: export, prepare, calibrate, convert, and its tuner over candidates.

Of the library this module knows everything, the modules around it nothing.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import BrokenPackageError, MissingExtraError
from edgewright.optimize.engines.baseline import as_baseline
from edgewright.optimize.engines.quiet import quiet
from edgewright.optimize.errors import ModelError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.spec import SourceModel
    from edgewright.optimize.types import Feeds, FeedSource

__all__ = ["Flow", "Task", "TorchCandidate", "TorchGoal", "TorchTrial", "load_flow", "torch_threads", "tune_torch"]

_EXTRA = "neural-compressor,torch"
_ALGORITHMS = ("minmax", "kl")


@dataclass(frozen=True)
class TorchCandidate:
    """One of neural-compressor's configurations.

    Attributes:
        algorithm: How it sets activation scales: ``minmax`` (a moving average of extremes) or ``kl`` (a histogram).
        keep_float: Names of modules that it is told to leave in float, such as ``classifier.1``.
    """

    algorithm: str = "minmax"
    keep_float: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what the flow does not know.

        Raises:
            SpecError: Another algorithm.
        """
        if self.algorithm not in _ALGORITHMS:
            msg = f"neural-compressor's torch flow sets scales by {' or '.join(_ALGORITHMS)}, not {self.algorithm!r}"
            raise SpecError(msg)

    def __str__(self) -> str:
        """Short, for notes."""
        return self.algorithm + (f" without {', '.join(self.keep_float)}" if self.keep_float else "")


@dataclass(frozen=True)
class TorchGoal:
    """When tuning is done.

    Attributes:
        evaluate: Given something that runs one picture through a converted network (outputs by name), a score; higher
            is better. None takes the mean cosine between its outputs and the float network's on a few pictures.
        accept: The score that is good enough; infinite tries every candidate.
    """

    evaluate: Callable[[Callable[[Feeds], dict[str, NDArray[Any]]]], float] | None = None
    accept: float = float("inf")


@dataclass(frozen=True)
class TorchTrial:
    """One candidate that was tried, with its score."""

    candidate: TorchCandidate
    score: float


@dataclass(frozen=True)
class Flow:
    """What of neural-compressor is used."""

    export: Any
    config: Any
    tuning_config: Any
    autotune: Any
    version: str


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be tuned.

    Attributes:
        source: The network; it is not changed.
        feeds: Pictures to calibrate on.
        few: Some of them, for the default score and the export.
        candidates: What is tried, in order.
        goal: When to stop.
    """

    source: SourceModel
    feeds: FeedSource
    few: Sequence[Feeds]
    candidates: Sequence[TorchCandidate]
    goal: TorchGoal


def load_flow() -> Flow:
    """Imports the flow.

    Raises:
        MissingExtraError: neural-compressor, torch or torchao is not installed.
        BrokenPackageError: They are, and do not fit each other.
    """
    try:
        with quiet():
            # Imported first, for what it lacks is otherwise only noticed in the middle of the work.
            import neural_compressor.torch.algorithms.pt2e_quant.core  # noqa: F401
            from neural_compressor.common.version import __version__
            from neural_compressor.torch.export import export
            from neural_compressor.torch.quantization import StaticQuantConfig, TuningConfig, autotune
    except ModuleNotFoundError as error:
        missing = error.name or "torchao"  # which neural-compressor misses in words of its own
        what = f"neural-compressor's torch flow needs {missing}, which is not installed"
        raise MissingExtraError(what, _EXTRA) from error
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        # What another torch than the one it was made for, or a library that does not load, looks like.
        reason = " ".join(str(error).split())[:300]
        msg = f"neural-compressor's torch flow cannot be loaded: {reason}; install the versions of constraints.txt"
        raise BrokenPackageError(msg) from error
    return Flow(export, StaticQuantConfig, TuningConfig, autotune, f"neural-compressor {__version__}")


def tune_torch(flow: Flow, task: Task) -> tuple[Any, list[TorchTrial]]:
    """Quantizes the network by each candidate until the goal is met.

    Args:
        flow: From ``load_flow``.
        task: What is to be tuned.

    Returns:
        The converted network of the best candidate (the first of equals), and all trials in order.

    Raises:
        ModelError: The network cannot be exported or quantized this way.
        SpecError: A candidate names a module that the network does not have.
    """
    import torch

    judge = _Judge(task)
    configs = [_config(flow, task.source, candidate) for candidate in task.candidates]
    example = torch.from_numpy(np.ascontiguousarray(task.few[0][task.source.input_name]))

    def calibrate(network: Any) -> None:
        for feed in task.feeds():
            _run(network, task.source, feed)

    try:
        with quiet():
            exported = flow.export(task.source.module.eval(), (example,))
            tuning = flow.tuning_config(config_set=configs, tolerable_loss=0.0, max_trials=len(configs))
            network = flow.autotune(exported, tuning, eval_fn=judge, run_fn=calibrate)
    except Exception as error:
        # The flow traces the user's network and fails in a dozen ways; what judging raised is not the flow's.
        if judge.failed is not None:
            raise judge.failed from None
        reason = " ".join(str(error).split())[:400]
        msg = f"neural-compressor's torch flow cannot quantize this network: {type(error).__name__}: {reason}"
        raise ModelError(msg) from error
    return network, judge.trials


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """PyTorch works with so many threads until the block ends."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _config(flow: Flow, source: SourceModel, candidate: TorchCandidate) -> Any:
    config = flow.config(act_algo=candidate.algorithm)
    modules = dict(source.module.named_modules())
    for name in candidate.keep_float:
        if name not in modules:
            msg = f"the network has no module {name!r} to be left in float; it has {', '.join(list(modules)[1:8])}, ..."
            raise SpecError(msg)
        config.set_local(name, flow.config(w_dtype="fp32", act_dtype="fp32"))
    return config


class _Judge:
    """What the tuner calls: once with the float network, for the baseline, then with each candidate's in turn.

    What it answers for the float network is the goal, for the tuner looks for a score that is no worse than that.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._wanted: list[dict[str, NDArray[Any]]] | None = None
        self.trials: list[TorchTrial] = []
        self.failed: Exception | None = None

    def __call__(self, network: Any) -> float:
        try:
            return self._judge(network)
        except Exception as error:
            # Kept for the caller: whoever evaluates may raise anything, and it is not the tuner's fault.
            self.failed = error
            raise

    def _judge(self, network: Any) -> float:
        def run(feed: Feeds) -> dict[str, NDArray[Any]]:
            return _run(network, self._task.source, feed)

        goal = self._task.goal
        if self._wanted is None:
            self._wanted = [run(feed) for feed in self._task.few]
            return as_baseline(goal.accept)
        if goal.evaluate is not None:
            score = float(goal.evaluate(run))
        else:
            score = _mean_cosine(self._wanted, [run(feed) for feed in self._task.few])
        score = -np.inf if np.isnan(score) else score
        self.trials.append(TorchTrial(self._task.candidates[len(self.trials)], score))
        return score


def _run(network: Any, source: SourceModel, feed: Feeds) -> dict[str, NDArray[Any]]:
    import torch

    with torch.no_grad():
        made = network(torch.from_numpy(np.ascontiguousarray(feed[source.input_name])))
    outputs = made if isinstance(made, (tuple, list)) else [made]
    return {name: value.numpy() for name, value in zip(source.output_names, outputs, strict=True)}


def _mean_cosine(wanted: Sequence[dict[str, NDArray[Any]]], found: Sequence[dict[str, NDArray[Any]]]) -> float:
    cosines = []
    for one, other in zip(wanted, found, strict=True):
        for name, value in one.items():
            a, b = value.astype(np.float64).ravel(), other[name].astype(np.float64).ravel()
            length = np.linalg.norm(a) * np.linalg.norm(b)
            cosines.append(float(a @ b / length) if length else float(np.array_equal(a, b)))
    return float(np.mean(cosines))
