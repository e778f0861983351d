"""A system that lies in a folder: what its paths mean there, and never a step out of it.

The kernel follows an absolute link of that system from this machine's own ``/``. So whatever is read of it is looked up
here as the system itself will see it; and nothing is written by way of a link that leads out for this machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import PurePosixPath

    from edgewright.deploy.layout import Layout

__all__ = ["RootTree", "refuse_ways_out"]

_MOST_LINKS = 40


class RootTree:
    """A root.

    Attributes:
        folder: Where it lies here.
    """

    def __init__(self, folder: PurePosixPath) -> None:
        self.folder = Path(folder)

    def find(self, place: str) -> Path | None:
        """A file or folder as the system in the root finds it; None when it does not.

        Args:
            place: As that system calls it, such as ``/usr/bin/python3``.
        """
        inside = self.inside(place)
        return None if inside is None else self.folder / inside.lstrip("/")

    def inside(self, place: str) -> str | None:
        """The same, under the name that no link stands in: such as ``/usr/bin/python3.11``."""
        left = [part for part in reversed(place.split("/")) if part]
        done: list[str] = []
        links = 0
        while left:
            part = left.pop()
            if part in {".", ".."}:
                done = done[:-1] if part == ".." else done
                continue
            here = self.folder.joinpath(*done, part)
            if os.path.islink(here):  # noqa: PTH114 - where the user may not look, a path of pathlib raises
                links += 1
                target = str(here.readlink())
                if links > _MOST_LINKS:
                    return None
                done = [] if target.startswith("/") else done
                left += [each for each in reversed(target.split("/")) if each]
            elif os.path.lexists(here):
                done.append(part)
            else:
                return None
        return "/" + "/".join(done)

    def way_out(self, place: PurePosixPath) -> tuple[str, str] | None:
        """The first link on the way to ``place`` by which this machine would leave the root, and where it points."""
        here = self.folder
        for part in place.parts[1:]:
            here /= part
            if not os.path.islink(here):  # noqa: PTH114 - as above
                continue
            target = here.readlink()
            if target.is_absolute() or not Path(os.path.realpath(here)).is_relative_to(self.folder):
                return f"/{here.relative_to(self.folder)}", str(target)
            here = Path(os.path.realpath(here))
        return None


def refuse_ways_out(layout: Layout) -> None:
    """Sees that nothing which is read, written or removed in a root lies out of it.

    Raises:
        DeployError: A link leads out; the message names it.
    """
    tree = RootTree(layout.root)
    for place in _touched(layout):
        seen = tree.way_out(place)
        if seen is not None:
            link, target = seen
            msg = (
                f"{layout.root}: {link} is a link to {target}, which leads out of this root on the machine that works on "
                f"it, so {place} would be another system's; make it a relative link that stays inside, or boot that system "
                f"and use 'edgewright deploy'"
            )
            raise DeployError(msg)


def _touched(layout: Layout) -> Iterable[PurePosixPath]:
    """Every folder and file of ours; of the links that are ours the folder."""
    yield from (layout.releases, layout.proofs, layout.incoming, layout.record, layout.bundles, layout.engines)
    yield from (layout.config, layout.profile, layout.unit, layout.journald, layout.sysusers, layout.tmpfiles)
    yield from (layout.current.parent, layout.active.parent, layout.wanted.parent)
