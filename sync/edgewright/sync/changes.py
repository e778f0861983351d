"""What goes into one transaction of the outbox, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.sync.record import Priority, Record

__all__ = ["Applied", "Changes", "Dead", "NewRow", "table_of"]


@dataclass(frozen=True)
class NewRow:
    """A record on its way into the file.

    Attributes:
        kind: As in ``Record``.
        priority: As in ``Record``.
        created_at: As in ``Record``.
        payload: As in ``Record``; cut short when ``dead`` is set.
        dead: Why the row must not be sent at all, None for a good row.
    """

    kind: str
    priority: Priority
    created_at: float
    payload: bytes
    dead: str | None = None


@dataclass(frozen=True)
class Dead:
    """A committed row that must never be sent again.

    Attributes:
        priority: Its class.
        seq: Which one.
        reason: One of a few fixed phrases, a colon, then the details.
    """

    priority: Priority
    seq: int
    reason: str


@dataclass(frozen=True)
class Changes:
    """What one transaction shall do.

    Attributes:
        new: Rows to insert, in order.
        stored: Rows the cloud has committed, to delete.
        dead: Rows to move to the dead table.
    """

    new: Sequence[NewRow] = ()
    stored: Sequence[tuple[Priority, int]] = ()
    dead: Sequence[Dead] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.new or self.stored or self.dead)


@dataclass(frozen=True)
class Applied:
    """What one transaction did.

    Attributes:
        first_seq: Seq of the first of the new rows; the others follow without gaps.
        stored: How many rows were deleted because the cloud has them.
        dead: How many rows died.
        evicted: How many rows of each class were given up for space.
        tombstones: Records that were added to say what is lost; they follow the new rows.
    """

    first_seq: int
    stored: int
    dead: int
    evicted: dict[Priority, int]
    tombstones: tuple[Record, ...]


def table_of(priority: Priority) -> str:
    """Name of the table that holds a class."""
    return f"row_{int(priority)}"
