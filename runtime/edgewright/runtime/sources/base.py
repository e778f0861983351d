"""What every source of frames offers, and the few words it speaks.

``take`` gives one thing at a time:

- a ``Frame``;
- ``SourceDown`` once when a live source stops giving frames, ``SourceUp`` once when it gives them again;
- ``None``: nothing happened within the time allowed (a live source only);
- ``EndOfSource``: a file or folder is finished, or the source was closed.

Invariants:

- ``take`` never blocks much longer than its timeout on a live source, whatever the camera does.
- Frames of one source have growing ``index`` and growing ``media_time``.
- Every frame that was seen and not given is counted in ``drops`` under its cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgewright.runtime.types import Frame

__all__ = ["EndOfSource", "FrameSource", "SourceDown", "SourceOptions", "SourceUp", "retrieved", "shrink"]


@dataclass(frozen=True)
class SourceOptions:
    """What applies to every kind of source.

    Attributes:
        name: What frames, results and events call the camera; None takes the redacted URI.
        every_nth: Give only every n-th frame, starting with the first.
        max_side: Frames whose longer side has more pixels are scaled down to it right after decoding.
        folder_fps: Frames per second that an image folder stands for.
    """

    name: str | None = None
    every_nth: int = 1
    max_side: int | None = None
    folder_fps: float = 10.0


@dataclass(frozen=True)
class SourceDown:
    """A live source gives no frames.

    Attributes:
        at: Monotonic seconds when this was noticed.
        reason: Why, in words, without passwords.
    """

    at: float
    reason: str


@dataclass(frozen=True)
class SourceUp:
    """A live source gives frames again, after a ``SourceDown``.

    Attributes:
        at: Monotonic seconds of the first new frame.
        gap_s: Blind period: from the last frame before (or from the start) to that frame.
        attempts: How often opening was tried meanwhile.
    """

    at: float
    gap_s: float
    attempts: int


@dataclass(frozen=True)
class EndOfSource:
    """There are no more frames and never will be."""


class FrameSource(Protocol):
    """Frames of one camera, file or folder."""

    @property
    def name(self) -> str:
        """What frames call the camera."""
        ...

    @property
    def live(self) -> bool:
        """Whether frames not taken in time are lost."""
        ...

    @property
    def total(self) -> int | None:
        """How many frames will be given, as far as known."""
        ...

    @property
    def fps(self) -> float | None:
        """Frames given per second of the scene, as far as known."""
        ...

    @property
    def seen(self) -> int:
        """Frames that reached this process, given or dropped."""
        ...

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames seen and not given, by cause."""
        ...

    def take(self, timeout_s: float) -> Frame | SourceDown | SourceUp | EndOfSource | None:
        """The next thing that happened; see the module's description.

        Args:
            timeout_s: How long a live source may wait. Files and folders are as fast as they decode.

        Raises:
            SourceError: A file broke in the middle; live sources never raise.
        """
        ...

    def close(self) -> None:
        """Gives everything back; safe to call twice."""
        ...


def retrieved(capture: cv2.VideoCapture) -> NDArray[np.uint8] | None:
    """The grabbed frame, (H, W, 3) uint8 BGR in memory of its own; None when it is damaged."""
    try:
        ok, image = capture.retrieve()
    except cv2.error:
        return None
    if not ok or image is None or image.size == 0:
        return None
    return np.asarray(image, dtype=np.uint8)


def shrink(image: NDArray[np.uint8], max_side: int | None) -> NDArray[np.uint8]:
    """``image`` (H, W, 3) scaled down so that no side exceeds ``max_side`` pixels; never scaled up."""
    height, width = image.shape[:2]
    longest = max(height, width)
    if max_side is None or longest <= max_side:
        return image
    ratio = max_side / longest
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
