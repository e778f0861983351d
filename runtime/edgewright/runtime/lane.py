"""A bounded queue with a thread behind it: the camera loop never waits for a disk.

For a live source a full lane drops the new item and counts it; for a file it makes the loop wait, so that nothing is
lost. An error in the consumer ends the lane: a waiting lane raises it in the loop (the user asked for that output),
a dropping lane only keeps it, and the camera goes on.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Lane"]

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_LOOK_S = 0.2


class Lane(Generic[T]):
    """Hands items to a consumer, in order, on a thread of its own."""

    def __init__(self, name: str, consume: Callable[[T], None], *, capacity: int, wait: bool) -> None:
        """Starts the thread.

        Args:
            name: For logs and the thread.
            consume: Takes one item; called on the lane's thread only.
            capacity: Items waiting at most.
            wait: Whether ``put`` waits for room (files) or drops (live).
        """
        self._name = name
        self._consume = consume
        self._wait = wait
        self._items: queue.Queue[T | None] = queue.Queue(capacity)
        self._closing = threading.Event()
        self._error: Exception | None = None
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"lane-{name}", daemon=True)
        self._thread.start()

    @property
    def error(self) -> Exception | None:
        """What ended the lane early, None while it is well."""
        return self._error

    def put(self, item: T) -> None:
        """Queues one item.

        Raises:
            Exception: What the consumer failed with, if this lane waits.
        """
        while True:
            if self._error is not None:
                if self._wait:
                    raise self._error
                self.dropped += 1
                return
            try:
                self._items.put(item, timeout=_LOOK_S) if self._wait else self._items.put_nowait(item)
            except queue.Full:
                if self._wait:
                    continue
                self.dropped += 1
            return

    def close(self, timeout_s: float | None = None) -> bool:
        """Lets the consumer finish what is queued.

        Args:
            timeout_s: How long to wait; None waits for the end.

        Returns:
            Whether everything queued was consumed.
        """
        self._closing.set()
        with contextlib.suppress(queue.Full):  # a full queue is being emptied: the thread sees the flag after it
            self._items.put_nowait(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and self._error is None

    def _run(self) -> None:
        while True:
            try:
                item = self._items.get(timeout=_LOOK_S)
            except queue.Empty:
                if self._closing.is_set():
                    return
                continue
            if item is None:
                return
            try:
                self._consume(item)
            except Exception as error:  # noqa: BLE001 - kept and shown by the owner; a sink must not end the camera
                self._error = error
            if self._error is not None:
                if not self._wait:  # a waiting lane raises it where it is put
                    _LOG.error("%s stopped: %s", self._name, self._error)
                return
