"""The board a model is for: which integers suit it, and what is predicted of its answers there.

Other boards may compute other sums than this machine does. What they would answer is emulated on a few selection
pictures and told in the report, whichever board the model is for.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.device_profiles.profile import list_profiles, load_profile
from edgewright.optimize.feeds import counted, evenly
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.selection import FidelityJudge
from edgewright.optimize.targets.advise import advise
from edgewright.optimize.targets.predict import predict

if TYPE_CHECKING:
    from edgewright.device_profiles.profile import DeviceProfile
    from edgewright.optimize.chain.effort import Chain
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.types import FeedSource

__all__ = ["Target", "choose_target", "predict_boards"]

_PICTURES = 12


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
        """Whether the board's architecture is another than this machine's, so that times taken here say nothing."""
        wanted = None if self.profile is None else self.profile.architecture
        return wanted is not None and wanted.value != platform.machine()


def choose_target(name: str | None, bench: Workbench, chain: Chain) -> Target:
    """Chooses the integers for a board.

    Args:
        name: Of its profile; None for this machine.
        bench: What steps work with.
        chain: Its rounding passes are what a candidate would get.

    Raises:
        ProfileError: There is no such profile.
        JudgeError: A candidate cannot be quantized or emulated.
    """
    if name is None:
        return Target(None, Scheme())
    profile = load_profile(name)

    def make(scheme: Scheme) -> QuantizedGraph:
        ranges = bench.calibrate(bench.float_model, chain.ranges).ranges[chain.ranges[-1]]
        graph = bench.quantize(bench.float_model, ranges, scheme=scheme)
        for rounding in chain.rounding:
            graph = bench.round(rounding, graph, bench.float_model, scheme)
        return graph

    judge = _few(bench)
    with bench.progress.stage(f"find the integers that suit {name}, by emulating its sums"):
        advice = advise(profile, make, _feeds(bench), judge.losses_of)
    return Target(profile, advice.scheme, advice.reasons)


def predict_boards(graph: QuantizedGraph, bench: Workbench, first: str | None) -> list[dict[str, Any]]:
    """What the boards that compute other sums than this machine would answer.

    Args:
        graph: The INT8 file that is shipped.
        bench: What steps work with.
        first: The board it is for, None for this machine.

    Returns:
        A row for each board whose sums can saturate, and for ``first``.
    """
    names = [name for name in list_profiles() if name == first or load_profile(name).saturates]
    judge = _few(bench)
    rows = []
    for name in names:
        pictures = min(_PICTURES, bench.selection.count)
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


def _feeds(bench: Workbench) -> FeedSource:
    """A few pictures: emulation is slow."""
    return evenly(bench.selection.feeds, bench.selection.count, _PICTURES)


def _few(bench: Workbench) -> FidelityJudge:
    return FidelityJudge(bench.spec, bench.float_model, _feeds(bench), threads=bench.threads)
