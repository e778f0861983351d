"""`edgewright deploy`: runtime, service and bundle on a board over SSH, proven there before they are put to use."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.cli.deploying import add_common_arguments, deploy_to

if TYPE_CHECKING:
    import argparse

EPILOG = """\
Runs steps, each of which looks first whether all is so already: doing it again changes nothing, and after a broken
link it goes on. A step that fails is undone, with all before it. The bundle has to give its golden answers on the board
itself before anything is put to use. An upgrade is the same command with the new bundle or the new edgewright; the
board's device.toml is kept then, unless you say --replace-config.

exit code 2: the board is not as it must be, or a step failed; 3: the board does not repeat the golden answers

examples:
  edgewright deploy pi@gate-1.local person.edge --profile raspberry-pi-5 --source 0 --dry-run
  edgewright deploy pi@gate-1.local person.edge --profile raspberry-pi-5 --source 0 --broker mqtts://broker.example
  edgewright deploy pi@gate-1.local person.edge --profile raspberry-pi-5 --wheelhouse wheels
  edgewright deploy pi@gate-1.local --uninstall
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("target", metavar="USER@HOST", help="the board, as ssh knows it")
    parser.add_argument("bundle", nargs="?", type=Path, metavar="BUNDLE", help="bundle directory or .edge file")
    add_common_arguments(parser)
    link = parser.add_argument_group("link")
    link.add_argument("--port", type=int, metavar="N", help="where its SSH server listens (default: what ssh says)")
    link.add_argument("--identity", type=Path, metavar="FILE", help="private key (default: what ssh says)")
    link.add_argument(
        "--ssh-option", action="append", default=[], metavar="KEY=VALUE", help="passed on to ssh -o; may be given often"
    )


def run(args: argparse.Namespace) -> int:
    """Deploys, or takes everything away again."""
    from edgewright.deploy.board import Board
    from edgewright.deploy.layout import Layout
    from edgewright.deploy.ssh import SshHost
    from edgewright.deploy.summary import Way

    _check_words(args)
    with SshHost(args.target, port=args.port, identity=args.identity, options=args.ssh_option) as host:
        identity = None if args.identity is None else str(args.identity)
        return deploy_to(Board(host, Layout()), args, Way(args.target, args.port, identity, tuple(args.ssh_option)))


def _check_words(args: argparse.Namespace) -> None:
    """Refuses a bundle where the board should stand.

    Raises:
        DeployError: The words are swapped, or the board was left out.
    """
    from edgewright.deploy.errors import DeployError

    word, second = args.target, args.bundle
    if not _is_bundle(word) or (args.uninstall and not Path(word).exists()):
        return
    with_profile = f" --profile {shlex.quote(args.profile or 'NAME')}"
    if second is None:
        then = "--uninstall" if args.uninstall else f"{shlex.quote(word)}{with_profile}"
        msg = f"{word} is a bundle, and no board was named; the board comes first: edgewright deploy USER@HOST {then}"
        raise DeployError(msg)
    if not _is_bundle(str(second)):
        right = shlex.join([str(second), word])
        msg = f"the board comes first, then the bundle: edgewright deploy {right}{with_profile}"
        raise DeployError(msg)
    if Path(word).exists():
        msg = f"{word} and {second} are both bundles; name the board, then one bundle: edgewright deploy USER@HOST {second}"
        raise DeployError(msg)


def _is_bundle(word: str) -> bool:
    """Whether a word looks like a bundle and not like a board."""
    path = Path(word)
    return "@" not in word and (path.suffix == ".edge" or (path / "manifest.json").is_file())
