"""The board a model is for: which integers suit it, and what is predicted of its answers there.

Other boards may compute other sums than this machine does. What they would answer is emulated on a few selection
pictures and told in the report, whichever board the model is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.device_profiles.profile import list_profiles, load_profile
from edgewright.optimize.feeds import counted, evenly
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.selection import FidelityJudge
from edgewright.optimize.shipping import another_kind
from edgewright.optimize.targets.advise import advise, candidate_schemes, preferred_scheme
from edgewright.optimize.targets.predict import predict
from edgewright.runtime.machine import describe_machine

if TYPE_CHECKING:
    from edgewright.device_profiles.profile import DeviceProfile
    from edgewright.optimize.chain.effort import Chain
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.types import FeedSource

__all__ = [
    "EMULATED_PICTURES",
    "Target",
    "choose_target",
    "emulated_boards",
    "likely_scheme",
    "predict_boards",
    "schemes_to_emulate",
]

EMULATED_PICTURES = 12
"""Emulation is slow: at most so many selection pictures are used."""


@dataclass(frozen=True, eq=False)
class Target:
    """What the model is made for.

    Attributes:
        profile: The board, None for this machine.
        scheme: The integers that suit it.
        reasons: Why these, in sentences.
    """

    profile: DeviceProfile | None
    scheme: Scheme
    reasons: tuple[str, ...] = ()

    @property
    def foreign(self) -> bool:
        """Whether the board's processor is of another kind than this machine's, so that times taken here say nothing."""
        return self.profile is not None and another_kind(self.profile, describe_machine())


def choose_target(name: str | None, bench: Workbench, chain: Chain, keep_float: frozenset[str] = frozenset()) -> Target:
    """Chooses the integers for a board.

    Args:
        name: Of its profile; None for this machine.
        bench: What steps work with.
        chain: Its rounding passes are what a candidate would get.
        keep_float: Nodes that stay in float whatever is tried.

    Raises:
        ProfileError: There is no such profile.
        JudgeError: A candidate cannot be quantized or emulated.
    """
    if name is None:
        return Target(None, Scheme())
    profile = load_profile(name)

    def make(scheme: Scheme) -> QuantizedGraph:
        ranges = bench.calibrate(bench.float_model, chain.ranges).ranges[chain.ranges[-1]]
        graph = bench.quantize(bench.float_model, ranges, keep_float, scheme)
        for rounding in chain.rounding:
            graph = bench.round(rounding, graph, bench.float_model, scheme)
        return graph

    judge = _few(bench)
    with bench.progress.stage(f"find the integers that suit {name}, by emulating its sums"):
        advice = advise(profile, make, _feeds(bench), judge.losses_of, stop=lambda: bench.deadline.passed)
    return Target(profile, advice.scheme, advice.reasons)


def likely_scheme(name: str | None) -> Scheme:
    """The integers that a board gets unless emulation says otherwise.

    Args:
        name: Of its profile; None for this machine.

    Raises:
        ProfileError: There is no such profile.
    """
    return Scheme() if name is None else preferred_scheme(load_profile(name))


def schemes_to_emulate(name: str | None) -> int:
    """How many schemes ``choose_target`` would emulate at most."""
    profile = None if name is None else load_profile(name)
    return len(candidate_schemes(profile)) if profile is not None and profile.saturates else 0


def predict_boards(graph: QuantizedGraph, bench: Workbench, first: str | None) -> list[dict[str, Any]]:
    """What the boards that compute other sums than this machine would answer.

    Args:
        graph: The INT8 file that is shipped.
        bench: What steps work with.
        first: The board it is for, None for this machine.

    Returns:
        A row for each board whose sums can saturate, and for ``first``.
    """
    names = emulated_boards(first)
    judge = _few(bench)
    rows: list[dict[str, Any]] = []
    for name in names:
        if bench.deadline.passed:
            bench.progress.note(
                f"not emulated for the report, as the time budget was spent: {', '.join(names[len(rows) :])}"
            )
            break
        pictures = min(EMULATED_PICTURES, bench.selection.count)
        with bench.progress.stage(f"emulate the sums of {name}", pictures) as advance:
            feeds = counted(_feeds(bench), advance)
            seen = predict(graph, feeds, load_profile(name), judge.losses_of, bench.threads)
        rows.append(
            {
                "profile": name,
                "saturates": seen.saturates,
                "capable": seen.capable,
                "saturated": seen.saturated,
                "added_loss": seen.added_loss,
                "loss": None if seen.exact_losses is None else float(seen.exact_losses.mean()),
                "pictures": seen.pictures,
                "sentence": seen.sentence,
            }
        )
    return rows


def emulated_boards(first: str | None) -> list[str]:
    """Names of the profiles that ``predict_boards`` has rows for.

    Args:
        first: The board a model is for, None for this machine.
    """
    names = [name for name in list_profiles() if name == first or load_profile(name).saturates]
    # A profile of the user's own is named by its path.
    return names if first is None or first in names else [first, *names]


def _feeds(bench: Workbench) -> FeedSource:
    return evenly(bench.selection.feeds, bench.selection.count, EMULATED_PICTURES)


def _few(bench: Workbench) -> FidelityJudge:
    return FidelityJudge(bench.spec, bench.float_model, _feeds(bench), threads=bench.threads)
