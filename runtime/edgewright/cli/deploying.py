"""What the verbs ``deploy`` and ``install`` share: their arguments, and what follows from them."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from edgewright.deploy.board import Board
    from edgewright.deploy.request import Request
    from edgewright.deploy.settings import Settings
    from edgewright.deploy.summary import Way

__all__ = ["add_common_arguments", "deploy_to"]

_JOURNAL_MB = 64
_LARGEST_S = 86400.0


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
    settings = parser.add_argument_group(
        "settings", "for the first device.toml; one that is there is kept, and what it says otherwise is told"
    )
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
    settings.add_argument(
        "--replace-config",
        action="store_true",
        help="write device.toml anew from these; the one there becomes device.toml.before",
    )
    service = parser.add_argument_group("service")
    service.add_argument(
        "--service", choices=("systemd", "none"), default="systemd", help="what starts it (default: systemd)"
    )
    service.add_argument(
        "--journal-mb", type=int, metavar="N", help=f"bound of the board's log (default {_JOURNAL_MB})"
    )
    service.add_argument(
        "--journal",
        choices=("persistent", "volatile"),
        help="where the log lies; volatile: in memory only, which spares an SD card and forgets at power-off (default: "
        "persistent)",
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


def deploy_to(board: Board, args: argparse.Namespace, way: Way) -> int:
    """Does what the arguments say, and tells it.

    Args:
        board: Where.
        args: Of ``add_common_arguments``, and ``bundle``.
        way: How the board is reached, for the commands that are told.

    Returns:
        The exit code.

    Raises:
        EdgewrightError: Bad input, or the board is not as it must be.
    """
    from edgewright.cli.deploy_told import Teller, ended, ended_well
    from edgewright.deploy.install import Deployment, start_by_hand, uninstall

    _check(args, way)
    teller = Teller(as_json=args.json)
    if args.uninstall:
        with teller:
            outcome = uninstall(board, teller.result, on_begin=teller.begin, purge=args.purge, dry=args.dry_run)
        notes = (
            [] if args.purge else [f"the data stays in {board.layout.state}: outbox, bundles; --purge takes it, too"]
        )
        return ended(outcome, board, args, {"notes": notes})
    by_hand = start_by_hand(board)
    with _request(args, by_hand) as request:
        deployment = Deployment(board, request, on_bytes=teller.bytes)
        with teller:
            outcome = deployment.install(teller.result, on_begin=teller.begin, dry=args.dry_run)
        told = {"release": deployment.release, "bundle": request.bundle.digest, "notes": deployment.notes}
        if outcome.error is not None or args.dry_run:
            return ended(outcome, board, args, told)
        from edgewright.deploy.summary import look

        summary = look(board, request, deployment.release, way, start=by_hand, given=str(args.bundle))
    return ended_well(outcome, board, args, told, summary)


def _check(args: argparse.Namespace, way: Way) -> None:
    """Refuses arguments that do not go together.

    Raises:
        DeployError: They do not; the message says which and what to write.
    """
    from edgewright.deploy.errors import DeployError

    service = {"--journal": args.journal, "--journal-mb": args.journal_mb}
    unserved = next((flag for flag, value in service.items() if value is not None), None)
    wrongs = (
        (args.uninstall and args.bundle is not None, "--uninstall takes no bundle: it takes everything away"),
        (args.purge and not args.uninstall, "--purge goes with --uninstall; an installation keeps its data"),
        (not args.uninstall and (args.bundle is None or args.profile is None), _what_is_missing(args, way)),
        (
            args.service == "none" and unserved is not None,
            f"{unserved} bounds the log of the systemd service; with --service none leave it out",
        ),
        (
            args.python_env is not None and not args.python_env.is_absolute(),
            f"--python-env {args.python_env} is no whole path; name the environment's folder on the board, such as /opt/venv",
        ),
        (not 0 <= args.wait <= _LARGEST_S, f"--wait {args.wait:g} cannot be; give seconds from 0 to {_LARGEST_S:.0f}"),
        (not args.clock_skew >= 0, f"--clock-skew {args.clock_skew:g} cannot be; give seconds, 0 or more"),
    )
    message = next((text for wrong, text in wrongs if wrong), None)
    if message is not None:
        raise DeployError(message)


def _what_is_missing(args: argparse.Namespace, way: Way) -> str:
    bundle = shlex.quote(str(args.bundle)) if args.bundle is not None else "BUNDLE"
    profile = shlex.quote(args.profile) if args.profile is not None else "NAME"
    right = f"edgewright {args.verb} {way.target}".rstrip() + f" {bundle} --profile {profile}"
    if args.bundle is None:
        return f"nothing says which bundle; write {right}, or --uninstall to take everything away"
    return (
        f"nothing says which board it is; write {right} ('edgewright profiles list' has the names, 'edgewright profiles "
        f"probe' on the board writes one of your own)"
    )


@contextlib.contextmanager
def _request(args: argparse.Namespace, by_hand: str) -> Iterator[Request]:
    """What the arguments ask for; its files live as long as the context."""
    from edgewright.deploy.layout import Layout
    from edgewright.deploy.own_wheel import pack_own_wheel
    from edgewright.deploy.request import Journal, Request, check_variant, pack
    from edgewright.deploy.settings import Settings, check_settings, read_settings
    from edgewright.deploy.wheelhouse import open_wheelhouse, source_constraints
    from edgewright.device_profiles.profile import list_profiles, load_profile, profile_toml

    settings = Settings(
        source=args.source,
        name=args.name,
        broker=args.broker,
        device=args.device,
        zones=tuple(args.zone),
        threads=args.threads,
        variant=args.variant,
        by_hand=by_hand if args.service == "none" else None,
        replace=args.replace_config,
    )
    check_settings(settings)
    _check_config(args, settings)
    profile = load_profile(args.profile)
    house = None if args.wheelhouse is None else open_wheelhouse(args.wheelhouse)
    bare = house is None and args.python_env is None
    with tempfile.TemporaryDirectory(prefix="edgewright-deploy-") as folder:
        scratch = Path(folder)
        packed = pack(args.bundle, scratch)
        check_variant(packed, profile, args.variant)
        yield Request(
            bundle=packed,
            profile=profile,
            profile_text=None if args.profile in list_profiles() else profile_toml(profile),
            wheelhouse=house,
            own_wheel=pack_own_wheel(scratch) if bare else None,
            constraints=(args.constraints or source_constraints()) if bare else None,
            environment=args.python_env,
            settings=settings,
            config=None if args.config is None else read_settings(args.config, Layout()),
            service=args.service != "none",
            journal_mb=_JOURNAL_MB if args.journal_mb is None else args.journal_mb,
            journal=Journal.PERSISTENT if args.journal is None else Journal(args.journal),
            wait_s=args.wait,
            longest_skew_s=args.clock_skew,
        )


def _check_config(args: argparse.Namespace, settings: Settings) -> None:
    """Refuses a whole file together with words for a new one, and files that are not there."""
    from edgewright.deploy.errors import DeployError

    besides = [*settings.said(), *(["--replace-config"] if args.replace_config else [])]
    if args.config is not None and besides:
        msg = f"--config FILE says all there is to say; leave out {', '.join(besides)}, or --config"
        raise DeployError(msg)
    if args.constraints is not None and not args.constraints.is_file():
        msg = f"there is no constraints file {args.constraints}; leave --constraints out, or name one"
        raise DeployError(msg)
