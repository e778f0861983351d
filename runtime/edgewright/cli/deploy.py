"""`edgewright deploy`: runtime, service and bundle on a board over SSH, proven there before they are put to use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.cli.deploying import add_common_arguments, deploy_to

if TYPE_CHECKING:
    import argparse

EPILOG = """\
Runs steps, each of which looks first whether all is so already: doing it again changes nothing, and after a broken
link it goes on. A step that fails is undone, with all before it. The bundle has to give its golden answers on the board
itself before anything is put to use. An upgrade is the same command with the new bundle or the new edgewright.

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
    parser.add_argument("bundle", nargs="?", type=Path, help="bundle directory or .edge file")
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

    with SshHost(args.target, port=args.port, identity=args.identity, options=args.ssh_option) as host:
        return deploy_to(Board(host, Layout()), args)
