"""The one place where a camera's run is put together: bundle, source, tracker, rules, recorder, outbox.

Order of work: everything that can be refused is refused before the first frame (bundle, source, zones, outputs); the
camera then runs whatever becomes of the network; at the end outputs are finished, the outbox gets some time to
drain, and the figures are returned. Where a service manager started the process it is told how the run fares.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Task
from edgewright.bundle.reader import open_bundle
from edgewright.device.board import engine_threads, named_profile, profile_here
from edgewright.device.errors import DeviceConfigError
from edgewright.device.heat import HeatLimits, HeatWatch
from edgewright.device.outputs import Outputs, RunReport
from edgewright.device.payload import BundleStamp
from edgewright.device.places import check_places
from edgewright.device.service import Service
from edgewright.runtime.backends.choice import engine_cache_folder, engine_options, read_backend_name
from edgewright.runtime.choose import choose
from edgewright.runtime.loop import CameraLoop, LoopLimits, Watchers
from edgewright.runtime.rules import WHOLE_FRAME, ClassChange, ZoneCount, parse_zone
from edgewright.runtime.session import open_session
from edgewright.runtime.sources import LiveOptions, SourceKind, SourceOptions, SourceUri, open_source, parse_source
from edgewright.runtime.tracking import ByteTrack, ByteTrackConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgewright.bundle.manifest import Manifest
    from edgewright.bundle.reader import Bundle
    from edgewright.device.config import DeviceConfig, ModelSettings, RuleSettings
    from edgewright.device_profiles.profile import DeviceProfile
    from edgewright.runtime.choose import Choice
    from edgewright.runtime.observe import ResultSink
    from edgewright.runtime.rules import Rule
    from edgewright.runtime.session import Session
    from edgewright.runtime.sources import FrameSource

__all__ = ["RunReport", "run_camera"]

_START_MARGIN = 0.1  # ByteTrack starts tracks a little above its threshold for strong boxes
_LOW_SCORE = 0.1
_NOT_KEPT = frozenset({"FAIL", "INCONCLUSIVE"})

_log = logging.getLogger(__name__)


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
        profile = named_profile(config.model)
        choice, session = _open_model(bundle, config.model, profile)
        stamp = BundleStamp.of(bundle, choice.variant)
        threshold = session.score_threshold if config.model.score is None else config.model.score
        rules = _rules(config.rules, manifest)
        live = LiveOptions(stall_s=config.source.stall_s)
        source = open_source(source_uri, _source_options(config), live, profile)
        stack.callback(source.close)
        heat = stack.enter_context(HeatWatch(source.name, HeatLimits.of(profile_here(profile))))
        service = stack.enter_context(Service(source, config.service, heat=lambda: heat.report))
        outputs = Outputs(config, source, stamp, manifest.labels)
        loop = CameraLoop(
            source,
            session,
            _tracker(config.rules, manifest, threshold),
            Watchers(rules, outputs.events, (*outputs.results, *service.sinks, *watch(source))),
            _limits(config),
            score_threshold=config.model.score,
        )
        try:
            summary = loop.run(service.watching(stop))
            service.stopping()
            report = outputs.finish(summary)
            return replace(report, chosen=choice.why, engine=session.engine, heat=heat.report)
        except BaseException as error:
            # What a camera showed until it was given up, or until Ctrl-C, is worth keeping; half a file is not.
            outputs.abandon(keep_video=source.live or isinstance(error, KeyboardInterrupt))
            raise


def _open_model(bundle: Bundle, settings: ModelSettings, profile: DeviceProfile | None) -> tuple[Choice, Session]:
    options = engine_options(
        profile,
        settings.delegate,
        settings.delegate_options,
        settings.engine_cache or engine_cache_folder(),
    )
    backend = None if settings.backend is None else read_backend_name(settings.backend)
    threads = engine_threads(settings.threads, profile)
    choice = choose(bundle, settings.variant, threads, backend=backend, options=options, picks=settings.picks)
    for note in choice.notes:
        _log.warning("%s", note)
    return choice, open_session(bundle, choice.variant, threads, backend=choice.backend, options=options)


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
