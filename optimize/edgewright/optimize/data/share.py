"""Sharing one source out among roles, and drawing a few of its pictures.

Unrelated pictures are dealt in turn, like cards. The frames of a film are not: two neighbours show the same scene, and
a picture held out between two calibration pictures would be no independent witness. So a film is cut into stretches of
at least ``STRETCH_S`` seconds, which are dealt in turn; where one role's stretch ends and another's begins, ``GAP_S``
seconds serve nobody. A film too short for that gets one stretch a turn and gaps of at most a third of a stretch.

All of it depends on the number of pictures and their spacing only, so the same source is always shared out alike.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.optimize.errors import DataError

if TYPE_CHECKING:
    from edgewright.optimize.data.source import SampleSource, Slice

__all__ = ["GAP_S", "STRETCH_S", "draw", "share_out"]

STRETCH_S = 10.0
"""A stretch of film that one role gets is at least this long, where the film allows it."""
GAP_S = 2.0
"""Between the stretches of two roles, this much of the film serves nobody."""


@dataclass(frozen=True)
class _Deal:
    """Which role, a letter, the sample at a position falls to."""

    turns: str
    count: int | None
    stretch: int
    stretches: int
    gap: int

    def role(self, position: int) -> str | None:
        """None in a gap."""
        number = self._number(position)
        # The end of a stretch is the gap, unless the next one has the same role.
        alike = self.turns[number % len(self.turns)] == self.turns[(number + 1) % len(self.turns)]
        if not alike and self.gap and self._number(position + self.gap) != number:
            return None
        return self.turns[number % len(self.turns)]

    def _number(self, position: int) -> int:
        if self.count is None or not self.stretches:
            return position // self.stretch
        return position * self.stretches // self.count if position < self.count else self.stretches - 1


def share_out(source: SampleSource, turns: str, words: dict[str, str]) -> dict[str, SampleSource]:
    """Shares a source out among roles; no picture falls to two of them.

    Args:
        source: A source as opened, not a part.
        turns: One letter a turn: ``ccs`` deals two thirds to ``c`` and one to ``s``.
        words: Each letter's role, for people.

    Returns:
        Each letter's part.

    Raises:
        DataError: There are fewer pictures than turns.
    """
    indices = source.indices()
    if indices is not None and len(indices) < len(turns):
        msg = (
            f"{source.expression} holds {len(indices)} pictures, too few to share them out; give at least {len(turns)}"
        )
        raise DataError(msg)
    deal = _deal(source, turns, None if indices is None else len(indices))
    return {letter: source.part(_Turn(deal, source.slice, letter), words[letter]) for letter in dict.fromkeys(turns)}


@dataclass(frozen=True)
class _Turn:
    """Whether a sample falls to one letter."""

    deal: _Deal
    chosen: Slice
    letter: str

    def __call__(self, index: int) -> bool:
        return self.deal.role((index - self.chosen.start) // self.chosen.step) == self.letter


def _deal(source: SampleSource, turns: str, count: int | None) -> _Deal:
    if source.spacing_s is None:
        return _Deal(turns, None, stretch=1, stretches=0, gap=0)
    spacing = source.spacing_s * source.slice.step
    stretch = max(1, math.ceil(STRETCH_S / spacing))
    gap = max(1, math.ceil(GAP_S / spacing - 1e-6))
    if count is None:
        return _Deal(turns, None, stretch, 0, min(gap, stretch // 3))
    rounds = max(1, count // (stretch * len(turns)))
    stretches = rounds * len(turns)
    return _Deal(turns, count, stretch, stretches, min(gap, count // stretches // 3))


def draw(source: SampleSource, limit: int, seed: int) -> SampleSource:
    """A random part of a source, in the source's order; only numbers are kept, no pictures.

    Reservoir sampling (Vitter 1985, "Random sampling with a reservoir", algorithm R) over the picture numbers.

    Args:
        source: To draw from.
        limit: At most so many pictures.
        seed: The same pictures for the same seed.

    Returns:
        The source itself when it holds no more than ``limit``.

    Raises:
        DataError: The limit is not positive, or the number of pictures is not known.
    """
    if limit < 1:
        msg = f"a limit of {limit} pictures leaves none; give a number from 1"
        raise DataError(msg)
    indices = source.indices()
    if indices is None:
        msg = f"{source.expression} does not tell how many frames it holds, so none can be drawn; use a slice instead"
        raise DataError(msg)
    if len(indices) <= limit:
        return source
    generator = random.Random(seed)  # noqa: S311 - a repeatable draw, no secret
    kept = indices[:limit]
    for number, index in enumerate(indices[limit:], start=limit):
        place = generator.randrange(number + 1)
        if place < limit:
            kept[place] = index
    return source.part(frozenset(kept).__contains__, f"{limit} drawn of {len(indices)}, seed {seed}", seed=seed)
