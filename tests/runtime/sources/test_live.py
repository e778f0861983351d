"""A live source with a scripted camera: stalls, stuck drivers, late frames."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgewright.runtime.errors import SourceError
from edgewright.runtime.sources import EndOfSource, LiveOptions, LiveSource, SourceDown, SourceOptions, SourceUp
from edgewright.runtime.sources.backoff import Backoff
from edgewright.runtime.types import Frame, TimeQuality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

BRIEF = Backoff(0.01, 0.05)
# Long enough that a busy machine's pauses are no silence: only a script that hangs is.
PATIENT = LiveOptions(stall_s=2.0, open_s=5.0, close_s=1.0, backoff=BRIEF)
# For tests in which every silence means the same, however it came about.
HASTY = LiveOptions(stall_s=0.05, open_s=0.2, close_s=1.0, max_abandoned=2, backoff=BRIEF)
PATIENCE_S = 20.0


class Script:
    """A camera that gives ``frames`` pictures and then ends, fails or hangs until released."""

    def __init__(self, frames: int, after: str = "end", pause_s: float = 0.005) -> None:
        self.frames = frames
        self.after = after
        self.pause_s = pause_s
        self.release = threading.Event()
        self.closed = threading.Event()

    @property
    def fps(self) -> float | None:
        return None

    def grab(self) -> bool:
        time.sleep(self.pause_s)
        self.frames -= 1
        if self.frames >= 0:
            return True
        if self.after == "raise":
            message = "driver gone: rtsp://bob:s3cret@cam/"
            raise OSError(message)
        if self.after == "hang":
            self.release.wait(PATIENCE_S)
            return self.frames == -1  # like FFmpeg: first an old frame, then the truth
        return False

    def retrieve(self) -> NDArray[np.uint8] | None:
        return None if self.after == "damaged" else np.zeros((8, 8, 3), np.uint8)

    def stamp(self, arrived_at: float) -> tuple[float, TimeQuality]:
        return arrived_at, TimeQuality.ARRIVAL

    def interrupt(self) -> None:
        """As most libraries: it cannot be helped."""

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def sources() -> Iterator[Callable[..., LiveSource]]:
    made: list[LiveSource] = []

    def make(*scripts: Script | Exception, live: LiveOptions = PATIENT, **parts: Any) -> LiveSource:
        left = list(scripts)

        def opener() -> Script:
            script = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(script, Exception):
                raise script
            return script

        made.append(LiveSource(opener, SourceOptions(name="cam"), live, **parts))
        return made[-1]

    yield make
    for source in made:
        source.close()


def until(source: LiveSource, kind: type) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        item = source.take(0.05)
        if isinstance(item, kind):
            return item
    pytest.fail(f"no {kind.__name__}")


def test_a_stream_that_ends_goes_down_once_and_comes_up_once(sources: Any) -> None:
    source = sources(Script(3), SourceError("no answer"), SourceError("no answer"), Script(1000))
    until(source, Frame)
    assert "ended" in until(source, SourceDown).reason
    up = until(source, SourceUp)
    assert up.attempts == 3
    assert up.gap_s > 0
    assert isinstance(until(source, Frame), Frame)


def test_a_driver_that_raises_is_tried_again_and_its_words_hold_no_password(sources: Any) -> None:
    source = sources(Script(1, after="raise"), Script(1000))
    reason = until(source, SourceDown).reason
    assert "driver gone" in reason
    assert "s3cret" not in reason
    until(source, SourceUp)


def test_a_hanging_read_is_abandoned_and_its_late_frame_ignored(sources: Any) -> None:
    stuck, fresh = Script(2, after="hang"), Script(100_000)
    source = sources(stuck, fresh)
    until(source, Frame)
    assert "no frame for" in until(source, SourceDown).reason
    until(source, SourceUp)
    assert source.abandoned == 1
    stuck.release.set()
    assert stuck.closed.wait(PATIENCE_S)
    until(source, Frame)
    assert source.drops["late"] == 1
    deadline = time.monotonic() + PATIENCE_S
    while source.abandoned and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.abandoned == 0


def test_a_camera_that_gives_only_damaged_frames_is_down(sources: Any) -> None:
    source = sources(Script(100_000, after="damaged"), live=HASTY)
    assert "no first frame" in until(source, SourceDown).reason
    assert source.drops["undecodable"] > 0


def test_stuck_readers_are_bounded(sources: Any) -> None:
    scripts = [Script(1, after="hang") for _ in range(20)]
    source = sources(*scripts, live=HASTY)
    until(source, SourceDown)
    most = 0
    for _ in range(30):  # ten times as long as it takes to leave the first few behind
        source.take(0.05)
        most = max(most, source.abandoned)
    assert most == HASTY.max_abandoned
    for script in scripts:
        script.release.set()


def test_an_untaken_frame_is_replaced_and_counted(sources: Any) -> None:
    source = sources(Script(50, after="hang"))
    until(source, Frame)
    deadline = time.monotonic() + PATIENCE_S
    # Not `seen`: it rises before the frame is in the mailbox.
    while source.drops.get("overwritten", 0) < 50 - 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    newest = source.take(0.05)
    assert isinstance(newest, Frame)
    assert newest.index == 49
    assert source.drops["overwritten"] == 50 - 2


def test_take_returns_within_its_time_while_a_camera_does_not_open(sources: Any) -> None:
    source = sources(SourceError("no answer"))
    until(source, SourceDown)
    assert all(source.take(0.01) is None for _ in range(20))


class Slowest(random.Random):
    """Draws the whole backoff."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_take_sleeps_while_a_camera_is_away(sources: Any) -> None:
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return time.monotonic()

    live = LiveOptions(backoff=Backoff(60.0, 60.0))
    source = sources(SourceError("no answer"), live=live, clock=clock, rng=Slowest())
    until(source, SourceDown)
    looks = 0
    assert source.take(0.5) is None
    assert looks < 20  # it looks at the clock on every round; a loop that never waits does so many thousand times


class Untimely(LiveSource):
    """A frame arrives between the look into the mailbox and the verdict that nothing came."""

    def _silence(self, now: float) -> tuple[float, float, str]:
        image = np.zeros((8, 8, 3), np.uint8)
        frame = Frame(image, "cam", 0, now, now, TimeQuality.ARRIVAL)
        self._mailbox.put(self._mailbox.generation, now, frame)
        return 9.0, 1.0, "frame"


def test_a_frame_that_comes_while_its_reader_is_given_up_is_late_and_no_return() -> None:
    stuck = Script(0, after="hang")
    source = Untimely(lambda: stuck, SourceOptions(name="cam"), LiveOptions(backoff=Backoff(60.0, 60.0)), rng=Slowest())
    assert isinstance(source.take(0.0), SourceDown)
    assert [source.take(0.01) for _ in range(3)] == [None] * 3
    assert source.drops == {"late": 1}
    stuck.release.set()
    source.close()


def test_close_ends_take_and_gives_the_camera_back(sources: Any) -> None:
    script = Script(100_000)
    source = sources(script)
    until(source, Frame)
    source.close()
    assert isinstance(source.take(1.0), EndOfSource)
    assert script.closed.wait(PATIENCE_S)
    source.close()


@pytest.mark.parametrize("failures", [0, 1, 5, 6, 1000])
def test_backoff_is_bounded_and_grows(failures: int) -> None:
    backoff = Backoff()
    assert backoff.bound(0) == 0.25
    assert backoff.bound(failures) <= 10.0
    assert backoff.bound(failures + 1) >= backoff.bound(failures)
