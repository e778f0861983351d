"""Which video nodes of this machine take pictures, by what their drivers say; no library is needed, and none is opened.

Opening a node is its driver's business, which may never come back: to be called in a process of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgewright.runtime.probing.cameras_v4l2 import Capability, ask_node, read_struct

__all__ = ["FoundCamera", "list_cameras", "read_capability"]

_STAGES = ("rp1-cfe", "pispbe", "bcm2835-isp", "unicam", "tegra-video")


@dataclass(frozen=True)
class FoundCamera:
    """A video node that takes pictures.

    Attributes:
        path: Such as ``/dev/video0``.
        card: What its driver calls it.
        staged: It is one stage of a CSI camera's pipeline, which gives pictures to libcamera only.
        problem: Why it could not be asked, empty when it could.
    """

    path: str
    card: str
    staged: bool = False
    problem: str = ""


def list_cameras(folder: Path = Path("/dev")) -> tuple[FoundCamera, ...]:
    """Video nodes that take pictures; codecs, scalers and metadata nodes are left out."""
    nodes = [path for path in folder.glob("video*") if re.fullmatch(r"video\d+", path.name)]
    found = (_camera(path) for path in sorted(nodes, key=lambda path: int(path.name.removeprefix("video"))))
    return tuple(camera for camera in found if camera is not None)


def read_capability(path: str, data: bytes) -> FoundCamera | None:
    """The camera that a ``v4l2_capability`` describes, None when it describes something else."""
    return _found(path, read_struct(data))


def _camera(path: Path) -> FoundCamera | None:
    try:
        told = ask_node(str(path))
    except OSError as error:
        return FoundCamera(str(path), "", problem=f"cannot be opened ({error.strerror})")
    return None if told is None else _found(str(path), told)


def _found(path: str, told: Capability) -> FoundCamera | None:
    if not told.takes_pictures:
        return None
    staged = any(name.startswith(_STAGES) for name in (told.driver, told.card))
    return FoundCamera(path, told.card, staged=staged)
