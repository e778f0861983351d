"""A camera read by a GStreamer pipeline of the board's profile, in a process of its own.

The pictures come through a pipe whose frames all have the same size. What the program prints is read along, so that it
never waits for us, and its last words are the reason when it ends. The process and whatever it started end with the
capture: asked first, for the camera daemon of a Jetson does not get over a client that vanishes, and killed a second
later.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from edgewright.device_profiles.profile import list_profiles, load_profile
from edgewright.runtime.errors import SourceError
from edgewright.runtime.probing.facts import read_facts
from edgewright.runtime.probing.nearest import nearest_profile
from edgewright.runtime.sources.launch import PROGRAM, find_program, launch_words, what_it_said
from edgewright.runtime.types import TimeQuality

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.device_profiles.pipelines import CameraShape
    from edgewright.device_profiles.profile import DeviceProfile
    from edgewright.runtime.sources.capture import Opener
    from edgewright.runtime.sources.uri import SourceUri

__all__ = ["OPEN_S", "PipelineCapture", "pipeline_opener"]

OPEN_S = 25.0
"""Seconds until the first picture: on its first run GStreamer looks through all its plug-ins, which a small board is long
about, and a program that is ended before it is done begins anew the next time."""

_TURN_S = 0.2
_ASKED_S, _KILLED_S = 1.0, 1.0
_LARGEST_PIPE = 1 << 20  # what a user without privileges may ask for
_KEPT_TEXT = 4096
_READ = 1 << 16
_LAST_READS = 64


class PipelineCapture:
    """Pictures of one ``gst-launch-1.0``; see the module's description."""

    def __init__(self, words: list[str], shape: CameraShape, frames: tuple[int, int]) -> None:
        """Starts the program.

        Args:
            words: Program and arguments.
            shape: Of its pictures.
            frames: Both ends of the pipe that it writes them to; closed by the capture.

        Raises:
            SourceError: It cannot be started.
        """
        self._shape = shape
        self._stride = (3 * shape.width + 3) // 4 * 4  # GStreamer fills up rows
        self._picture: NDArray[np.uint8] | None = None
        self._stopped = threading.Event()
        self._text = b""
        self._closed = False
        self._frames, theirs = frames
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                pass_fds=(theirs,),
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C", "GST_DEBUG_NO_COLOR": "1"},
            )
        except OSError as error:
            os.close(self._frames)
            message = f"{words[0]} cannot be started: {error.strerror or error}"
            raise SourceError(message) from error
        finally:
            os.close(theirs)
        self._told = -1 if self._process.stdout is None else self._process.stdout.fileno()
        self._poll = select.poll()
        for each in (self._frames, self._told):
            self._poll.register(each, select.POLLIN)
        self._open = {self._frames, self._told}
        with contextlib.suppress(OSError):  # the system's usual size is slower, and does as well
            # Hardly more than a picture: what waits in the pipe is older than what comes next.
            fcntl.fcntl(self._frames, fcntl.F_SETPIPE_SZ, min(_LARGEST_PIPE, self._stride * shape.height))

    @property
    def fps(self) -> float | None:
        """As asked of the camera."""
        return float(self._shape.fps)

    def grab(self) -> bool:
        """Waits for a whole picture; False once interrupted.

        Raises:
            SourceError: The program ended; the message has its last words.
        """
        picture = np.empty((self._shape.height, self._stride), np.uint8)
        space = picture.data.cast("B")
        filled = 0
        while filled < len(space):
            if self._stopped.is_set():
                return False
            if self._frames not in self._open:
                raise SourceError(self._why_ended())
            filled += self._turn(space[filled:], _TURN_S)
        self._picture = picture
        return True

    def retrieve(self) -> NDArray[np.uint8] | None:
        """The grabbed picture, BGR."""
        picture, self._picture = self._picture, None
        if picture is None:
            return None
        height, width = self._shape.height, self._shape.width
        return np.ascontiguousarray(picture[:, : 3 * width]).reshape(height, width, 3)

    def stamp(self, arrived_at: float) -> tuple[float, TimeQuality]:
        """When the picture was here: what the camera itself says does not come through a pipe."""
        return arrived_at, TimeQuality.ARRIVAL

    def interrupt(self) -> None:
        """Makes a waiting ``grab`` return within a moment; may be called by another thread."""
        self._stopped.set()

    def close(self) -> None:
        """Ends the program and whatever it started."""
        if self._closed:
            return
        self._closed = True
        for number, patience_s in ((signal.SIGINT, _ASKED_S), (signal.SIGKILL, _KILLED_S)):
            self._signal(number)
            if self._end_within(patience_s) is not None:
                break
        self._signal(signal.SIGKILL)  # what it started; no other process can be meant until it is waited for
        os.close(self._frames)
        if self._process.stdout is not None:
            self._process.stdout.close()
        # One that is in a driver's hands lasts; whoever waits here is then counted as stuck, and not too many are begun.
        self._process.wait()

    def _turn(self, space: memoryview, wait_s: float) -> int:
        """Reads what there is, words and pictures; returns how many bytes of a picture."""
        filled = 0
        for each, _ in self._poll.poll(wait_s * 1000.0):
            if each == self._frames:
                filled = count = os.readv(each, [space])
            else:
                told = os.read(each, _READ)
                count = len(told)
                self._text = (self._text + told)[-_KEPT_TEXT:]
            if not count:
                self._poll.unregister(each)
                self._open.discard(each)
        return filled

    def _why_ended(self) -> str:
        how = self._end_within(_ASKED_S) or "gives no more pictures"  # its words may come after its last picture
        said = what_it_said(self._text.decode("utf-8", "replace"))
        return f"{PROGRAM} {how}: {said}" if said else f"{PROGRAM} {how} without a word"

    def _end_within(self, patience_s: float) -> str | None:
        """How the program ended, None if it lives on. Reads meanwhile, for one that waits to be read cannot end."""
        until = time.monotonic() + patience_s
        nowhere = memoryview(bytearray(_LARGEST_PIPE))
        while (how := self._end()) is None:
            if time.monotonic() >= until:
                return None
            self._turn(nowhere, 0.02)
            if not self._open:
                time.sleep(0.01)
        for _ in range(_LAST_READS):
            if self._told not in self._open or not self._poll.poll(0):
                break
            self._turn(nowhere, 0.0)
        return how

    def _end(self) -> str | None:
        """How the program ended, without waiting for it: its number stays its own until ``close``."""
        try:
            state = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # whoever started us has the system wait for children
            return "ended"
        if state is None or state.si_code == os.CLD_EXITED:
            return None if state is None else "ended"
        return f"was ended by signal {state.si_status} ({signal.strsignal(state.si_status)})"

    def _signal(self, number: int) -> None:
        with contextlib.suppress(OSError):  # it ended in between
            os.killpg(self._process.pid, number)


