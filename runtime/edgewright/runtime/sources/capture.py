"""The seam to a live camera's driver or network library, and its OpenCV implementation.

A ``Capture`` may block inside ``grab`` for as long as its library likes; the reader thread that owns it is watched
from outside (``edgewright.runtime.sources.live``), never trusted to return.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import cv2

from edgewright.runtime.errors import SourceError
from edgewright.runtime.sources.base import retrieved
from edgewright.runtime.sources.uri import SourceKind, SourceUri
from edgewright.runtime.types import TimeQuality

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Capture", "OpenCvCapture", "Opener", "camera_opener"]

_TIMEOUT_MS = 3000
_DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_PROBE_S = 1.0
_FPS_RANGE = (0.1, 240.0)
# A driver stamp is believed only if it lies this close to "now" on the monotonic clock, else it is another clock.
_STAMP_RANGE_S = 5.0


class Capture(Protocol):
    """An opened camera."""

    @property
    def fps(self) -> float | None:
        """Announced frame rate, None when there is none or it is nonsense."""
        ...

    def grab(self) -> bool:
        """Waits for the next frame without decoding it to a picture; False when the stream has ended."""
        ...

    def retrieve(self) -> NDArray[np.uint8] | None:
        """The grabbed frame, (H, W, 3) uint8 BGR, in memory of its own; None when it is damaged."""
        ...

    def stamp(self, arrived_at: float) -> tuple[float, TimeQuality]:
        """Capture time of the grabbed frame in monotonic seconds, and how it was had.

        Args:
            arrived_at: Monotonic seconds right after ``grab`` returned, the best guess if nothing better is known.
        """
        ...

    def interrupt(self) -> None:
        """Makes a ``grab`` that waits return soon, where that can be done; called by another thread than the reader's."""
        ...

    def close(self) -> None:
        """Gives the camera back."""
        ...


Opener = Callable[[], Capture]


class OpenCvCapture:
    """A camera opened by OpenCV: V4L2 for USB, FFmpeg for RTSP and HTTP."""

    def __init__(self, uri: SourceUri) -> None:
        """Opens the camera; may block for some seconds.

        Raises:
            SourceError: It cannot be opened; the message holds no password.
        """
        self._usb = uri.kind is SourceKind.USB
        if self._usb:
            self._capture = cv2.VideoCapture(int(uri.target), cv2.CAP_V4L2)
        else:
            # Per capture, unlike OPENCV_FFMPEG_CAPTURE_OPTIONS, and it keeps the preference for RTSP over TCP.
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS]
            self._capture = cv2.VideoCapture(uri.target, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(f"{uri.redacted}: {_why_not(uri)}")

    @property
    def fps(self) -> float | None:
        """Announced frame rate."""
        announced = float(self._capture.get(cv2.CAP_PROP_FPS))
        return announced if math.isfinite(announced) and _FPS_RANGE[0] <= announced <= _FPS_RANGE[1] else None

    def grab(self) -> bool:
        """Waits for the next frame."""
        return bool(self._capture.grab())

    def retrieve(self) -> NDArray[np.uint8] | None:
        """The grabbed frame as BGR."""
        return retrieved(self._capture)

    def stamp(self, arrived_at: float) -> tuple[float, TimeQuality]:
        """The driver's buffer time for USB where it is on the monotonic clock, else the arrival."""
        if self._usb:
            driver = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0
            if math.isfinite(driver) and 0.0 <= arrived_at - driver < min(_STAMP_RANGE_S, arrived_at):
                return driver, TimeQuality.CAPTURE
        return arrived_at, TimeQuality.ARRIVAL

    def interrupt(self) -> None:
        """Does nothing: OpenCV may not be touched by two threads, and its libraries have limits of their own."""

    def close(self) -> None:
        """Gives the camera back."""
        self._capture.release()


def camera_opener(uri: SourceUri) -> Opener:
    """A function that opens the camera ``uri`` names, as often as it is called."""
    return lambda: OpenCvCapture(uri)


def _why_not(uri: SourceUri) -> str:
    """OpenCV gives no reason for a failed open; the commonest can be told apart from here."""
    if uri.kind is SourceKind.USB:
        device = Path(f"/dev/video{uri.target}")
        if not device.exists():
            return f"there is no {device}; is the camera plugged in? `ls /dev/video*` shows what there is"
        return f"{device} exists but does not open as a camera; is another program using it, may this user read it?"
    parts = urlsplit(uri.target)
    host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]
    started = time.monotonic()
    try:
        socket.create_connection((host, port), timeout=_PROBE_S).close()
    except socket.gaierror:
        return f"the name {host} is not known here; check the address"
    except OSError as error:
        reason = "no answer" if time.monotonic() - started >= _PROBE_S else (error.strerror or str(error)).lower()
        return f"{host} port {port}: {reason}; is the camera on and reachable?"
    return (
        f"{host} port {port} answers but gives no video within {_TIMEOUT_MS / 1000:g} s; check path, user and password"
    )
