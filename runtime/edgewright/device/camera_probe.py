"""Whether a camera really opens: frames are taken through the very source that ``run`` uses.

To be called in a process of its own: a driver or a library may block for as long as it likes.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.errors import EdgewrightError
from edgewright.device_profiles.profile import load_profile
from edgewright.runtime.sources import EndOfSource, LiveOptions, SourceDown, SourceOptions, open_source, parse_source
from edgewright.runtime.sources.pipeline import OPEN_S
from edgewright.runtime.types import Frame

if TYPE_CHECKING:
    from edgewright.runtime.sources import FrameSource

__all__ = ["CameraFacts", "probe_camera"]

_TURN_S = 0.2
_SETTLE_S = 0.5
_CLOSE_S = 4.0  # a pipeline's program is asked to end, and killed after a second; none may be left with the camera


@dataclass(frozen=True)
class CameraFacts:
    """What became of opening one source.

    Attributes:
        problem: Why it gave no frame, empty when it did; without passwords.
        width: Of its frames, in pixels.
        height: Of its frames, in pixels.
        fps: Frames that arrived per second; of a file, what it says of itself. None when too few came.
        first_s: Seconds until the first frame.
        live: Whether it is a camera, and not a file or a folder.
    """

    problem: str = ""
    width: int = 0
    height: int = 0
    fps: float | None = None
    first_s: float = 0.0
    live: bool = False


def probe_camera(uri: str, patience_s: float, watch_s: float = 1.0, profile: str | None = None) -> CameraFacts:
    """Opens a source and takes frames.

    Args:
        uri: As for ``run --source``.
        patience_s: Longest wait for the first frame of a camera; one that is read by a pipeline gets ``OPEN_S`` at least.
        watch_s: How long to count frames after the first.
        profile: The board, whose pipelines read ``csi:`` and ``usb:`` cameras; None takes the nearest to this machine.
    """
    began = time.monotonic()
    try:
        parsed = parse_source(uri)
        if parsed.shape is not None:
            patience_s = max(patience_s, OPEN_S)
        live = LiveOptions(open_s=patience_s, stall_s=patience_s, close_s=_CLOSE_S)
        board = None if profile is None else load_profile(profile)
        source = open_source(parsed, SourceOptions(), live, board)
    except EdgewrightError as error:
        return CameraFacts(problem=str(error))
    with contextlib.closing(source):
        while (left := began + patience_s - time.monotonic()) > 0:
            taken = source.take(min(left, _TURN_S))
            if isinstance(taken, (SourceDown, EndOfSource)):
                reason = taken.reason if isinstance(taken, SourceDown) else "it holds no frame"
                return CameraFacts(problem=reason, live=source.live)
            if isinstance(taken, Frame):
                first_s = time.monotonic() - began
                height, width = taken.image.shape[:2]
                fps = _rate(source, watch_s) if source.live else source.fps
                return CameraFacts("", width, height, fps, first_s, source.live)
        return CameraFacts(problem=f"no frame within {patience_s:.0f} s", live=source.live)


def _rate(source: FrameSource, watch_s: float) -> float | None:
    """Frames that a camera gave per second, dropped ones included; those that had gathered on the way are let pass."""
    _watch(source, _SETTLE_S)
    began, before = time.monotonic(), source.seen
    _watch(source, watch_s)
    seen = source.seen - before
    return seen / (time.monotonic() - began) if seen > 1 else None


def _watch(source: FrameSource, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        source.take(min(left, _TURN_S))
