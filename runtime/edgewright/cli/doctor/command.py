"""The verb: its arguments, all checks, and the exit code."""

from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.errors import EdgewrightError
from edgewright.cli.doctor.asking import Children
from edgewright.cli.doctor.broker import begin_broker, broker
from edgewright.cli.doctor.cameras import begin_cameras, cameras
from edgewright.cli.doctor.clock import clock
from edgewright.cli.doctor.configured import begin_configured, configured
from edgewright.cli.doctor.disk import begin_disk, disk
from edgewright.cli.doctor.engines import begin_compressor, begin_engines, compressor, litert, onnxruntime
from edgewright.cli.doctor.findings import exit_code, shown_lines, to_json
from edgewright.cli.doctor.health import heat, memory
from edgewright.cli.doctor.look import BrokerWish, Look, System, Wishes
from edgewright.cli.doctor.mistakes import read_config
from edgewright.cli.doctor.packages import packages, processor, python
from edgewright.cli.doctor.service import service
from edgewright.cli.doctor.together import look_together, looking_at
from edgewright.cli.waiting import Waiting

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from edgewright.cli.doctor.findings import Finding

__all__ = ["CHECKS", "EPILOG", "add_arguments", "diagnose", "run", "wishes_of"]

EPILOG = """\
examples:
  edgewright doctor
  edgewright doctor --camera rtsp://192.168.1.20/stream
  edgewright doctor --broker mqtt://broker.local --device gate-1
  edgewright doctor --config device.toml --json

Without options nothing is sent over a network. --broker and --camera take '-' and read the URL from standard input, a
line each, the broker's first: a password is then in no list of processes.

exit code 0: nothing is broken (neither a warning nor what could not be examined breaks anything); 5: something is
missing that an installed extra needs; 2: a camera, a broker or a configuration that was named does not work, or the
machine cannot work as it is
"""

BEGINNINGS: tuple[Callable[[Look], None], ...] = (
    begin_compressor,
    begin_configured,
    begin_broker,
    begin_cameras,
    begin_engines,
    begin_disk,
)
"""What starts the probes, all at once, those that take longest first."""

CHECKS: tuple[Callable[[Look], Iterator[Finding]], ...] = (
    python,
    processor,
    memory,
    heat,
    packages,
    onnxruntime,
    litert,
    compressor,
    disk,
    clock,
    service,
    cameras,
    broker,
    configured,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--camera", action="append", metavar="URI", help="open this source and take frames; repeatable")
    parser.add_argument("--config", type=Path, metavar="FILE", help="try everything that this device.toml names")
    sync = parser.add_argument_group("broker")
    sync.add_argument("--broker", metavar="URL", help="try this broker: mqtt://host or mqtts://host, as for run")
    sync.add_argument("--device", metavar="NAME", help="as whom (default: the configuration's, else the host name)")
    for name, what in (("ca", "authorities to trust"), ("cert", "own certificate"), ("key", "its private key")):
        sync.add_argument(f"--{name}", metavar="FILE", help=f"{what}, instead of ?{name}= in the URL")
    remote = parser.add_argument_group("another machine")
    remote.add_argument(
        "--remote", metavar="USER@HOST", help="run the board's own doctor over SSH; files are the board's"
    )
    remote.add_argument("--port", type=int, metavar="N", help="of its SSH server (default: ssh's configuration)")
    remote.add_argument("--identity", type=Path, metavar="FILE", help="private key (default: ssh's configuration)")
    remote.add_argument("--ssh-option", action="append", metavar="KEY=VALUE", help="as for ssh -o; repeatable")


def run(args: argparse.Namespace) -> int:
    """Looks, and prints what was found."""
    if args.remote is not None:
        from edgewright.cli.doctor.remote import diagnose_remote

        given = read_secrets(args, sys.stdin)
        with Waiting(looking_at(lambda: (str(args.remote),)), sys.stderr):
            found = diagnose_remote(args, given)
    else:
        found = diagnose(wishes_of(args, read_secrets(args, sys.stdin)))
    if args.json:
        print(json.dumps(to_json(found, args.remote)))
    else:
        print("\n".join(shown_lines(found)))
    return exit_code(found)


def diagnose(wishes: Wishes | None = None, system: System | None = None) -> tuple[Finding, ...]:
    """Everything there is to find out; without wishes no network, and a few seconds.

    Args:
        wishes: What to try beside the machine itself.
        system: Whose files are looked at.
    """
    with Children() as children, Waiting(looking_at(children.waiting), sys.stderr):
        look = Look(children, wishes or Wishes(), system or System())
        for begin in BEGINNINGS:
            begin(look)
        return look_together(CHECKS, look, children)


def read_secrets(args: argparse.Namespace, stream: TextIO) -> tuple[str | None, tuple[str, ...]]:
    """Broker URL and cameras, those given as ``-`` read from ``stream``.

    Raises:
        EdgewrightError: There is no line for one.
    """

    def given(value: str) -> str:
        if value != "-":
            return value
        line = stream.readline().strip()
        if not line:
            raise _NoLineError
        return line

    broker_url = None if args.broker is None else given(args.broker)
    return broker_url, tuple(given(uri) for uri in args.camera or ())


class _NoLineError(EdgewrightError):
    """Something was to come through standard input and did not."""

    def __init__(self) -> None:
        super().__init__("'-' stands for a URL on standard input, a line each, and there was none")


def wishes_of(args: argparse.Namespace, given: tuple[str | None, tuple[str, ...]]) -> Wishes:
    """What the command line asks for; a broken configuration is a finding, not an end.

    Args:
        args: The command line.
        given: Broker URL and cameras.
    """
    url, uris = given
    config, mistakes = (None, ()) if args.config is None else read_config(args.config)
    if url is None and config is not None:
        url = config.sync.broker
    wish = None
    if url is not None:
        named = args.device or (config.sync.device if config is not None else None)
        files = tuple((name, value) for name in ("ca", "cert", "key") if (value := getattr(args, name)) is not None)
        wish = BrokerWish(url, named or _host_name(), files)
    return Wishes(uris, wish, args.config, config, mistakes)


def _host_name() -> str:
    """As ``run`` calls a device that was given no name."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("-._")[:64] or "device"
