"""The one place where a camera's run is put together: bundle, source, tracker, rules, recorder, outbox.

Order of work: everything that can be refused is refused before the first frame (bundle, source, zones, outputs); the
camera then runs whatever becomes of the network; at the end outputs are finished, the outbox gets some time to
drain, and the figures are returned.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Task
from edgewright.bundle.reader import open_bundle
from edgewright.device.errors import DeviceConfigError
from edgewright.device.payload import BundleStamp
from edgewright.device.places import check_places
from edgewright.device.sinks import JsonLines, OutboxSink
from edgewright.device_profiles.profile import load_profile
from edgewright.runtime.backends.choice import engine_cache_folder, engine_options, read_backend_name
from edgewright.runtime.choose import choose
from edgewright.runtime.loop import CameraLoop, LoopLimits, Watchers
from edgewright.runtime.recorder import Recorder, open_writer
from edgewright.runtime.rules import WHOLE_FRAME, ClassChange, ZoneCount, parse_zone
from edgewright.runtime.session import open_session
from edgewright.runtime.sources import LiveOptions, SourceKind, SourceOptions, SourceUri, open_source, parse_source
from edgewright.runtime.tracking import ByteTrack, ByteTrackConfig
from edgewright.runtime.types import Event, TimeQuality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgewright.bundle.manifest import Manifest
    from edgewright.bundle.reader import Bundle
    from edgewright.device.config import DeviceConfig, ModelSettings, RuleSettings, SyncSettings
    from edgewright.runtime.choose import Choice
    from edgewright.runtime.observe import EventSink, ResultSink
    from edgewright.runtime.rules import Rule
    from edgewright.runtime.session import Session
    from edgewright.runtime.sources import FrameSource
    from edgewright.runtime.summary import RunSummary
    from edgewright.sync import SyncClient

__all__ = ["RunReport", "run_camera"]

_START_MARGIN = 0.1  # ByteTrack starts tracks a little above its threshold for strong boxes
_LOW_SCORE = 0.1
_NOT_KEPT = frozenset({"FAIL", "INCONCLUSIVE"})

_log = logging.getLogger(__name__)


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
        }


def run_camera(
    config: DeviceConfig,
    *,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[FrameSource], Sequence[ResultSink]] = lambda _: (),
) -> RunReport:
    """Runs one camera, file or folder through one bundle.

    Args:
        config: What to do.
        stop: Asked between frames; True ends the run cleanly.
        watch: Given the opened source, returns further sinks for results, such as a progress display.

    Returns:
        The figures and where the outputs are.

    Raises:
        EdgewrightError: Bad input, found before the first frame wherever possible; a file that breaks in the middle;
            a model that fails on every frame. Outputs are then finished or dropped, never left half-written.
    """
    source_uri = parse_source(_required(config.source.uri, "a source", "--source", "[source] uri"))
    bundle_path = Path(_required(config.model.bundle, "a bundle", "BUNDLE", "[model] bundle"))
    check_places(
        {"the source": _local_path(source_uri), "the bundle": bundle_path, "the configuration": config.path},
        {"--annotate": config.output.annotate, "--events": config.output.events, "--outbox": config.sync.outbox},
    )
    with contextlib.ExitStack() as stack:
        bundle = stack.enter_context(open_bundle(bundle_path))
        manifest = bundle.manifest
        if manifest.provenance.verdict in _NOT_KEPT:
            verdict = manifest.provenance.verdict
            _log.warning("the contract of %s ended %s when it was made; see 'edgewright report'", bundle_path, verdict)
        choice, session = _open_model(bundle, config.model)
        stamp = BundleStamp.of(bundle, choice.variant)
        threshold = session.score_threshold if config.model.score is None else config.model.score
        rules = _rules(config.rules, manifest)
        live = LiveOptions(stall_s=config.source.stall_s)
        source = open_source(source_uri, _source_options(config), live)
        stack.callback(source.close)
        outputs = _Outputs(config, source, stamp, manifest.labels)
        loop = CameraLoop(
            source,
            session,
            _tracker(config.rules, manifest, threshold),
            Watchers(rules, outputs.events, (*outputs.results, *watch(source))),
            _limits(config),
            score_threshold=config.model.score,
        )
        try:
            return replace(outputs.finish(loop.run(stop)), chosen=choice.why, engine=session.engine)
        except BaseException as error:
            # What a camera showed until it was given up, or until Ctrl-C, is worth keeping; half a file is not.
            outputs.abandon(keep_video=source.live or isinstance(error, KeyboardInterrupt))
            raise


def _open_model(bundle: Bundle, settings: ModelSettings) -> tuple[Choice, Session]:
    options = engine_options(
        None if settings.profile is None else load_profile(settings.profile),
        settings.delegate,
        settings.delegate_options,
        settings.engine_cache or engine_cache_folder(),
    )
    backend = None if settings.backend is None else read_backend_name(settings.backend)
    threads = settings.threads
    choice = choose(bundle, settings.variant, threads, backend=backend, options=options, picks=settings.picks)
    for note in choice.notes:
        _log.warning("%s", note)
    return choice, open_session(bundle, choice.variant, threads, backend=choice.backend, options=options)


class _Outputs:
    """Everything that is written: opened before the first frame, finished after the last."""

    def __init__(self, config: DeviceConfig, source: FrameSource, bundle: BundleStamp, labels: Sequence[str]) -> None:
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


def _required(value: Any, what: str, flag: str, key: str) -> Any:
    if value is None:
        message = f"{what} is needed: give {flag} or set {key} in the configuration file"
        raise DeviceConfigError(message)
    return value


def _local_path(source: SourceUri) -> Path | None:
    return Path(source.target) if source.kind in {SourceKind.VIDEO, SourceKind.FOLDER} else None


def _source_options(config: DeviceConfig) -> SourceOptions:
    source = config.source
    return SourceOptions(source.name, source.every, source.max_side, source.fps)


def _limits(config: DeviceConfig) -> LoopLimits:
    source = config.source
    return LoopLimits(
        max_age_s=source.max_age_s,
        model_timeout_s=config.model.timeout_s,
        max_model_errors=config.model.max_errors,
        max_frames=source.max_frames,
        duration_s=source.duration_s,
        give_up_s=source.give_up_s,
    )


def _tracker(rules: RuleSettings, manifest: Manifest, threshold: float) -> ByteTrack | None:
    if not rules.track or manifest.task is not Task.DETECT:
        return None
    return ByteTrack(
        ByteTrackConfig(
            high=threshold,
            low=min(_LOW_SCORE, threshold),
            start=min(1.0, threshold + _START_MARGIN),
            lost_s=rules.lost_s,
        )
    )


def _rules(settings: RuleSettings, manifest: Manifest) -> tuple[Rule, ...]:
    if manifest.task is Task.CLASSIFY:
        if settings.zones:
            message = (
                f"bundle {manifest.name} is a classifier: it gives no boxes, so zones mean nothing; leave them out"
            )
            raise DeviceConfigError(message)
        return (ClassChange(manifest.labels, settings.min_frames),)
    zones = [parse_zone(text, settings.min_frames) for text in settings.zones]
    zones = zones or [replace(WHOLE_FRAME, min_frames=settings.min_frames)]
    names = [zone.name for zone in zones]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"two zones are called {twice[0]!r}; give each its own name"
        raise DeviceConfigError(message)
    return tuple(ZoneCount(zone) for zone in zones)


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
