"""Which video nodes of this machine take pictures, by what their drivers say; no library is needed, and none is opened.

Opening a node is its driver's business, which may never come back: to be called in a process of its own.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FoundCamera", "list_cameras", "read_capability"]

# struct v4l2_capability of the kernel's videodev2.h: driver, card, bus, version, capabilities of the hardware, of this
# node, reserved.
_CAPABILITY = struct.Struct("16s32s32sIII12x")
_QUERYCAP = 0x80685600
_CAPTURES = 0x00000001 | 0x00001000  # V4L2_CAP_VIDEO_CAPTURE, and with several planes
_CODEC = 0x00004000 | 0x00008000  # memory to memory: a decoder or a scaler, no camera
_HAS_OWN = 0x80000000
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


def _camera(path: Path) -> FoundCamera | None:
    buffer = bytearray(_CAPABILITY.size)
    try:
        node = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return FoundCamera(str(path), "", problem=f"cannot be opened ({error.strerror})")
    try:
        fcntl.ioctl(node, _QUERYCAP, buffer)
    except OSError:
        return None  # no V4L2 node
    finally:
        os.close(node)
    return read_capability(str(path), bytes(buffer))


def read_capability(path: str, data: bytes) -> FoundCamera | None:
    """The camera that a ``v4l2_capability`` describes, None when it describes something else."""
    driver, card, _bus, _version, everything, own = _CAPABILITY.unpack(data)
    able = own if everything & _HAS_OWN else everything
    if not able & _CAPTURES or able & _CODEC:
        return None
    names = [name.split(b"\0")[0].decode("utf-8", "replace") for name in (driver, card)]
    return FoundCamera(path, names[1], staged=any(name.startswith(_STAGES) for name in names))
