"""What is on its way: the rules of windows, resending and acknowledgement, without any I/O or clock of its own.

A **shipment** is one message's worth of rows. Its life::

    launch() -> waits for PUBACK -> puback() -> "at broker", waits for the cloud -> stored() -> gone
                     |                              |
              disconnected(): due now        timer: due again

Invariants:

- A row leaves only by ``stored``, ``refused`` or ``forget``; a PUBACK alone never removes one.
- At most ``window_messages`` shipments wait for PUBACK, at most ``window_rows`` rows are under way. The last tenth of
  the latter is kept for alarms and the outbox's own records.
- While the cloud is silent only one shipment is repeated, ever more slowly: a dead ingest must not fill the broker.
  Its first sign of life releases all that are due.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgewright.sync.record import Priority

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgewright.sync.config import ResendConfig

__all__ = ["Flight", "Row", "Shipment"]

Row = tuple[Priority, int]


@dataclass(eq=False)
class Shipment:
    """Rows that travel together.

    Attributes:
        rows: What is still unacknowledged, seq to class.
        launches: How often it was sent on this connection.
        mid: MQTT message id while a PUBACK is awaited.
        at_broker: Whether a PUBACK came on this connection.
        due_at: When it may be sent again.
    """

    rows: dict[int, Priority] = field(default_factory=dict)
    launches: int = 0
    mid: int | None = None
    at_broker: bool = False
    due_at: float = 0.0


class Flight:
    """All shipments under way."""

    def __init__(self, config: ResendConfig) -> None:
        """Nothing is under way."""
        self._config = config
        self._shipments: dict[Shipment, None] = {}  # an ordered set, oldest first
        self._by_mid: dict[int, Shipment] = {}
        self._by_seq: dict[int, Shipment] = {}
        self._silent = False
        self._probe: Shipment | None = None
        self._progress_at = 0.0
        self.window_messages = config.window_messages
        self.resent = 0

    @property
    def rows(self) -> int:
        """Rows under way."""
        return len(self._by_seq)

    @property
    def rows_at_broker(self) -> int:
        """Rows that the broker has confirmed and the cloud has not."""
        return sum(len(s.rows) for s in self._shipments if s.at_broker)

    @property
    def awaiting(self) -> int:
        """Shipments that wait for PUBACK."""
        return len(self._by_mid)

    def room(self, priority: Priority) -> int:
        """How many new rows of a class may be launched now."""
        if self.awaiting >= self.window_messages:
            return 0
        kept = 0 if priority <= Priority.ALARM else max(1, self._config.window_rows // 10)
        return max(0, self._config.window_rows - kept - len(self._by_seq))

    def begin(self, rows: Sequence[Row]) -> Shipment:
        """A new shipment of rows that are not under way yet; launch it next."""
        shipment = Shipment({seq: priority for priority, seq in rows})
        self._shipments[shipment] = None
        for seq in shipment.rows:
            self._by_seq[seq] = shipment
        return shipment

    def launch(self, shipment: Shipment, mid: int, now: float) -> None:
        """``shipment`` was handed to the broker under ``mid``."""
        if shipment.launches:
            self.resent += 1
        if not self._by_mid:
            self._progress_at = now
        if shipment.at_broker:  # a repeat because the cloud did not answer
            self._silent, self._probe = True, shipment
        shipment.launches += 1
        shipment.mid = mid
        self._by_mid[mid] = shipment

    def puback(self, mid: int, now: float) -> Shipment | None:
        """The broker confirmed ``mid``: it is at the broker, and its resend timer starts.

        Returns:
            The shipment, None when it is gone already.
        """
        self._progress_at = now
        shipment = self._by_mid.pop(mid, None)
        if shipment is None:
            return None
        shipment.mid = None
        shipment.at_broker = True
        doublings = min(shipment.launches - 1, 16)
        shipment.due_at = now + min(self._config.cap_s, self._config.first_s * 2**doublings)
        return shipment

    def stored(self, ranges: Iterable[tuple[int, int]]) -> list[Row]:
        """The cloud has committed these seqs.

        Returns:
            Those that were under way; a range is never trusted beyond what this device has sent.
        """
        self._silent, self._probe = False, None
        gone: list[Row] = []
        for first, last in ranges:
            if last - first < len(self._by_seq):
                seqs = [seq for seq in range(first, last + 1) if seq in self._by_seq]
            else:
                seqs = [seq for seq in self._by_seq if first <= seq <= last]
            gone.extend((self._by_seq[seq].rows[seq], seq) for seq in seqs)
            self.forget(seqs)
        return gone

    def forget(self, seqs: Iterable[int]) -> None:
        """These rows are no longer in the outbox."""
        for seq in seqs:
            shipment = self._by_seq.pop(seq, None)
            if shipment is None:
                continue
            del shipment.rows[seq]
            if not shipment.rows:
                del self._shipments[shipment]
                if self._probe is shipment:
                    self._probe = None
                # Its mid stays until the PUBACK: the broker still counts it against the window.

    def split(self, shipment: Shipment) -> None:
        """Replaces a shipment by one for each of its rows, due at once: one of them is not acceptable."""
        rows = [(priority, seq) for seq, priority in shipment.rows.items()]
        self.forget(list(shipment.rows))
        for row in rows:
            self.begin([row]).launches = 1

    def postpone(self, shipment: Shipment, now: float, wait_s: float) -> None:
        """Tries ``shipment`` again later, not at its timer's pace."""
        shipment.due_at = now + wait_s

    def due(self, now: float) -> Shipment | None:
        """The next shipment that must be sent again, None when there is none or no room."""
        if self.awaiting >= self.window_messages:
            return None
        for shipment in self._shipments:
            if shipment.mid is not None or shipment.due_at > now:
                continue
            if self._silent and shipment.at_broker and self._probe not in {None, shipment}:
                continue
            return shipment
        return None

    def next_due(self) -> float | None:
        """When the next timer ends, None when none runs or the window is full."""
        if self.awaiting >= self.window_messages:
            return None
        probe_only = self._silent and self._probe is not None
        times = [
            s.due_at
            for s in self._shipments
            if s.mid is None and not (probe_only and s.at_broker and s is not self._probe)
        ]
        return min(times, default=None)

    def stalled(self, now: float) -> bool:
        """Whether PUBACKs are awaited and none has come for too long."""
        return bool(self._by_mid) and now - self._progress_at > self._config.stall_s

    def disconnected(self, now: float) -> None:
        """The connection is gone: what it carried is sent again on the next one, oldest first."""
        self._by_mid.clear()
        self._silent, self._probe = False, None
        for shipment in self._shipments:
            shipment.mid, shipment.at_broker, shipment.launches = None, False, min(shipment.launches, 1)
            shipment.due_at = now

    def clear(self) -> None:
        """A new epoch: nothing that was under way means anything any more."""
        self._shipments.clear()
        self._by_mid.clear()
        self._by_seq.clear()
        self._silent, self._probe = False, None
