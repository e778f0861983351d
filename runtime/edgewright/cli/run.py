"""`edgewright run`: watch a camera, a video file or a folder of pictures with a bundle."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import ExitCode
from edgewright.cli.arguments import add_engine_arguments, threads_argument

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from types import FrameType

    from edgewright.device.app import RunReport
    from edgewright.device.aside import Aside

EPILOG = """\
sources: a video file, a folder of pictures, a camera number (0), /dev/videoN, rtsp://, rtsps://, http://, https://,
and csi:0 or usb:0, optionally ?width=1280&height=720&fps=30, by GStreamer and the pipeline of the board's --profile
A camera that goes away is waited for; Ctrl-C or SIGTERM ends a run cleanly with its summary.

examples:
  edgewright run person.edge --source clip.avi --annotate seen.mp4
  edgewright run person.edge --source rtsp://192.168.1.20/stream --zone "door=0.1,0.2;0.5,0.2;0.5,0.9" \\
      --broker mqtt://broker.local --device gate-1
  edgewright run --config device.toml
"""
_QUIET = {"OPENCV_LOG_LEVEL": "ERROR", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", nargs="?", help="bundle directory or .edge file")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML with the same settings; flags win")
    source = parser.add_argument_group("source")
    source.add_argument("--source", metavar="URI", help="what to watch, see below")
    source.add_argument("--name", help="what events call the camera")
    source.add_argument("--every", type=int, metavar="N", help="look at every N-th frame only")
    source.add_argument("--max-side", type=int, metavar="PX", help="scale larger frames down to this first")
    source.add_argument("--fps", type=float, metavar="F", help="frames per second a folder stands for (default 10)")
    source.add_argument("--max-frames", type=int, metavar="N", help="end after N frames")
    source.add_argument("--duration", type=float, metavar="S", help="end after S seconds")
    source.add_argument("--give-up", type=float, metavar="S", help="end with an error when a camera is away so long")
    model = parser.add_argument_group("model and rules")
    model.add_argument(
        "--variant", help="which variant of the bundle (default: what bench --pick found fastest here, else its first)"
    )
    model.add_argument("--backend", metavar="NAME", help="what to run it on, such as onnxruntime-cuda; must be there")
    model.add_argument(
        "--threads", type=threads_argument, metavar="N", help="engine threads (default: as --profile says, else 1)"
    )
    model.add_argument("--score", type=float, metavar="T", help="score from which a detection counts, 0..1")
    model.add_argument("--no-track", action="store_true", help="no identities")
    model.add_argument(
        "--zone", action="append", metavar="NAME=X,Y;X,Y;..", help="count objects in this zone (default: whole frame)"
    )
    add_engine_arguments(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--annotate", metavar="OUT", help="annotated video (.mp4, .avi) or folder of frames")
    output.add_argument("--events", metavar="FILE", help="append events to this JSON-lines file")
    output.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    sync = parser.add_argument_group("sync")
    sync.add_argument("--broker", metavar="URL", help="deliver events by MQTT: mqtt://host or mqtts://host")
    sync.add_argument("--device", metavar="NAME", help="this device's name in the fleet (default: host name)")
    sync.add_argument("--outbox", metavar="FILE", help="where undelivered events wait")
    sync.add_argument("--drain", type=float, metavar="S", help="at the end wait so long for delivery (default 5)")


def run(args: argparse.Namespace) -> int:
    """Runs the camera loop until its end or a signal, and prints the summary."""
    for name, value in _QUIET.items():  # before OpenCV loads: its libraries print every lost packet otherwise
        os.environ.setdefault(name, value)
    from edgewright.device.app import run_camera
    from edgewright.device.aside import Aside
    from edgewright.device.config import load_config
    from edgewright.device.progress import PLAIN_EVERY_S, SERVICE_EVERY_S, Progress

    config = load_config(args.config, _flags(args))
    every_s = SERVICE_EVERY_S if os.environ.get("NOTIFY_SOCKET") else PLAIN_EVERY_S
    with _signals() as stopped, Aside(sys.stderr) as aside, _logging_to(aside):
        report = run_camera(
            config,
            stop=lambda: bool(stopped),
            watch=lambda source: [Progress(source, aside, most=config.source.max_frames, plain_every_s=every_s)],
        )
    print(json.dumps(report.to_json()) if args.json else "\n".join(summary_lines(report)))
    return ExitCode.OK


def _flags(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    return {
        "source": {
            "uri": args.source,
            "name": args.name,
            "every": args.every,
            "max_side": args.max_side,
            "fps": args.fps,
            "max_frames": args.max_frames,
            "duration_s": args.duration,
            "give_up_s": args.give_up,
        },
        "model": {
            "bundle": args.bundle,
            "variant": args.variant,
            "backend": args.backend,
            "profile": args.profile,
            "delegate": args.delegate,
            "delegate_options": args.delegate_option,
            "engine_cache": args.engine_cache,
            "picks": args.picks,
            "threads": args.threads,
            "score": args.score,
        },
        "rules": {"track": False if args.no_track else None, "zones": args.zone},
        "sync": {"broker": args.broker, "device": args.device, "outbox": args.outbox, "drain_s": args.drain},
        "output": {"annotate": args.annotate, "events": args.events},
    }


@contextlib.contextmanager
def _logging_to(aside: Aside) -> Iterator[None]:
    """Shows warnings for as long as the run lasts."""
    handler = logging.StreamHandler(aside)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("edgewright run: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM in a list; a second signal ends the process the usual way."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def summary_lines(report: RunReport) -> list[str]:
    """The summary as a table for people."""
    summary = report.summary
    drops = ", ".join(f"{count} {cause}" for cause, count in summary.frames_dropped.items()) or "none"
    events = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.events.items())) or "none"
    bad = ", ".join(f"{count} {status}" for status, count in summary.results.items() if status != "ok")
    lines = [
        f"{summary.camera}  with {report.bundle.name} {report.bundle.version} ({report.bundle.variant})",
        f"  variant   {report.bundle.variant} on {report.engine}: {report.chosen}",
        f"  frames    {summary.frames_processed} processed of {summary.frames_seen} seen; dropped: {drops}",
        f"  speed     {summary.fps:.1f} frames/s over {summary.duration_s:.1f} s",
    ]
    if summary.tracks is not None:
        lines.append(f"  tracks    {summary.tracks}")
    lines.append(f"  events    {events}")
    blind = f", blind for {summary.blind_s:.1f} s" if summary.blind_s else ""
    lines.append(f"  coverage  {summary.coverage:.1%} of seconds looked at{blind}")
    if report.heat is not None:
        lines.append(f"  board     {report.heat}; at most {report.heat.highest_celsius:.0f} °C")
    if bad:
        lines.append(f"  not ok    {bad}")
    lines.append(f"  {'stage, ms':<12}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}")
    lines += [
        f"  {stage:<12}{figures.p50_ms:>9.2f}{figures.p95_ms:>9.2f}{figures.p99_ms:>9.2f}{figures.max_ms:>9.2f}"
        for stage, figures in summary.stages.items()
    ]
    lines += [f"  error     {error}" for error in (*summary.errors, *report.problems)]
    if report.annotated is not None:
        lines.append(f"  annotated {report.annotated}")
    if report.events_file is not None:
        lines.append(f"  events in {report.events_file}")
    if report.sync is not None:
        lines.append(_sync_line(report))
    return lines


def _sync_line(report: RunReport) -> str:
    figures = report.sync or {}
    words = "kept in the outbox, no broker was given"
    if report.drained is not None:
        words = "all acknowledged" if report.drained else "not all acknowledged yet, the rest waits in the outbox"
    return (
        f"  sync      {figures.get('emitted', 0)} emitted, {figures.get('stored', 0)} in the cloud's database: {words}"
    )
