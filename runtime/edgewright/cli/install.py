"""`edgewright install`: what ``deploy`` does, on the board itself."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from edgewright.cli.deploying import add_common_arguments, deploy_to

if TYPE_CHECKING:
    import argparse

EPILOG = """\
Run it on the board, or with --root on a system that is being built; it does what 'edgewright deploy' does from afar.

examples:
  edgewright install person.edge --profile raspberry-pi-5 --source 0 --dry-run
  edgewright install person.edge --profile raspberry-pi-5 --source 0
  edgewright install person.edge --profile raspberry-pi-5 --source 0 --root /mnt/card --wheelhouse wheels
  edgewright install --uninstall
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", nargs="?", type=Path, metavar="BUNDLE", help="bundle directory or .edge file")
    add_common_arguments(parser)
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="install into the system that lies there; users and services of this machine are left alone",
    )


def run(args: argparse.Namespace) -> int:
    """Installs here, or takes everything away again."""
    from edgewright.deploy.board import Board
    from edgewright.deploy.errors import DeployError
    from edgewright.deploy.layout import Layout
    from edgewright.deploy.local import LocalHost
    from edgewright.deploy.summary import Way

    if args.root is None:
        return deploy_to(Board(LocalHost(), Layout()), args, Way())
    if not args.root.is_dir():
        msg = f"there is no folder {args.root}; --root names where a system's own root lies, such as /mnt/card"
        raise DeployError(msg)
    layout = Layout(PurePosixPath(args.root.resolve()))
    return deploy_to(Board(LocalHost(escalate=False), layout, system=False), args, Way())
