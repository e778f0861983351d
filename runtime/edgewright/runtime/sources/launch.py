"""The command line by which GStreamer's own ``gst-launch-1.0`` gives a camera's pictures to this process.

A profile's pipeline ends with ``appsink``, an element for programs that are linked with GStreamer. This runtime is not:
its OpenCV comes without. So the pipeline is given to the system's ``gst-launch-1.0``, and writes its pictures into a pipe.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from edgewright.device_profiles.pipelines import elements_of, fill_pipeline
from edgewright.runtime.errors import SourceError

if TYPE_CHECKING:
    from edgewright.device_profiles.pipelines import CameraShape

__all__ = ["PROGRAM", "find_program", "launch_words", "packages_for", "what_it_said"]

PROGRAM = "gst-launch-1.0"

_ALWAYS = ("gstreamer1.0-tools", "gstreamer1.0-plugins-base", "gstreamer1.0-plugins-good")
_PACKAGES = {
    "libcamerasrc": "gstreamer1.0-libcamera",
    "h264parse": "gstreamer1.0-plugins-bad",
    "jpegparse": "gstreamer1.0-plugins-bad",
    "nvarguscamerasrc": "nvidia-l4t-gstreamer",
    "nvjpegdec": "nvidia-l4t-gstreamer",
    "nvv4l2camerasrc": "nvidia-l4t-gstreamer",
    "nvv4l2decoder": "nvidia-l4t-gstreamer",
    "nvvidconv": "nvidia-l4t-gstreamer",
    "videoconvert": "gstreamer1.0-plugins-base",
    "videorate": "gstreamer1.0-plugins-base",
    "videoscale": "gstreamer1.0-plugins-base",
    "videotestsrc": "gstreamer1.0-plugins-base",
}
# One picture waits, and a newer one takes its place: a reader that was held up must not look at the past.
_NEWEST = ("queue", "max-size-buffers=1", "max-size-bytes=0", "max-size-time=0", "leaky=downstream")
_ELEMENT_ERROR = re.compile(r"ERROR: from element (\S+?): (.*)")
_PARSE_ERROR = re.compile(r"WARNING: erroneous pipeline: (.*)")
_NO_ELEMENT = re.compile(r'no element "([\w-]+)"')
_SYSTEM_ERROR = re.compile(r"system error: (.*)")
_LONGEST = 200


def launch_words(pipeline: str, shape: CameraShape, fd: int, program: str = PROGRAM) -> list[str]:
    """The program and its arguments, for no shell.

    The pictures do not go to the standard output, where drivers of cameras print what they like.

    Args:
        pipeline: Of a profile, with placeholders, ending with ``appsink``.
        shape: What is wanted of the camera; the pictures have exactly this width and height.
        fd: Where the pictures are written to: BGR, each row filled up to a multiple of four bytes.
        program: Path of ``gst-launch-1.0``.

    Raises:
        ProfileError: The pipeline is refused.
    """
    *before, sink = fill_pipeline(pipeline, shape).split("!")
    # An appsink keeps to the clock unless told otherwise; fdsink the other way round.
    sync = "false" if "sync=false" in sink.split() else "true"
    caps = f"caps=video/x-raw,format=BGR,width={shape.width},height={shape.height}"
    words = [program, "-q"]
    for part in before:
        words += [*part.split(), "!"]
    return [*words, "capsfilter", caps, "!", *_NEWEST, "!", "fdsink", f"fd={fd}", f"sync={sync}"]


def find_program(camera: str, pipeline: str) -> str:
    """Path of ``gst-launch-1.0``.

    Args:
        camera: What the source is called, for the message.
        pipeline: What it is to run; decides which packages are needed.

    Raises:
        SourceError: It is not installed; the message says what to install.
    """
    found = shutil.which(PROGRAM)
    if found is None:
        packages = " ".join(packages_for(pipeline))
        message = (
            f"{camera}: this camera is read by {PROGRAM}, which is not installed; "
            f"install it with: sudo apt-get install {packages}"
        )
        raise SourceError(message)
    return found


def packages_for(pipeline: str) -> tuple[str, ...]:
    """Packages of Debian, Raspberry Pi OS or JetPack that a pipeline needs."""
    return tuple(dict.fromkeys([*_ALWAYS, *(_PACKAGES[name] for name in elements_of(pipeline) if name in _PACKAGES)]))


def what_it_said(text: str) -> str:
    """The line that says why the program ended, of all that it printed; empty when it said nothing."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = _cause(lines) or (lines[-1] if lines else "")
    return "".join(letter if letter.isprintable() else " " for letter in said)[:_LONGEST]


def _cause(lines: list[str]) -> str:
    for number, line in enumerate(lines):
        found = _ELEMENT_ERROR.match(line)
        if found:
            element = found.group(1).rpartition("/")[2].partition(":")[2] or found.group(1)
            told = next((match.group(1) for each in lines[number:] if (match := _SYSTEM_ERROR.match(each))), None)
            return f"{element}: {found.group(2)}" + (f" ({told})" if told else "")
        found = _PARSE_ERROR.match(line)
        if found:
            missing = _NO_ELEMENT.search(line)
            package = None if missing is None else _PACKAGES.get(missing.group(1), "gstreamer1.0-plugins-good")
            hint = "" if package is None else f"; install it with: sudo apt-get install {package}"
            return f"{found.group(1)}{hint}"
    return ""
