"""How many channels each group keeps, so that the whole network comes down to a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.errors import PassError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.pruning.importance import Scores

__all__ = ["Plan", "by_ranking", "by_sensitivity", "uniform"]

Counts = dict[str, int]


@dataclass(frozen=True, eq=False)
class Plan:
    """What may be chosen, and what must come out.

    Attributes:
        names: Of the groups, in the order of ``cost``.
        original: Channels of each as the network came.
        allowed: How many may remain, ascending, up to how many there are now.
        cost: Channels of all groups to what is to be kept below the budget.
        budget: The most it may cost.
        what: What is counted, for messages.
    """

    names: tuple[str, ...]
    original: Mapping[str, int]
    allowed: Mapping[str, tuple[int, ...]]
    cost: Callable[[Sequence[int]], float]
    budget: float
    what: str

    def price(self, counts: Mapping[str, int]) -> float:
        """The cost of a choice."""
        return self.cost([counts[name] for name in self.names])

    @property
    def least(self) -> Counts:
        """The smallest network that may be made."""
        return {name: self.allowed[name][0] for name in self.names}

    def at_least(self, wanted: Mapping[str, float]) -> Counts:
        """Each count rounded up to what is allowed."""
        return {
            name: next((count for count in self.allowed[name] if count >= wanted[name] - 1e-9), self.allowed[name][-1])
            for name in self.names
        }

    def check(self) -> None:
        """Whether the budget can be met at all.

        Raises:
            PassError: Saying the least that can be had.
        """
        price, whole = self.price(self.least), self.cost([self.original[name] for name in self.names])
        if price > self.budget:
            msg = (
                f"{self.what} cannot come down to {self.budget / whole:.1%} of the whole: with every layer pruned as far "
                f"as round-to, most and keep allow, {price / whole:.1%} remains, and that is the least that can be had"
            )
            raise PassError(msg)


def uniform(plan: Plan) -> Counts:
    """Every group keeps the same share of the channels it came with.

    Raises:
        PassError: The budget cannot be met.
    """
    return _search(plan, lambda share: {name: plan.original[name] * share for name in plan.names})


def by_ranking(plan: Plan, scores: Scores, widths: Mapping[str, int]) -> Counts:
    """One ranking over all groups: what scores below one line goes.

    Args:
        plan: The budget.
        scores: Of units.
        widths: Channels of a unit, by group.

    Raises:
        PassError: The budget cannot be met.
    """
    ranked = np.sort(np.concatenate([scores[name] / widths[name] for name in plan.names]))

    def wanted(share: float) -> dict[str, float]:
        place = round((1.0 - share) * len(ranked))
        line = ranked[place] if place < len(ranked) else np.inf
        return {
            name: float((scores[name] / widths[name] >= line).sum() * widths[name]) if place else float("inf")
            for name in plan.names
        }

    return _search(plan, wanted)


def _search(plan: Plan, wanted: Callable[[float], Mapping[str, float]]) -> Counts:
    """The largest share whose counts fit the budget, and then as much of what rounding took as still fits."""
    plan.check()
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if plan.price(plan.at_least(wanted(middle))) <= plan.budget:
            low = middle
        else:
            high = middle
    counts = plan.at_least(wanted(low))
    above = plan.at_least(wanted(high))
    for name in sorted(plan.names, key=lambda name: (counts[name] - wanted(high)[name], plan.names.index(name))):
        for count in (count for count in plan.allowed[name] if counts[name] < count <= above[name]):
            if plan.price({**counts, name: count}) <= plan.budget:
                counts[name] = count
    return counts


def by_sensitivity(plan: Plan, curves: Mapping[str, Sequence[tuple[float, float]]]) -> Counts:
    """Takes the step that costs least loss for what it saves, until the budget is met.

    Args:
        plan: The budget.
        curves: By group: points (share of the channels it has now that goes, rise of the loss).

    Raises:
        PassError: The budget cannot be met.
    """
    plan.check()
    now = {name: plan.allowed[name][-1] for name in plan.names}
    losses = {name: _curve(plan.allowed[name], curves[name]) for name in plan.names}
    place = {name: len(plan.allowed[name]) - 1 for name in plan.names}
    price = plan.price(now)
    while price > plan.budget:
        best: tuple[float, str, float] | None = None
        for name in plan.names:
            if place[name] == 0:
                continue
            trial = plan.price({**now, name: plan.allowed[name][place[name] - 1]})
            rise = losses[name][place[name] - 1] - losses[name][place[name]]
            ratio = rise / max(price - trial, 1e-9)
            if best is None or ratio < best[0]:
                best = (ratio, name, trial)
        if best is None:  # cannot be: check() found a choice that fits
            break
        _, name, price = best
        place[name] -= 1
        now[name] = plan.allowed[name][place[name]]
    return _restored(plan, now, losses)


def _restored(plan: Plan, counts: Counts, losses: Mapping[str, NDArray[np.float64]]) -> Counts:
    """Gives back steps for which there is still room, the dearest first."""
    places = {name: plan.allowed[name].index(counts[name]) for name in plan.names}
    while True:
        options = []
        for name in plan.names:
            place = places[name]
            if place + 1 < len(plan.allowed[name]):
                trial = {**counts, name: plan.allowed[name][place + 1]}
                if plan.price(trial) <= plan.budget:
                    options.append((losses[name][place] - losses[name][place + 1], name))
        if not options:
            return counts
        name = max(options)[1]
        places[name] += 1
        counts = {**counts, name: plan.allowed[name][places[name]]}


def _curve(allowed: Sequence[int], points: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """The rise of the loss at each allowed count: the lower convex hull of what was measured."""
    size = allowed[-1]
    hull: list[tuple[float, float]] = []
    for share, loss in sorted({(0.0, 0.0), *((share, max(loss, 0.0)) for share, loss in points)}):
        while len(hull) > 1 and _bends_down(hull[-2], hull[-1], (share, loss)):
            hull.pop()
        hull.append((share, loss))
    gone = [1.0 - count / size for count in allowed]
    shares, losses = [point[0] for point in hull], [point[1] for point in hull]
    # A sliver for every channel, so that among steps that cost nothing the one that saves most comes first.
    scale = 1e-9 * (max(losses) or 1.0)
    slope = (losses[-1] - losses[-2]) / max(shares[-1] - shares[-2], 1e-9) if len(hull) > 1 else 0.0
    beyond = np.maximum(np.asarray(gone) - shares[-1], 0.0) * slope
    return np.asarray(np.interp(gone, shares, losses) + beyond + scale * np.asarray(gone), np.float64)


def _bends_down(first: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]) -> bool:
    before = (middle[1] - first[1]) * (last[0] - middle[0])
    after = (last[1] - middle[1]) * (middle[0] - first[0])
    return before >= after