def pipeline_opener(uri: SourceUri, profile: DeviceProfile | None = None) -> Opener:
    """A function that opens the camera ``uri`` names by the pipeline of a profile, as often as it is called.

    Args:
        uri: With a shape.
        profile: Of the board; None takes the nearest to this machine.

    Raises:
        SourceError: The profile has no such pipeline, or GStreamer is not installed.
        ProbeError: No profile is near, and none was given.
    """
    shape = uri.shape
    if shape is None:
        message = f"{uri.redacted}: not a camera that is read by a pipeline"
        raise SourceError(message)
    kind = uri.kind.value
    board = profile or load_profile(nearest_profile(read_facts()))
    if kind not in board.gstreamer:
        raise SourceError(_no_pipeline(uri, board, named=profile is not None))
    pipeline = board.gstreamer[kind].value
    if shape.sensor and "{sensor}" not in pipeline:
        message = (
            f"{uri.redacted}: the pipeline of profile {board.name} cannot choose a camera (it has no {{sensor}}); "
            f"the one that it reads is {kind}:0"
        )
        raise SourceError(message)
    program = find_program(uri.redacted, pipeline)

    def opened() -> PipelineCapture:
        frames = os.pipe()
        try:
            words = launch_words(pipeline, shape, frames[1], program)
        except BaseException:
            for end in frames:
                os.close(end)
            raise
        return PipelineCapture(words, shape, frames)

    return opened


def _no_pipeline(uri: SourceUri, board: DeviceProfile, *, named: bool) -> str:
    kind = uri.kind.value
    others = [name for name in list_profiles() if kind in load_profile(name).gstreamer]
    which = f"profile {board.name}" if named else f"{board.name}, the nearest profile to this machine,"
    return (
        f"{uri.redacted}: {which} has no camera pipeline for {kind}; name the board's with --profile or [model] profile "
        f"({', '.join(others)}), or write your own: a .toml with [gstreamer] {kind} = ..."
    )
