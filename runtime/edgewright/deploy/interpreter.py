"""How a release's interpreter is started by whoever works on the board.

On the board it is the release's own. In a root that lies in a folder, its links lead to places that are this machine's
for whoever follows them from here; there an interpreter of this machine, of the same version, runs with the release's
packages and with no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.deploy.root_tree import RootTree

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from edgewright.deploy.board import Board

__all__ = ["HOMELESS", "RELINKED", "interpreter"]

_IN_SCRATCH = """
cd / && home=$(mktemp -d) && trap 'rm -rf "$home"' EXIT
HOME=$home XDG_CACHE_HOME=$home PYTHONDONTWRITEBYTECODE=1 "$@"
"""
HOMELESS = ("sh", "-c", _IN_SCRATCH, "sh")
"""Stands before a command whose engines would leave files in the home of whoever runs it; this one goes with it."""

_LAUNCH = """
import runpy, site, sys
packages = "%s/lib/python%d.%d/site-packages" % (sys.argv[1], *sys.version_info[:2])
how, what = sys.argv[2:4]
site.addsitedir(packages)
sys.argv = [what if how == "-m" else "-c", *sys.argv[4:]]
if how == "-m":
    runpy.run_module(what, run_name="__main__", alter_sys=True)
else:
    exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
"""
RELINKED = """
import pathlib, sys
part, inside = pathlib.Path(sys.argv[1]), pathlib.PurePosixPath(sys.argv[2])
names = {link.name for link in (part / "bin").glob("python*") if link.is_symlink()} | {inside.name}
for name in names:
    (part / "bin" / name).unlink(missing_ok=True)
    (part / "bin" / name).symlink_to(inside if name == inside.name else inside.name)
file = part / "pyvenv.cfg"
kept = [row for row in file.read_text().splitlines() if row.split(" ")[0] in {"include-system-site-packages", "prompt"}]
file.write_text("\\n".join([f"home = {inside.parent}", *kept, ""]))
"""
"""Python: has an environment lead to another interpreter of its version, and leaves no trace of the one that made it."""


def interpreter(board: Board, place: PurePosixPath) -> list[str]:
    """What starts it, isolated; ``-m MODULE`` or ``-c CODE`` is to follow.

    Args:
        board: Where.
        place: The release's folder, as the machine that works on it sees it.
    """
    if board.outside is None:
        return [str(place / "bin" / "python"), "-I"]
    root = board.layout.root
    found = RootTree(root).find(f"/{place.relative_to(root)}")
    return [board.outside, "-I", "-S", "-c", _LAUNCH, str(found or place)]
