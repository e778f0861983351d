"""What a run leaves behind: annotated video, events file, outbox, and the report of it all."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.device.sinks import JsonLines, OutboxSink
from edgewright.runtime.recorder import Recorder, open_writer
from edgewright.runtime.types import Event, TimeQuality

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgewright.device.config import DeviceConfig, SyncSettings
    from edgewright.device.heat import HeatReport
    from edgewright.device.payload import BundleStamp
    from edgewright.runtime.observe import EventSink, ResultSink
    from edgewright.runtime.sources import FrameSource
    from edgewright.runtime.summary import RunSummary
    from edgewright.sync import SyncClient

__all__ = ["Outputs", "RunReport"]


@dataclass(frozen=True)
class RunReport:
    """What a run left behind.

    Attributes:
        summary: The loop's figures.
        bundle: Which bundle and variant looked.
        annotated: The annotated video or folder, None when none was asked for or nothing was seen.
        annotate_dropped: Pictures left out of it because the disk was slower than the camera.
        events_file: The JSON-lines file.
        sync: Figures of the outbox, None when events were not stored for delivery.
        drained: Whether the cloud acknowledged everything in time, None without a broker.
        problems: Outputs that failed while a camera went on, in words.
        chosen: Why this variant was taken, in words.
        engine: Engine and version that ran it.
        heat: How hot the board is and got; None without a sensor or without limits in the board's profile.
    """

    summary: RunSummary
    bundle: BundleStamp
    annotated: Path | None = None
    annotate_dropped: int = 0
    events_file: Path | None = None
    sync: dict[str, Any] | None = None
    drained: bool | None = None
    problems: tuple[str, ...] = ()
    chosen: str = ""
    engine: str = ""
    heat: HeatReport | None = None

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            **self.summary.to_json(),
            "bundle": asdict(self.bundle),
            "annotated": None if self.annotated is None else str(self.annotated),
            "annotate_dropped": self.annotate_dropped,
            "events_file": None if self.events_file is None else str(self.events_file),
            "sync": self.sync,
            "drained": self.drained,
            "problems": list(self.problems),
            "chosen": self.chosen,
            "engine": self.engine,
            "heat": None if self.heat is None else self.heat.to_json(),
        }


class Outputs:
    """Everything that is written: opened before the first frame, finished after the last."""

    def __init__(self, config: DeviceConfig, source: FrameSource, bundle: BundleStamp, labels: Sequence[str]) -> None:
        """Opens what the configuration names.

        Args:
            config: Says where to.
            source: Whether it is live decides whether outputs may hold it up.
            bundle: Goes into every event.
            labels: Names of the classes, for drawing.

        Raises:
            OutputError: One cannot be opened; those already open are closed.
        """
        self._settings = config
        self._bundle = bundle
        self._recorder: Recorder | None = None
        self._lines: JsonLines | None = None
        self._client: SyncClient | None = None
        wait = not source.live
        try:
            if config.output.annotate is not None:
                writer = open_writer(config.output.annotate, source.fps, live=source.live)
                self._recorder = Recorder(writer, labels, wait=wait)
            if config.output.events is not None:
                self._lines = JsonLines(config.output.events, bundle, wait=wait)
            if config.sync.wanted:
                self._client = _start_sync(config.sync)
        except BaseException:
            self.abandon()
            raise
        sinks: list[EventSink] = [self._lines] if self._lines is not None else []
        if self._client is not None:
            sinks.append(OutboxSink(self._client, bundle))
        self.events: tuple[EventSink, ...] = tuple(sinks)
        self.results: tuple[ResultSink, ...] = () if self._recorder is None else (self._recorder,)

    def finish(self, summary: RunSummary) -> RunReport:
        """Ends every output well, each whatever becomes of the others.

        Raises:
            OutputError: One could not be written and the source was a file; the first if there were several.
        """
        failed: list[Exception] = []
        drained: bool | None = None
        figures: dict[str, Any] | None = None
        summary = self._tell(summary, failed)
        if self._recorder is not None:
            with _collected(failed):
                self._recorder.close()
        if self._lines is not None:
            with _collected(failed):
                self._lines.close()
        if self._client is not None:
            with _collected(failed):
                if self._settings.sync.broker is not None:
                    drained = self._client.drain(self._settings.sync.drain_s)
            with _collected(failed):
                self._client.close()
                figures = asdict(self._client.stats())
        if failed:
            raise failed[0]
        return self._report(summary, figures, drained)

    def abandon(self, *, keep_video: bool = False) -> None:
        """After an error: keeps the events, drops a video that is worth nothing. Raises nothing of its own.

        What is closed already stays as it is.
        """
        if self._recorder is not None:
            with contextlib.suppress(Exception):  # the error that led here is the one to show
                self._recorder.close(keep=keep_video)
        if self._lines is not None:
            with contextlib.suppress(Exception):
                self._lines.close()
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()

    def _tell(self, summary: RunSummary, failed: list[Exception]) -> RunSummary:
        """Sends the figures as the run's last event, itself counted."""
        kinds = {**summary.events, "run_summary": summary.events.get("run_summary", 0) + 1}
        summary = replace(summary, events=kinds)
        now = time.monotonic()
        media_time = now if summary.live else 0.0
        quality = TimeQuality.ARRIVAL if summary.live else TimeQuality.FILE
        event = Event("run_summary", summary.camera, -1, media_time, now, quality, summary.to_json())
        for sink in self.events:
            with _collected(failed):
                sink.emit(event)
        return summary

    def _report(self, summary: RunSummary, figures: dict[str, Any] | None, drained: bool | None) -> RunReport:
        problems = []
        recorder, lines, output = self._recorder, self._lines, self._settings.output
        for name, lane in (("annotated video", recorder), ("events file", lines)):
            if lane is not None and lane.error is not None:
                problems.append(f"{name}: {lane.error}")
            elif lane is not None and lane.dropped:
                problems.append(f"{name}: {lane.dropped} left out because the disk was slower than the camera")
        annotated = output.annotate if output.annotate is not None and output.annotate.exists() else None
        return RunReport(
            summary=summary,
            bundle=self._bundle,
            annotated=annotated,
            annotate_dropped=0 if recorder is None else recorder.dropped,
            events_file=output.events,
            sync=figures,
            drained=drained,
            problems=tuple(problems),
        )


@contextlib.contextmanager
def _collected(failed: list[Exception]) -> Iterator[None]:
    """Adds what the block raises to ``failed``."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised once the other outputs are closed
        failed.append(error)


def _start_sync(settings: SyncSettings) -> SyncClient:
    from edgewright.sync import SyncClient, SyncConfig

    device = settings.device or _host_name()
    client = SyncClient(SyncConfig(device=device, broker=settings.broker, outbox_path=_outbox(settings, device)))
    client.start()
    return client


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("-._")[:64] or "device"


def _outbox(settings: SyncSettings, device: str) -> Path:
    if settings.outbox is not None:
        return settings.outbox
    state = os.environ.get("XDG_STATE_HOME")
    root = Path(state) if state else Path.home() / ".local" / "state"
    return root / "edgewright" / f"{device}.outbox.sqlite"
