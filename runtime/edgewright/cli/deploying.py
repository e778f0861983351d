"""What the verbs ``deploy`` and ``install`` share: arguments, progress, and how the steps are told."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import ExitCode
from edgewright.bundle.text import plain, plain_values

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from edgewright.deploy.board import Board
    from edgewright.deploy.plan import Outcome, StepResult
    from edgewright.deploy.request import Request

__all__ = ["add_common_arguments", "deploy_to"]

_REFRESH_S = 0.2
_PLAIN_EVERY_S = 10.0
_SETTING_FLAGS = ("source", "name", "broker", "device", "threads", "variant")


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what both verbs take."""
    parser.add_argument("--profile", metavar="NAME", help="the board; see 'edgewright profiles list', or a .toml file")
    parser.add_argument("--dry-run", action="store_true", help="print every step and what it would do; change nothing")
    parser.add_argument("--uninstall", action="store_true", help="take everything away but the data")
    parser.add_argument("--purge", action="store_true", help="with --uninstall: the data, too (outbox, bundles)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    program = parser.add_argument_group("program")
    program.add_argument(
        "--wheelhouse", type=Path, metavar="DIR", help="install from it, without a network on the board"
    )
    program.add_argument(
        "--constraints",
        type=Path,
        metavar="FILE",
        help="without a wheelhouse: versions to keep to (default: those of the source checkout)",
    )
    program.add_argument(
        "--python-env",
        type=PurePosixPath,
        metavar="DIR",
        help="an environment on the board that has edgewright already; nothing is installed",
    )
    settings = parser.add_argument_group("settings", "for the first device.toml; one that is there is kept")
    settings.add_argument("--source", metavar="URI", help="what to watch, see 'edgewright run --help'")
    settings.add_argument("--name", help="what events call the camera")
    settings.add_argument("--broker", metavar="URL", help="deliver events by MQTT: mqtt://host or mqtts://host")
    settings.add_argument("--device", metavar="NAME", help="the board's name in the fleet (default: its host name)")
    settings.add_argument("--zone", action="append", default=[], metavar="NAME=X,Y;X,Y;..", help="count objects there")
    settings.add_argument("--threads", type=int, metavar="N", help="engine threads (default: the profile's)")
    settings.add_argument("--variant", help="of the bundle (default: what bench --pick found fastest there)")
    settings.add_argument(
        "--config", type=Path, metavar="FILE", help="a whole device.toml instead; replaces the one there"
    )
    service = parser.add_argument_group("service")
    service.add_argument(
        "--service", choices=("systemd", "none"), default="systemd", help="what starts it (default: systemd)"
    )
    service.add_argument(
        "--journal-mb", type=int, default=64, metavar="N", help="bound of the board's log (default 64)"
    )
    service.add_argument(
        "--wait", type=float, default=120.0, metavar="S", help="for the service to be ready (default 120)"
    )
    service.add_argument(
        "--clock-skew",
        type=float,
        default=300.0,
        metavar="S",
        help="how far the board's clock may be off (default 300)",
    )


def deploy_to(board: Board, args: argparse.Namespace) -> int:
    """Does what the arguments say, and tells it.

    Args:
        board: Where.
        args: Of ``add_common_arguments``, and ``bundle``.

    Returns:
        The exit code.

    Raises:
        EdgewrightError: Bad input, or the board is not as it must be.
    """
    from edgewright.deploy.errors import DeployError
    from edgewright.deploy.install import Deployment, start_by_hand, uninstall

    teller = _Teller(as_json=args.json)
    if args.uninstall:
        if args.bundle is not None:
            msg = "--uninstall takes no bundle: it takes everything away"
            raise DeployError(msg)
        return _ended(uninstall(board, teller.result, purge=args.purge, dry=args.dry_run), board, args, {})
    if args.bundle is None or args.profile is None:
        msg = "name the bundle and the board's --profile; 'edgewright profiles list' has the boards"
        raise DeployError(msg)
    if args.purge:
        msg = "--purge goes with --uninstall; an installation keeps its data"
        raise DeployError(msg)
    with _request(args) as request:
        deployment = Deployment(board, request, on_bytes=None if args.json else teller.bytes)
        outcome = deployment.install(teller.result, dry=args.dry_run)
    told: dict[str, Any] = {
        "release": deployment.release,
        "bundle": request.bundle.digest,
        "notes": deployment.notes,
    }
    if args.service == "none" and outcome.error is None:
        told["notes"] = [*deployment.notes, f"nothing starts it; by hand: {start_by_hand(board)}"]
    return _ended(outcome, board, args, told)


def _ended(outcome: Outcome, board: Board, args: argparse.Namespace, told: dict[str, Any]) -> int:
    if args.json:
        rows = [{"step": r.title, "state": r.state.value, "words": r.words} for r in outcome.results]
        error = None if outcome.error is None else str(outcome.error)
        whole = {"board": board.name, "dry_run": args.dry_run, "changed": outcome.changed, "steps": rows}
        print(json.dumps(plain_values(whole | {"error": error, "left": outcome.left} | told)))
    else:
        for note in told.get("notes", ()):
            print(plain(f"  note: {note}"))
        print(plain(_last_line(outcome, board, dry=args.dry_run)))
    if outcome.error is None:
        return ExitCode.OK
    print(plain(f"edgewright {args.verb}: {outcome.error}"), file=sys.stderr)
    return int(outcome.error.exit_code)


def _last_line(outcome: Outcome, board: Board, *, dry: bool) -> str:
    if outcome.error is not None:
        if outcome.left:
            left = ", ".join(outcome.left)
            return f"failed; not undone: {left}. What ran before stays; run this again to go on"
        return "failed; everything is as it was before"
    if dry:
        return "would change the board; nothing was done" if outcome.changed else "nothing would change"
    return f"{board.name}: changed" if outcome.changed else f"{board.name}: unchanged, all was so already"


class _Teller:
    """Prints steps as they end, and how far a file has come."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._file = ""
        self._begun = 0.0
        self._first = 0
        self._last_line = 0.0

    def result(self, result: StepResult) -> None:
        """One line for a step."""
        if not self._as_json:
            print(plain(f"  {result.state.value:<13}{result.title}: {result.words}"), flush=True)

    def bytes(self, name: str, sent: int, total: int) -> None:
        """One refreshed line on a terminal, plain lines now and then elsewhere."""
        now = time.monotonic()
        if name != self._file:
            self._file, self._begun, self._first, self._last_line = name, now, sent, now
        terminal = sys.stderr.isatty()
        if sent < total and now - self._last_line < (_REFRESH_S if terminal else _PLAIN_EVERY_S):
            return
        self._last_line = now
        rate = (sent - self._first) / max(now - self._begun, 1e-6)
        rest = f", {(total - sent) / rate:.0f} s left" if sent < total and rate > 0 else ""
        line = f"  sending {plain(name)}: {sent / 1e6:.1f} of {total / 1e6:.1f} MB{rest}"
        if terminal:
            print(f"\r\x1b[K{line if sent < total else ''}", end="", file=sys.stderr, flush=True)
        elif sent < total:
            print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _request(args: argparse.Namespace) -> Iterator[Request]:
    """What the arguments ask for; its files live as long as the context."""
    from edgewright.deploy.layout import Layout
    from edgewright.deploy.own_wheel import pack_own_wheel
    from edgewright.deploy.request import Request, pack
    from edgewright.deploy.settings import Settings, read_settings
    from edgewright.deploy.wheelhouse import open_wheelhouse, source_constraints
    from edgewright.device_profiles.profile import list_profiles, load_profile, profile_toml

    profile = load_profile(args.profile)
    house = None if args.wheelhouse is None else open_wheelhouse(args.wheelhouse)
    bare = house is None and args.python_env is None
    said = {key: getattr(args, key) for key in _SETTING_FLAGS}
    settings = Settings(**said, zones=tuple(args.zone))
    with tempfile.TemporaryDirectory(prefix="edgewright-deploy-") as folder:
        scratch = Path(folder)
        yield Request(
            bundle=pack(args.bundle, scratch),
            profile=profile,
            profile_text=None if args.profile in list_profiles() else profile_toml(profile),
            wheelhouse=house,
            own_wheel=pack_own_wheel(scratch) if bare else None,
            constraints=(args.constraints or source_constraints()) if bare else None,
            environment=args.python_env,
            settings=settings,
            config=None if args.config is None else read_settings(args.config, Layout()),
            service=args.service != "none",
            journal_mb=args.journal_mb,
            wait_s=args.wait,
            longest_skew_s=args.clock_skew,
        )
