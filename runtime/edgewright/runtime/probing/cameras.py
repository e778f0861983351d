"""Which cameras of this machine open: V4L2 nodes one by one, and the GStreamer elements that speak to CSI cameras.

A driver or a library may hang for ever when it is asked, so each question is put by a process of its own that is ended
at a deadline. Of CSI cameras only the presence of the element is told: opening one needs a pipeline, which is the
runtime's business.
"""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.runtime.probing.asking import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["CSI_ELEMENTS", "CameraNode", "find_cameras", "find_elements"]

CSI_ELEMENTS = ("nvarguscamerasrc", "libcamerasrc")
"""GStreamer elements that read CSI cameras: of Jetson, and of libcamera."""

_NODE_S = 6.0
_ALL_S = 30.0
_INSPECT_S = 10.0
_CHILD = "edgewright.runtime.probing.camera_child"
_KINDS = ("camera", "silent", "other")


@dataclass(frozen=True)
class CameraNode:
    """A V4L2 node.

    Attributes:
        path: Such as ``/dev/video0``.
        state: ``camera`` gave a picture; ``silent`` opened and gave none; ``hung`` did not answer; ``other`` is no
            camera, or may not be opened; ``unasked`` came too late.
        width: Of the picture, in pixels; None without one.
        height: The same.
    """

    path: str
    state: str
    width: int | None = None
    height: int | None = None


def find_cameras(
    nodes: Sequence[str] | None = None,
    deadline_s: float = _NODE_S,
    command: Callable[[str], Sequence[str]] = lambda path: (sys.executable, "-m", _CHILD, path),
) -> tuple[CameraNode, ...]:
    """Tries every V4L2 node, one after the other.

    Args:
        nodes: Their paths; None takes what is in ``/dev``.
        deadline_s: Seconds that one may take.
        command: The program that tries one; it prints what ``camera_child`` does.
    """
    there = _nodes() if nodes is None else tuple(nodes)
    started = time.monotonic()
    found = []
    for path in there:
        if time.monotonic() - started > _ALL_S:
            found.append(CameraNode(path, "unasked"))
        else:
            found.append(_node(path, *ask(command(path), deadline_s)))
    return tuple(found)


def find_elements(names: Sequence[str] = CSI_ELEMENTS, tool: str = "gst-inspect-1.0") -> tuple[str, ...]:
    """Those of GStreamer's elements that are installed; none where GStreamer is not.

    Args:
        names: Of elements.
        tool: GStreamer's own program that knows them.
    """
    # Without a version the tool denies elements of plug-ins that are older than GStreamer itself, such as libcamera's.
    return tuple(name for name in names if ask((tool, "--exists", "--atleast-version=0.0", name), _INSPECT_S)[0] == 0)


def _nodes() -> tuple[str, ...]:
    paths = [path for path in Path("/dev").glob("video*") if re.fullmatch(r"video\d+", path.name)]
    return tuple(str(path) for path in sorted(paths, key=lambda path: int(path.name.removeprefix("video"))))


def _node(path: str, status: int | None, output: str) -> CameraNode:
    if status is None:
        return CameraNode(path, "hung")
    try:
        told = json.loads(output.strip().splitlines()[-1])
        state = str(told["kind"])
        if state == "camera":
            return CameraNode(path, state, int(told["width"]), int(told["height"]))
    except (ValueError, IndexError, KeyError, TypeError):  # the child died
        return CameraNode(path, "other")
    return CameraNode(path, state if state in _KINDS else "other")
