"""Opens one V4L2 node and takes one picture: a program of its own, for a driver may never answer.

Run as ``python -m edgewright.runtime.probing.camera_child /dev/video0``. Prints one line of JSON: ``kind`` is
``camera``, ``silent`` (it opens as a camera and gives no picture) or ``other`` (a codec or an output, or it does not
open); a camera has ``width`` and ``height``.
"""

from __future__ import annotations

import json
import os
import sys

from edgewright.runtime.probing.cameras_v4l2 import ask_node

__all__ = ["main"]

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
        told = ask_node(path, os.O_RDWR)
    except OSError:
        return False
    return told is not None and told.takes_pictures


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))  # noqa: T201 - the answer of this program
