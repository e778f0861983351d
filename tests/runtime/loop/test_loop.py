"""The camera loop with a scripted model: statuses, events, limits, figures."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgewright.runtime.errors import ModelFailedError, SourceError
from edgewright.runtime.loop import CameraLoop, LoopLimits, Watchers
from edgewright.runtime.rules import WHOLE_FRAME, ClassChange, ZoneCount
from edgewright.runtime.sources import SourceDown, SourceUp
from edgewright.runtime.testing import ListSource, MemorySink, ScriptedModel, detections
from edgewright.runtime.tracking import ByteTrack, ByteTrackConfig
from edgewright.runtime.types import Classification, Detections, Frame, ResultStatus, TimeQuality

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.runtime.summary import RunSummary

BOX = (10.0, 5.0, 30.0, 45.0)


class Clock:
    """Monotonic seconds that move only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def run(source: ListSource, model: ScriptedModel, **options: Any) -> tuple[RunSummary, MemorySink]:
    sink = MemorySink()
    tracker = options.pop("tracker", None)
    watchers = Watchers(options.pop("rules", ()), [sink], [sink])
    return CameraLoop(source, model, tracker, watchers, **options).run(), sink


def statuses(sink: MemorySink) -> list[str]:
    return [seen.result.status.value for seen in sink.observations]


def test_frames_become_results_and_tracks_and_events() -> None:
    summary, sink = run(
        ListSource.blank(10),
        ScriptedModel([detections(BOX)]),
        tracker=ByteTrack(),
        rules=[ZoneCount(WHOLE_FRAME)],
    )
    assert statuses(sink) == ["ok"] * 10
    assert [seen.result.frame_index for seen in sink.observations] == list(range(10))
    last = sink.observations[-1]
    assert last.result.tracks is not None
    assert last.result.tracks.ids.tolist() == [1]
    assert last.overlays[0].text == "1"
    assert [(event.kind, event.frame_index, event.data["count"]) for event in sink.events] == [("zone_count", 2, 1)]
    assert sink.events[0].media_time == pytest.approx(0.2)
    assert sink.events[0].time_quality is TimeQuality.FILE
    assert (summary.frames_processed, summary.tracks, summary.coverage) == (10, 1, 1.0)
    assert summary.events == {"zone_count": 1}
    wanted = {"read", "preprocess", "inference", "decode", "track", "rules", "end_to_end"}
    assert set(summary.stages) == wanted == set(last.result.timings_ms)
    assert json.loads(json.dumps(summary.to_json()))["stages"]["track"]["count"] == 10


def test_the_tracker_sees_weak_boxes_and_the_result_does_not() -> None:
    script = [detections(BOX, score=0.9), detections(BOX, score=0.9), detections(BOX, score=0.2)]
    _, sink = run(ListSource.blank(5), ScriptedModel(script), tracker=ByteTrack())
    last = sink.observations[-1].result
    assert isinstance(last.output, Detections)
    assert len(last.output) == 0
    assert last.tracks is not None
    assert last.tracks.ids.tolist() == [1]


def test_a_threshold_given_here_wins() -> None:
    _, sink = run(ListSource.blank(1), ScriptedModel([detections(BOX, score=0.6)]), score_threshold=0.7)
    assert isinstance(sink.observations[0].result.output, Detections)
    assert len(sink.observations[0].result.output) == 0


def test_a_failure_is_a_status_and_never_an_empty_picture() -> None:
    good, bad = detections(BOX), RuntimeError("engine gone")
    model = ScriptedModel([good, good, good, bad, bad, good])
    summary, sink = run(ListSource.blank(8), model, rules=[ZoneCount(WHOLE_FRAME)])
    assert statuses(sink) == ["ok"] * 3 + ["model_error"] * 2 + ["ok"] * 3
    failed = sink.observations[3].result
    assert failed.output is None
    assert failed.error == "RuntimeError: engine gone"
    assert [event.kind for event in sink.events] == ["zone_count", "model_error"]  # and no count of 0
    assert sink.events[1].data == {"error": "RuntimeError: engine gone", "in_a_row": 1, "fatal": False}
    assert summary.results == {"ok": 6, "model_error": 2}
    assert summary.errors == ("RuntimeError: engine gone",)
    assert summary.frames_processed == 8


