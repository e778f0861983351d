"""Opens one V4L2 node and takes one picture: a program of its own, for a driver may never answer.

Run as ``python -m edgewright.runtime.probing.camera_child /dev/video0``. Prints one line of JSON: ``kind`` is
``camera``, ``silent`` (it opens as a camera and gives no picture) or ``other`` (a codec or an output, or it does not
open); a camera has ``width`` and ``height``.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import sys

__all__ = ["main"]

# struct v4l2_capability of linux/videodev2.h: driver, card, bus_info, version, capabilities, device_caps, reserved.
_CAPABILITY = struct.Struct("16s32s32sIII3I")
_VIDIOC_QUERYCAP = (2 << 30) | (_CAPABILITY.size << 16) | (ord("V") << 8) | 0
_HAS_DEVICE_CAPS = 0x80000000
_CAPTURES = 0x00000001
_TRIES = 5


def main(path: str) -> dict[str, object]:
    """What the node is."""
    if not _captures(path):
        return {"kind": "other"}
    import cv2

    capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    try:
        for _ in range(_TRIES):  # some cameras give an empty picture first
            fine, picture = capture.read() if capture.isOpened() else (False, None)
            if fine and picture is not None and picture.size:
                return {"kind": "camera", "width": int(picture.shape[1]), "height": int(picture.shape[0])}
        return {"kind": "silent"}
    finally:
        capture.release()


def _captures(path: str) -> bool:
    """Whether the driver says that the node gives pictures; a Raspberry Pi has a dozen that do not."""
    try:
        node = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        answer = fcntl.ioctl(node, _VIDIOC_QUERYCAP, bytes(_CAPABILITY.size))
    except OSError:  # no video device at all
        return False
    finally:
        os.close(node)
    *_, capabilities, device, _, _, _ = _CAPABILITY.unpack(answer)
    return bool((device if capabilities & _HAS_DEVICE_CAPS else capabilities) & _CAPTURES)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))  # noqa: T201 - the answer of this program
