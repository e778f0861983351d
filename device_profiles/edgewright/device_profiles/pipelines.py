"""Camera pipelines of GStreamer, as strings with placeholders: what they may say, and how they are filled in.

A pipeline goes to GStreamer's parser, which opens files, sockets and programs for whoever may choose its elements. A
profile can come from somebody else, so a pipeline is made of few known elements and of plain words only: nothing in it
means anything to a shell, and no element of it writes or fetches anything.

The placeholders are ``{width}``, ``{height}``, ``{fps}``, which every pipeline has, and ``{sensor}``, the number of the
camera, for elements that can choose one::

    v4l2src device=/dev/video{sensor} ! video/x-raw,width={width},height={height},framerate={fps}/1 ! ... ! appsink
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgewright.device_profiles.errors import ProfileError

__all__ = ["ELEMENTS", "PIPELINE_KINDS", "CameraShape", "elements_of", "fill_pipeline", "pipeline_problem"]

PIPELINE_KINDS = ("csi", "usb")
"""Kinds of cameras that a pipeline is for."""

_SOURCES = ("libcamerasrc", "nvarguscamerasrc", "nvv4l2camerasrc", "v4l2src", "videotestsrc")
_BETWEEN = (
    "capsfilter",
    "h264parse",
    "jpegdec",
    "jpegparse",
    "nvjpegdec",
    "nvv4l2decoder",
    "nvvidconv",
    "queue",
    "v4l2convert",
    "v4l2h264dec",
    "v4l2jpegdec",
    "videoconvert",
    "videoflip",
    "videorate",
    "videoscale",
)
_SINK = "appsink"
ELEMENTS = (*_SOURCES, *_BETWEEN, _SINK)
"""Elements that a pipeline may have: those that bring pictures of a camera, and change their form."""

_REQUIRED = ("width", "height", "fps")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PROPERTY = re.compile(r"[a-z][a-z0-9-]*=[A-Za-z0-9_./-]+")
_CAPS = re.compile(r"(?:video/x-raw|video/x-h264|image/jpeg)(?:\(memory:NVMM\))?(?:,[a-z][a-z-]*=[A-Za-z0-9/]+)*")
_DEVICE = re.compile(r"/dev/video[0-9]+")
_LONGEST = 600


@dataclass(frozen=True)
class CameraShape:
    """What is wanted of a camera.

    Attributes:
        width: In pixels.
        height: In pixels.
        fps: Frames a second.
        sensor: Number of the camera; 0 is the first.
    """

    width: int = 1280
    height: int = 720
    fps: int = 30
    sensor: int = 0

    def __post_init__(self) -> None:
        """Refuses what no camera has.

        Raises:
            ProfileError: A number is out of range.
        """
        ranges = {"width": (16, 8192), "height": (16, 8192), "fps": (1, 240), "sensor": (0, 63)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                msg = f"a camera's {name} is a whole number from {low} to {high}, not {value!r}"
                raise ProfileError(msg)


def pipeline_problem(text: str) -> str | None:
    """Why a pipeline is refused, in words; None when it is good."""
    if len(text) > _LONGEST:
        return f"it has {len(text)} characters; at most {_LONGEST}"
    names = _PLACEHOLDER.findall(text)
    unknown = [name for name in names if name not in (*_REQUIRED, "sensor")]
    if unknown:
        return f"{{{unknown[0]}}} is no placeholder; there are {{width}}, {{height}}, {{fps}} and {{sensor}}"
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        return f"it lacks the placeholder {{{missing[0]}}}"
    # Any number will do to look at the rest.
    parts = [part.strip(" ") for part in _PLACEHOLDER.sub("1", text).split("!")]
    problems = (_part_problem(part, index, len(parts)) for index, part in enumerate(parts))
    return next((problem for problem in problems if problem is not None), None)


def elements_of(text: str) -> tuple[str, ...]:
    """The elements of a pipeline in order, without what only narrows the form of the pictures."""
    words = [part.split()[0] for part in text.split("!") if part.strip()]
    return tuple(word for word in words if word in ELEMENTS)


def fill_pipeline(text: str, shape: CameraShape) -> str:
    """The pipeline with numbers for its placeholders.

    Args:
        text: Of a profile.
        shape: What is wanted of the camera.

    Raises:
        ProfileError: The pipeline is refused.
    """
    problem = pipeline_problem(text)
    if problem is not None:
        msg = f"the camera pipeline {text[:80]!r} is refused: {problem}"
        raise ProfileError(msg)
    return _PLACEHOLDER.sub(lambda match: str(getattr(shape, match.group(1))), text)


def _part_problem(part: str, index: int, count: int) -> str | None:
    element, *properties = part.split(" ") if part else ("",)
    if not element:
        return "there is nothing between two '!'"
    if _CAPS.fullmatch(part):
        return None if 0 < index < count - 1 else f"it must begin with a camera and end with {_SINK}, not with {part!r}"
    if element not in ELEMENTS:
        return f"{element[:40]!r} is no element that it may have; there are {', '.join(ELEMENTS)}"
    if (index == 0) != (element in _SOURCES):
        return f"it must begin with one camera ({', '.join(_SOURCES)}), and {element!r} is at place {index + 1}"
    if (index == count - 1) != (element == _SINK):
        return f"it must end with {_SINK}, and {element!r} is at place {index + 1} of {count}"
    odd = [word for word in properties if word and not _PROPERTY.fullmatch(word)]
    if odd:
        return f"{odd[0][:40]!r} is no property of {element}; write name=value in plain words"
    return next((problem for word in properties if word and (problem := _property_problem(word)) is not None), None)


def _property_problem(word: str) -> str | None:
    """What a property must not say though it is plain: only cameras are opened, and elements keep their own names."""
    name, _, value = word.partition("=")
    if name == "device" and not _DEVICE.fullmatch(value):
        return f"{word[:40]!r} is no camera; write device=/dev/video{{sensor}}, or a number"
    if name == "name":
        return f"{word[:40]!r} names an element, which nothing here refers to; leave it out"
    return None