def test_too_many_failures_in_a_row_end_the_run_after_telling() -> None:
    sink = MemorySink()
    watchers = Watchers(events=[sink], results=[sink])
    model = ScriptedModel([ValueError("bad input")])
    loop = CameraLoop(ListSource.blank(50), model, None, watchers, LoopLimits(max_model_errors=5))
    with pytest.raises(ModelFailedError, match="5 frames in a row; last: ValueError: bad input"):
        loop.run()
    assert model.calls == 5
    assert [event.data["fatal"] for event in sink.events] == [False, True]
    assert statuses(sink) == ["model_error"] * 5
    assert loop.summary().results == {"model_error": 5}
    assert loop.summary().coverage == 0.0


def test_failures_that_are_not_in_a_row_do_not_end_it() -> None:
    script = [RuntimeError("now and then"), Detections.empty()] * 20
    summary, _ = run(ListSource.blank(40), ScriptedModel(script), limits=LoopLimits(max_model_errors=2))
    assert summary.results == {"model_error": 20, "ok": 20}


class SlowModel(ScriptedModel):
    """Takes its time on an injected clock."""

    def __init__(self, clock: Clock, seconds: list[float]) -> None:
        super().__init__([detections(BOX)])
        self._clock = clock
        self._seconds = seconds

    def infer(self, image: Any, score_threshold: float | None = None) -> Detections | Classification:
        self._clock.now += self._seconds.pop(0)
        return super().infer(image, score_threshold)


def live_frames(clock: Clock, count: int) -> list[Frame]:
    image = np.zeros((48, 64, 3), np.uint8)
    return [Frame(image, "cam", n, clock.now + n, clock.now + n, TimeQuality.ARRIVAL) for n in range(count)]


def test_a_late_live_result_is_stale_and_raises_nothing() -> None:
    clock = Clock()
    model = SlowModel(clock, [0.1, 5.0, 0.1])
    sink = MemorySink()
    rule = ZoneCount(replace(WHOLE_FRAME, min_frames=2))
    loop = CameraLoop(
        ListSource(live_frames(clock, 2), live=True),
        model,
        None,
        Watchers([rule], [sink], [sink]),
        LoopLimits(max_age_s=2.0),
        clock=clock,
    )
    summary = loop.run()
    assert statuses(sink) == ["ok", "stale"]
    stale = sink.observations[1].result
    assert stale.output is not None  # it is known, but late
    assert stale.timings_ms["end_to_end"] > 2000.0
    assert "older than 2 s" in str(stale.error)
    assert sink.events == []
    assert summary.results == {"ok": 1, "stale": 1}


def test_a_file_is_never_stale() -> None:
    clock = Clock()
    _, sink = run(ListSource.blank(2), SlowModel(clock, [50.0, 50.0]), clock=clock)
    assert statuses(sink) == ["ok", "ok"]


def test_down_and_up_are_told_and_the_time_between_has_results() -> None:
    clock = Clock()
    frames = live_frames(clock, 4)
    items = [
        frames[0],
        SourceDown(clock.now, "cable pulled"),
        None,
        None,
        None,
        SourceUp(clock.now + 4, 4.0, 3),
        frames[3],
    ]

    class Ticking(ListSource):
        def take(self, timeout_s: float = 0.0) -> Any:
            clock.now += 0.5
            return super().take(timeout_s)

    sink = MemorySink()
    loop = CameraLoop(Ticking(items, live=True, name="cam"), ScriptedModel.empty(), None,
                      Watchers(events=[sink], results=[sink]), clock=clock)  # fmt: skip
    summary = loop.run()
    assert statuses(sink) == ["ok", "source_down", "source_down", "ok"]  # once a second
    down = sink.observations[1].result
    assert (down.frame_index, down.error, down.output) == (-1, "cable pulled", None)
    assert [(event.kind, dict(event.data)) for event in sink.events] == [
        ("source_down", {"reason": "cable pulled"}),
        ("source_up", {"gap_s": 4.0, "attempts": 3}),
    ]
    assert summary.blind_s == 4.0
    assert summary.coverage < 1.0


