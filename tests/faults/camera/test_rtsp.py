"""A live source against a real RTSP server that is killed, frozen, and read too slowly."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from rtsp.camera import free_port, made_at_ms

from edgewright.runtime.loop import CameraLoop, LoopLimits, Watchers
from edgewright.runtime.sources import (
    LiveOptions,
    LiveSource,
    SourceDown,
    SourceOptions,
    SourceUp,
    open_source,
    parse_source,
)
from edgewright.runtime.sources.backoff import Backoff
from edgewright.runtime.testing import MemorySink, ScriptedModel
from edgewright.runtime.types import Frame, TimeQuality

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtsp.camera import RtspCamera

    from edgewright.runtime.sources import FrameSource

PATIENCE_S = 30.0
TAKE_S = 0.2


def open_camera(camera: RtspCamera, *, stall_s: float = 2.0, **options: Any) -> FrameSource:
    live = LiveOptions(stall_s=stall_s, backoff=Backoff(longest_s=0.5))
    return open_source(parse_source(camera.url), SourceOptions(name="gate", **options), live)


def wait_for(source: FrameSource, wanted: Callable[[Any], bool]) -> Any:
    """Takes items until one is wanted; the wait is bounded, never asserted upon."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        item = source.take(TAKE_S)
        if wanted(item):
            return item
    pytest.fail("what was waited for did not happen")


def a_frame(item: Any) -> bool:
    return isinstance(item, Frame)


def age_ms(frame: Frame) -> int:
    return (int(time.monotonic() * 1000) - made_at_ms(frame.image)) & 0xFFFFFFFF


def test_a_killed_camera_is_told_and_taken_up_again_when_it_is_back(camera: RtspCamera) -> None:
    source = open_camera(camera)
    before = wait_for(source, a_frame)
    assert before.camera == "gate"
    assert before.time_quality is TimeQuality.ARRIVAL
    camera.kill()
    down = wait_for(source, lambda item: isinstance(item, SourceDown))
    assert "lost" in down.reason
    last_seen = before.captured_at
    camera.start()
    up = wait_for(source, lambda item: isinstance(item, SourceUp))
    assert 0 < up.gap_s <= up.at - last_seen
    assert up.attempts >= 1
    after = wait_for(source, a_frame)
    assert after.index > before.index
    assert after.media_time > before.media_time
    source.close()


def test_a_frozen_camera_is_noticed_by_elapsed_time_and_never_blocks_the_loop(camera: RtspCamera) -> None:
    source = open_camera(camera, stall_s=1.0)
    assert isinstance(source, LiveSource)
    wait_for(source, a_frame)
    camera.freeze()
    empty_handed = 0
    down = None
    deadline = time.monotonic() + PATIENCE_S
    while down is None and time.monotonic() < deadline:
        item = source.take(TAKE_S)
        empty_handed += item is None
        down = item if isinstance(item, SourceDown) else None
    # The library's read blocks for 3 s at its own limit (30 s by default): the silence was told, and takes came back
    # at their own time, while the reader thread was still inside.
    assert source.abandoned == 1
    assert empty_handed >= 1
    assert down is not None
    assert down.reason.startswith("no frame for")
    camera.thaw()
    up = wait_for(source, lambda item: isinstance(item, SourceUp))
    assert up.gap_s >= 1.0
    frame = wait_for(source, a_frame)
    assert age_ms(frame) < 10_000  # not a frame from before the freeze, kept in some buffer
    source.close()


def test_a_slow_consumer_gets_the_newest_frame_and_the_lost_ones_are_counted(camera: RtspCamera) -> None:
    source = open_camera(camera)
    first = wait_for(source, a_frame)
    made, indices = [], []
    for _ in range(6):
        time.sleep(0.4)
        frame = wait_for(source, a_frame)
        made.append(made_at_ms(frame.image))
        indices.append(frame.index)
    steps = [later - earlier for earlier, later in zip([first.index, *indices], indices, strict=False)]
    assert all(step > 1 for step in steps)
    # In a queue the pictures would fall behind by 0.4 s a turn less one frame; here scene time keeps pace.
    scene_s, taken = (made[-1] - made[0]) / 1000.0, len(made) - 1
    assert scene_s > 0.3 * taken
    assert source.drops["overwritten"] >= sum(step - 1 for step in steps)
    source.close()


def test_every_nth_and_max_side_apply_to_a_camera(camera: RtspCamera) -> None:
    source = open_camera(camera, every_nth=3, max_side=160)
    frames = [wait_for(source, a_frame) for _ in range(3)]
    assert all(frame.image.shape == (120, 160, 3) for frame in frames)
    assert all(frame.index % 3 == 0 for frame in frames)
    assert source.drops["every_nth"] >= 4
    source.close()


def test_the_loop_reports_a_dead_camera_and_goes_on(camera: RtspCamera) -> None:
    sink = MemorySink()
    source = open_camera(camera)

    def act_and_stop() -> bool:
        kinds = [event.kind for event in sink.events]
        if not kinds and any(seen.frame is not None for seen in sink.observations) and not acted:
            camera.kill()
            acted.append("killed")
        if "source_down" in kinds and acted == ["killed"]:
            camera.start()
            acted.append("started")
        frames_after = "source_up" in kinds and sink.observations[-1].frame is not None
        return frames_after or time.monotonic() > deadline

    acted: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    limits = LoopLimits(down_every_s=0.1)
    loop = CameraLoop(source, ScriptedModel.empty(), None, Watchers(events=[sink], results=[sink]), limits)
    summary = loop.run(act_and_stop)
    assert [event.kind for event in sink.events] == ["source_down", "source_up"]
    assert sink.events[0].data["reason"]
    assert sink.events[1].data["gap_s"] > 0
    assert summary.results["source_down"] >= 1
    assert summary.blind_s == pytest.approx(sink.events[1].data["gap_s"], abs=0.01)
    assert {seen.result.frame_index for seen in sink.observations if seen.frame is None} == {-1}
    source.close()


def test_a_camera_that_is_not_there_is_down_with_a_reason_and_without_its_password() -> None:
    uri = parse_source(f"rtsp://bob:s3cret@127.0.0.1:{free_port()}/cam")
    source = open_source(uri)
    down = wait_for(source, lambda item: isinstance(item, SourceDown))
    assert "refused" in down.reason
    assert "s3cret" not in down.reason + source.name
    assert "bob" not in down.reason + source.name
    source.close()
