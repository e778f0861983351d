"""Where events go on a device: a JSON-lines file, and the outbox of the sync half."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from edgewright.bundle.errors import OutputError
from edgewright.device.payload import event_payload
from edgewright.runtime.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from edgewright.device.payload import BundleStamp
    from edgewright.runtime.types import Event

__all__ = ["JsonLines", "OutboxSink"]

_LANE_LINES = 1024
_LIVE_CLOSE_S = 5.0
_ALARMS = {"source_down", "source_up", "model_error"}
_METRICS = {"run_summary"}


class JsonLines:
    """Appends one JSON object a line; each line is flushed, so a reader can follow along."""

    def __init__(self, path: Path, bundle: BundleStamp, *, wait: bool) -> None:
        """Opens the file for appending.

        Args:
            path: The file; missing folders are made.
            bundle: Goes into every line.
            wait: Lose nothing (files) or drop when the disk is slower than the events (live).

        Raises:
            OutputError: The file cannot be opened.
        """
        self._path = path
        self._bundle = bundle
        self._wait = wait
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise _cannot_write(path, error) from error
        self._lane: Lane[Event] = Lane("events", self._write, capacity=_LANE_LINES, wait=wait)

    @property
    def dropped(self) -> int:
        """Events not written because the lane was full or had failed."""
        return self._lane.dropped

    @property
    def error(self) -> Exception | None:
        """Why writing ended early, None while it is well."""
        return self._lane.error

    def emit(self, event: Event) -> None:
        """Queues one event."""
        self._lane.put(event)

    def close(self) -> None:
        """Writes what is queued.

        Raises:
            OutputError: Not everything could be written and the source was a file.
        """
        done = self._lane.close(None if self._wait else _LIVE_CLOSE_S)
        if not done and self._lane.error is None:  # a disk that hangs: closing would wait for it
            return
        try:
            self._file.close()
        except OSError as error:
            if self._wait:
                raise _cannot_write(self._path, error) from error
        if self._wait and self._lane.error is not None:
            raise self._lane.error

    def _write(self, event: Event) -> None:
        try:
            self._file.write(json.dumps(event_payload(event, self._bundle)) + "\n")
            self._file.flush()
        except OSError as error:
            raise _cannot_write(self._path, error) from error


class _Client(Protocol):
    def emit(self, kind: str, data: Mapping[str, Any], *, priority: Any) -> None: ...


class OutboxSink:
    """Hands events to the sync half's outbox, which never blocks."""

    def __init__(self, client: _Client, bundle: BundleStamp) -> None:
        """Takes a started client."""
        from edgewright.sync import Priority

        self._client = client
        self._bundle = bundle
        self._priorities = {
            **dict.fromkeys(_ALARMS, Priority.ALARM),
            **dict.fromkeys(_METRICS, Priority.METRIC),
        }
        self._default = Priority.DETECTION

    def emit(self, event: Event) -> None:
        """Hands one event over."""
        priority = self._priorities.get(event.kind, self._default)
        self._client.emit(event.kind, event_payload(event, self._bundle), priority=priority)


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write events to {path}: {error.strerror or error}; choose another place or make room")