@pytest.mark.parametrize(
    ("limits", "frames"),
    [(LoopLimits(max_frames=3), 3), (LoopLimits(duration_s=2.0), 2), (LoopLimits(), 10)],
)
def test_limits_end_a_run_cleanly(limits: LoopLimits, frames: int) -> None:
    clock = Clock()
    model = SlowModel(clock, [1.0] * 10)
    summary, _ = run(ListSource.blank(10), model, limits=limits, clock=clock)
    assert summary.frames_processed == frames


def test_stop_ends_a_run_cleanly() -> None:
    sink = MemorySink()
    stop: Callable[[], bool] = lambda: len(sink.observations) >= 4  # noqa: E731
    summary = CameraLoop(ListSource.blank(10), ScriptedModel.empty(), None, Watchers(results=[sink])).run(stop)
    assert summary.frames_processed == 4


def test_a_camera_that_stays_away_can_be_given_up() -> None:
    clock = Clock()

    class Away(ListSource):
        def take(self, timeout_s: float = 0.0) -> Any:
            clock.now += timeout_s
            return super().take(timeout_s)

    source = Away([SourceDown(clock.now, "no answer"), *[None] * 100], live=True, name="gate")
    loop = CameraLoop(source, ScriptedModel.empty(), limits=LoopLimits(give_up_s=5.0), clock=clock)
    with pytest.raises(SourceError, match=r"gate: no frame for 5 s \(no answer\)"):
        loop.run()
    assert loop.summary().blind_s == pytest.approx(5.0, abs=0.5)


def test_a_slow_model_is_no_silence() -> None:
    clock = Clock()
    model = SlowModel(clock, [7.0] * 4)
    limits = LoopLimits(give_up_s=5.0)
    loop = CameraLoop(ListSource(live_frames(clock, 4), live=True), model, limits=limits, clock=clock)
    assert loop.run().frames_processed == 4


def test_a_camera_that_is_just_back_is_not_given_up() -> None:
    clock = Clock()

    class Returning(ListSource):
        def take(self, timeout_s: float = 0.0) -> Any:
            item = super().take(timeout_s)
            if isinstance(item, SourceUp):
                clock.now += 6.0
            return item

    source = Returning(
        [SourceDown(clock.now, "no answer"), SourceUp(clock.now + 6.0, 6.0, 1), *live_frames(clock, 1)], live=True
    )
    loop = CameraLoop(source, ScriptedModel.empty(), limits=LoopLimits(give_up_s=5.0), clock=clock)
    assert loop.run().frames_processed == 1


def test_a_model_call_beyond_its_limit_is_a_timeout_without_an_answer() -> None:
    clock = Clock()
    sink = MemorySink()
    rule = ZoneCount(replace(WHOLE_FRAME, min_frames=1))
    loop = CameraLoop(
        ListSource(live_frames(clock, 3), live=True),
        SlowModel(clock, [0.0, 11.0, 0.0]),
        None,
        Watchers([rule], [sink], [sink]),
        LoopLimits(max_age_s=100.0, model_timeout_s=10.0),
        clock=clock,
    )
    summary = loop.run()
    assert statuses(sink) == ["ok", "timeout", "ok"]
    late = sink.observations[1].result
    assert (late.output, late.tracks) == (None, None)
    assert late.error == "the model took longer than 10 s for one frame"
    assert [event.kind for event in sink.events] == ["zone_count", "model_error"]
    assert summary.results == {"ok": 2, "timeout": 1}


