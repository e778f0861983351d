"""What the driver of a V4L2 node says that it is; no library is needed for it.

Opening a node is its driver's business, which may never come back: to be called in a process of its own.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass

__all__ = ["Capability", "ask_node", "read_struct"]

# struct v4l2_capability of the kernel's videodev2.h: driver, card, bus, version, capabilities of the hardware, of this
# node, reserved.
_CAPABILITY = struct.Struct("16s32s32sIII12x")
_QUERYCAP = 0x80685600
_CAPTURES = 0x00000001 | 0x00001000  # V4L2_CAP_VIDEO_CAPTURE, and with several planes
_CODEC = 0x00004000 | 0x00008000  # memory to memory: a decoder or a scaler, no camera
_HAS_OWN = 0x80000000


@dataclass(frozen=True)
class Capability:
    """What a node can do.

    Attributes:
        driver: Its name.
        card: What the driver calls the device.
        takes_pictures: Whether it is a camera, and neither a codec nor a source of metadata.
    """

    driver: str
    card: str
    takes_pictures: bool


def ask_node(path: str, mode: int = os.O_RDONLY) -> Capability | None:
    """Asks the driver of a node; None when it is no V4L2 node.

    Args:
        path: Such as ``/dev/video0``.
        mode: To open it for reading, or for writing as well, as whoever takes pictures must.

    Raises:
        OSError: It cannot be opened.
    """
    buffer = bytearray(_CAPABILITY.size)
    node = os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(node, _QUERYCAP, buffer)
    except OSError:
        return None
    finally:
        os.close(node)
    return read_struct(bytes(buffer))


def read_struct(data: bytes) -> Capability:
    """Reads a ``v4l2_capability``."""
    driver, card, _bus, _version, everything, own = _CAPABILITY.unpack(data)
    able = own if everything & _HAS_OWN else everything
    names = [name.split(b"\0")[0].decode("utf-8", "replace") for name in (driver, card)]
    return Capability(names[0], names[1], bool(able & _CAPTURES) and not able & _CODEC)
