"""``edgewright ingest``: receive events from devices into a database."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from edgewright.cloud import IngestService


__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG = """\
examples:
  edgewright ingest --db sqlite:///fleet.db
  edgewright ingest --db sqlite:///fleet.db --broker 'mqtts://ingest:secret@broker.example:8883?ca=ca.pem'

Without --broker a small broker is started on 127.0.0.1, for one machine and for trying. End it with Ctrl-C.
"""

_POLL_S = 0.2
_FIRST_CONTACT_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--db", required=True, metavar="URL", help="the database, such as sqlite:///fleet.db")
    parser.add_argument("--broker", metavar="URL", help="mqtt:// or mqtts:// URL; default: start one on 127.0.0.1")
    parser.add_argument("--port", type=_port, metavar="N", help="of the started broker (default 1883, 0: a free one)")
    parser.add_argument("--client-id", default="edgewright-ingest", metavar="ID", help="MQTT client id (%(default)s)")
    parser.add_argument(
        "--until-idle",
        type=_seconds,
        metavar="SECONDS",
        help="end when connected and no message has come for this long",
    )
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="write the broker's URL there once it is ready")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end, nothing else")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no TCP port; give 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Runs the verb until SIGINT or SIGTERM."""
    from edgewright.bundle.atomic import write_text
    from edgewright.cloud import IngestConfig, IngestError, IngestService
    from edgewright.sync.address import parse_broker

    if args.broker is not None and args.port is not None:
        raise IngestError("--port is for the broker that ingest starts itself; leave it out together with --broker")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    port = 1883 if args.port is None else args.port
    service = IngestService(IngestConfig(args.db, args.broker, port, args.client_id))
    with _stop_signals() as stop, service:
        shown = str(parse_broker(service.broker_url))  # without credentials
        if not args.json:
            print(f"ingest: {shown} -> {args.db}; Ctrl-C ends it", flush=True)
        written = args.ready_file is None
        began = time.monotonic()
        while not _finished(service, stop, args.until_idle):
            if args.until_idle and not service.wait_ready(0):
                _refuse_silence(time.monotonic() - began, args.until_idle, shown)
            if not written and service.wait_ready(0):
                write_text(args.ready_file, shown + "\n")
                written = True
    _summary(service, shown, args)
    return ExitCode.OK


def _finished(service: IngestService, stop: threading.Event, until_idle: float | None) -> bool:
    if stop.wait(_POLL_S):
        return True
    if until_idle is None or not service.wait_ready(0):
        return False
    return time.monotonic() - service.stats().last_message_at > until_idle


def _refuse_silence(waited_s: float, until_idle: float, shown: str) -> None:
    """Idle is who could have been sent something: without a broker that would say success after having done nothing."""
    from edgewright.cloud import IngestError

    patience = max(until_idle, _FIRST_CONTACT_S)
    if waited_s > patience:
        raise IngestError(f"no connection to {shown} within {patience:.0f} s; start that broker, or correct --broker")


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that the batch in hand is finished."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summary(service: IngestService, shown: str, args: argparse.Namespace) -> None:
    from edgewright.cloud import count_events

    stats = service.stats()
    total = count_events(args.db)
    if args.json:
        names = ("messages", "stored", "duplicates", "conflicts", "rejected", "malformed", "mismatched", "failures")
        counts = {name: getattr(stats, name) for name in names}
        print(json.dumps({"broker": shown, "db": args.db, **counts, "events_in_database": total}))
        return
    print(
        f"ingest: {stats.stored} new records, {stats.duplicates} duplicates, "
        f"{stats.malformed + stats.mismatched} unusable messages; {total} events in the database"
    )