def timeouts(seconds: list[float], errors: int) -> tuple[RunSummary, MemorySink]:
    clock, sink = Clock(), MemorySink()
    loop = CameraLoop(
        ListSource(live_frames(clock, len(seconds)), live=True),
        SlowModel(clock, seconds),
        None,
        Watchers(events=[sink], results=[sink]),
        LoopLimits(max_age_s=1e9, model_timeout_s=10.0, max_model_errors=errors),
        clock=clock,
    )
    return loop.run(), sink


def test_a_board_that_is_too_slow_is_told_and_never_restarted_for_it() -> None:
    summary, sink = timeouts([11.0] * 9 + [1.0] + [11.0] * 2, errors=3)
    assert summary.results == {"timeout": 11, "ok": 1}
    said = [(event.kind, event.data["in_a_row"], event.data["fatal"]) for event in sink.events]
    assert said == [("model_error", 1, False)] * 2  # once for each streak


class FailingNowAndThen(SlowModel):
    """Raises where the time is below zero."""

    def infer(self, image: Any, score_threshold: float | None = None) -> Detections | Classification:
        if self._seconds[0] < 0:
            self._seconds.pop(0)
            message = "engine gone"
            raise RuntimeError(message)
        return super().infer(image, score_threshold)


def test_a_late_answer_is_an_answer_between_two_failures() -> None:
    clock = Clock()
    model = FailingNowAndThen(clock, [-1.0, -1.0, 11.0, -1.0, -1.0, -1.0, 0.0])
    source = ListSource(live_frames(clock, 7), live=True)
    loop = CameraLoop(source, model, limits=LoopLimits(max_age_s=1e9, max_model_errors=3), clock=clock)
    with pytest.raises(ModelFailedError, match="3 frames in a row"):
        loop.run()
    assert loop.summary().results == {"model_error": 5, "timeout": 1}


def test_classifiers_work_without_a_tracker() -> None:
    answer = Classification(np.array([1, 0], np.int64), np.array([0.8, 0.2], np.float32))
    summary, sink = run(ListSource.blank(5), ScriptedModel([answer]), rules=[ClassChange(["cat", "dog"])])
    assert summary.tracks is None
    assert [(event.kind, event.data["label"]) for event in sink.events] == [("classification", "dog")]


def test_coverage_is_the_share_of_seconds_looked_at() -> None:
    model = ScriptedModel([*[RuntimeError("x")] * 20, Detections.empty()])
    summary, _ = run(ListSource.blank(40, fps=10.0), model)
    assert summary.coverage == pytest.approx(0.5)


def test_two_loops_in_one_process_share_nothing() -> None:
    sinks = []
    for _ in range(2):
        tracker = ByteTrack(ByteTrackConfig(confirm_hits=1))
        _, sink = run(ListSource.blank(3), ScriptedModel([detections(BOX)]), tracker=tracker)
        sinks.append(sink)
    ids = [[seen.result.tracks.ids.tolist() for seen in sink.observations if seen.result.tracks] for sink in sinks]
    assert ids[0] == ids[1] == [[1]] * 3


def test_an_error_in_a_file_leaves_the_figures() -> None:
    class Broken(ListSource):
        def take(self, timeout_s: float = 0.0) -> Any:
            if self.seen == 3:
                message = "clip.avi: decoding stopped at frame 3 of 9"
                raise SourceError(message)
            return super().take(timeout_s)

    loop = CameraLoop(Broken(list(live_frames(Clock(), 9))), ScriptedModel.empty())
    with pytest.raises(SourceError, match="frame 3 of 9"):
        loop.run()
    assert loop.summary().results == {ResultStatus.OK.value: 3}
