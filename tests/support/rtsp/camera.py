"""A real RTSP camera for tests: start it, freeze it, kill it, start it again.

Needs Debian's gstreamer packages (see scripts/install); the server runs under /usr/bin/python3, which has PyGObject.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

_SERVER = Path(__file__).with_name("server.py")
_PYTHON = "/usr/bin/python3"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RtspCamera:
    """A camera at ``url`` that can be made to fail."""

    def __init__(self, *, width: int = 320, height: int = 240, fps: int = 30) -> None:
        """Picks a port; ``start`` starts the server."""
        self.port = free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        self._arguments = [str(self.port), str(width), str(height), str(fps)]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts the server and waits until it listens."""
        self._process = subprocess.Popen(
            [_PYTHON, str(_SERVER), *self._arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line.strip() != "ready":
            self._process.kill()
            message = f"the RTSP server did not start: {self._process.communicate()[1]}"
            raise RuntimeError(message)

    def kill(self) -> None:
        """Ends it at once, like a pulled plug."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.communicate()
        self._process = None

    def freeze(self) -> None:
        """Stops it without closing anything, like a pulled network cable."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def rtsp_camera() -> Iterator[RtspCamera]:
    """A started camera, killed at the end."""
    camera = RtspCamera()
    camera.start()
    try:
        yield camera
    finally:
        camera.kill()


def made_at_ms(image: NDArray[np.uint8]) -> int:
    """When a picture was made, in milliseconds of the monotonic clock modulo 2**32, read from its blocks."""
    block = image.shape[1] // 16
    value = 0
    for row in range(2):
        for column in range(16):
            top, left = row * block + block // 4, column * block + block // 4
            mean = image[top : top + block // 2, left : left + block // 2].mean()
            value = value << 1 | int(mean > 128)
    return value
