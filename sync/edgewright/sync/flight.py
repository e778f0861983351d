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
- No row holds others hostage for ever. A shipment that stays unanswered, or that ends the connection again and again,
  is split into single rows, and a single row that still gets no answer lets the others go first.
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

_STRIKES = 3
_MIN_AIM = 2048


@dataclass(eq=False)
class Shipment:
    """Rows that travel together.

    Attributes:
        rows: What is still unacknowledged, seq to class.
        launches: How often it was sent on this connection.
        mid: MQTT message id while a PUBACK is awaited.
        at_broker: Whether a PUBACK came on this connection.
        due_at: When it may be sent again.
        size: Bytes of the message it last went in.
        repeats: How often it was refused by the broker, or repeated because the cloud did not answer.
        hearing: The cloud's signs of life when it was last sent.
        losses: How many connections in a row ended with it as the oldest unconfirmed message.
    """

    rows: dict[int, Priority] = field(default_factory=dict)
    launches: int = 0
    mid: int | None = None
    at_broker: bool = False
    due_at: float = 0.0
    size: int = 0
    repeats: int = 0
    hearing: int = 0
    losses: int = 0


class Flight:
    """All shipments under way.

    Attributes:
        window_messages: Most messages without PUBACK, as the broker allows it now.
        aim_bytes: Aim for the size of a message; it shrinks when a larger one had to be split for want of an answer.
        resent: Messages sent more than once.
    """

    def __init__(self, config: ResendConfig) -> None:
        """Nothing is under way."""
        self._config = config
        self._shipments: dict[Shipment, None] = {}  # an ordered set, oldest first
        self._by_mid: dict[int, Shipment] = {}
        self._by_seq: dict[int, Shipment] = {}
        self._silent = False
        self._probe: Shipment | None = None
        self._hearing = 0  # how many signs of life there were
        self._probes = 0  # sent since the cloud's last sign of life
        self._has_split = False  # during this silence: once is enough, when all is silent no size is to blame
        self._progress_at = 0.0
        self.window_messages = config.window_messages
        self.aim_bytes = config.message_bytes
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

    def launch(self, shipment: Shipment, mid: int, now: float, size: int = 0) -> None:
        """``shipment`` was handed to the broker under ``mid``, in a message of ``size`` bytes."""
        if shipment.launches:
            self.resent += 1
        if not self._by_mid:
            self._progress_at = now
        if shipment.at_broker:  # a repeat because the cloud did not answer
            shipment.repeats += 1
            if shipment.hearing == self._hearing:  # nor anything else since it was sent
                self._silent, self._probe = True, shipment
                self._probes += 1
        shipment.hearing = self._hearing
        shipment.size = size
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
        shipment.losses = 0
        doublings = shipment.launches - 1
        if shipment is self._probe:  # a silence slows down as a whole, whichever shipment probes it
            doublings = max(doublings, self._probes)
        shipment.due_at = now + self._wait(doublings)
        return shipment

    def stored(self, ranges: Iterable[tuple[int, int]]) -> list[Row]:
        """The cloud has committed these seqs.

        Returns:
            Those that were under way; a range is never trusted beyond what this device has sent.
        """
        self._hear()
        gone: list[Row] = []
        for first, last in ranges:
            if last - first < len(self._by_seq):
                seqs = [seq for seq in range(first, last + 1) if seq in self._by_seq]
            else:
                seqs = [seq for seq in self._by_seq if first <= seq <= last]
            gone.extend((self._by_seq[seq].rows[seq], seq) for seq in seqs)
            self.forget(seqs)
        return gone

    def _hear(self) -> None:
        """The silence is over, or a new one may begin."""
        self._silent, self._probe, self._probes, self._has_split = False, None, 0, False
        self._hearing += 1

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

    def split(self, shipment: Shipment) -> list[Shipment]:
        """Replaces a shipment by one for each of its rows, first in line and due at once: one may not be acceptable."""
        rows = [(priority, seq) for seq, priority in shipment.rows.items()]
        self.forget(list(shipment.rows))
        singles = [self.begin([row]) for row in rows]
        for single in singles:
            single.launches = 1
        self._shipments = dict.fromkeys([*singles, *self._shipments])
        return singles

    def excuse(self, shipment: Shipment) -> None:
        """The broker said that nobody listens: that ``shipment`` gets no answer is no fault of its own."""
        shipment.repeats = 0

    def refused(self, shipment: Shipment, now: float) -> None:
        """The broker does not take ``shipment`` now: it is tried again, more and more slowly."""
        shipment.at_broker = False
        shipment.repeats += 1
        shipment.due_at = now + self._wait(shipment.launches)

    def due(self, now: float) -> Shipment | None:
        """The next shipment that must be sent again, None when there is none or no room."""
        if self.awaiting >= self.window_messages:
            return None
        found = self._next(now)
        if found is not None and found.repeats >= _STRIKES:
            self._give_way(found)
            found = self._next(now)
        return found

    def _next(self, now: float) -> Shipment | None:
        for shipment in self._shipments:
            if shipment.mid is not None or shipment.due_at > now:
                continue
            if self._silent and shipment.at_broker and self._probe not in {None, shipment}:
                continue
            return shipment
        return None

    def _give_way(self, shipment: Shipment) -> None:
        """``shipment`` was repeated in vain: its rows go one by one, or it waits behind all others."""
        if self._probe is shipment:
            self._probe = None
        if len(shipment.rows) > 1 and not self._has_split:
            self._has_split = True
            self._aim_lower(shipment)
            for single in self.split(shipment):
                single.at_broker = shipment.at_broker  # then one of them probes the silence, not all
                single.repeats = _STRIKES - 1
        else:
            shipment.repeats = _STRIKES - 1
            self._to_the_end(shipment)

    def _aim_lower(self, shipment: Shipment) -> None:
        if shipment.size:
            self.aim_bytes = max(min(_MIN_AIM, self.aim_bytes), min(self.aim_bytes, shipment.size // 2))

    def _to_the_end(self, shipment: Shipment) -> None:
        del self._shipments[shipment]
        self._shipments[shipment] = None

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
        """The connection is gone: what it carried is sent again on the next one, oldest first.

        What was the oldest unconfirmed message when several connections ended is suspected of ending them.
        """
        suspect = next((s for s in self._by_mid.values() if s.rows), None)
        self._by_mid.clear()
        self._hear()
        for shipment in self._shipments:
            shipment.mid, shipment.at_broker, shipment.launches = None, False, min(shipment.launches, 1)
            shipment.due_at = now
        if suspect is None:
            return
        suspect.losses += 1
        if suspect.losses < _STRIKES:
            return
        if len(suspect.rows) > 1:
            self._aim_lower(suspect)
            self.split(suspect)
        else:
            self._to_the_end(suspect)
        for shipment in self._shipments if len(self._shipments) > 1 else ():
            if shipment.losses >= _STRIKES:
                shipment.due_at = now + self._wait(shipment.losses)

    def _wait(self, doublings: int) -> float:
        return float(min(self._config.cap_s, self._config.first_s * 2 ** min(doublings, 16)))

    def clear(self) -> None:
        """A new epoch: nothing that was under way means anything any more."""
        self._shipments.clear()
        self._by_mid.clear()
        self._by_seq.clear()
        self._hear()
