"""Text for people that must never hold the camera up: on a terminal that hangs, in a pipe that nobody reads."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, TextIO

from edgewright.runtime.lane import Lane

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Aside"]

_LANE_TEXTS = 64
_CLOSE_S = 1.0


class Aside:
    """A text stream whose ``write`` returns at once; text that cannot be written is dropped.

    Used as a context manager; leaving it waits a moment for what is queued. A thread that hangs in a write for good is
    left behind: it is a daemon and holds none of the stream's locks.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Starts the lane.

        Args:
            stream: Where to write, usually standard error; None (a process started without one) drops everything.
        """
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._lane: Lane[str] = Lane("aside", self._pass_on, capacity=_LANE_TEXTS, wait=False)

    def write(self, text: str) -> int:
        """Queues ``text``."""
        self._lane.put(text)
        return len(text)

    def flush(self) -> None:
        """Nothing to do: every text is passed on as it is."""

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def close(self) -> None:
        """Waits a moment for what is queued."""
        self._lane.close(_CLOSE_S)

    def __enter__(self) -> Aside:  # noqa: PYI034 - Self needs Python 3.11
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes."""
        self.close()

    def _pass_on(self, text: str) -> None:
        # A reader that went away is nobody's failure: OSError. A stream closed by its owner: ValueError.
        with contextlib.suppress(OSError, ValueError):
            if self._descriptor is not None:
                # Past the stream's buffer: text stuck in it would block, or fail, the interpreter's own last flush.
                os.write(self._descriptor, text.encode("utf-8", "backslashreplace"))
            elif self._stream is not None:
                self._stream.write(text)
                self._stream.flush()


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError, AttributeError):  # text kept in memory has none
        return None
