"""A camera's whole run: bundle, source, tracker, rules, recorder, outbox."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import threading
from pathlib import Path
from typing import Any

import cv2
import pytest
from rtsp.camera import free_port, rtsp_camera

from edgewright.bundle.errors import BundleError, OutputError
from edgewright.device.app import run_camera
from edgewright.device.config import load_config
from edgewright.device.errors import DeviceConfigError
from edgewright.runtime.errors import ModelMismatchError, RuleConfigError, SourceError, SourceUriError
from edgewright.runtime.recorder import VideoFile
from edgewright.runtime.testing import MemorySink


def config(watched: Path | str, bundle: Path, **tables: dict[str, Any]) -> Any:
    flags: dict[str, dict[str, Any]] = {"source": {"uri": str(watched)}, "model": {"bundle": bundle}}
    for name, table in tables.items():
        flags[name] = {**flags.get(name, {}), **table}
    return load_config(None, flags)


def test_a_clip_gives_events_a_video_and_figures(clip: Path, detector: Path, tmp_path: Path) -> None:
    output = {"annotate": tmp_path / "seen.mp4", "events": tmp_path / "events.jsonl"}
    report = run_camera(config(clip, detector, output=output, source={"name": "gate"}))
    assert (report.summary.frames_processed, report.summary.tracks, report.summary.coverage) == (24, 1, 1.0)
    assert report.summary.events == {"zone_count": 1, "run_summary": 1}
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["zone_count", "run_summary"]
    event = lines[0]
    assert event["data"] == {"zone": "view", "count": 1, "previous": 0, "track_ids": [1]}
    # Seen from frame 8 on, an identity from its second frame on, a count once that held for three.
    assert (event["camera"], event["frame_index"], event["media_time"]) == ("gate", 11, 1.1)
    assert event["time_quality"] == "file"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
    assert (event["bundle"]["name"], event["bundle"]["variant"]) == ("tiny", "float32-onnx")
    assert len(event["bundle"]["digest"]) == 64
    capture = cv2.VideoCapture(str(tmp_path / "seen.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 24
    assert report.annotated == tmp_path / "seen.mp4"
    assert report.problems == ()
    assert json.loads(json.dumps(report.to_json()))["frames_processed"] == 24


def test_the_same_clip_gives_the_same_events(clip: Path, detector: Path, tmp_path: Path) -> None:
    said = []
    for number in range(2):
        path = tmp_path / f"{number}.jsonl"
        run_camera(config(clip, detector, output={"events": path}))
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        said.append(
            [(line["kind"], line["frame_index"], line["data"]) for line in lines if line["kind"] == "zone_count"]
        )
    assert said[0] == said[1]
    assert said[0]


def test_zones_threshold_and_no_tracking(clip: Path, detector: Path) -> None:
    rules = {"track": False, "zones": ("left=0,0;0.6,0;0.6,1;0,1", "right=0.6,0;1,0;1,1;0.6,1"), "min_frames": 1}
    report = run_camera(config(clip, detector, rules=rules))
    assert report.summary.tracks is None
    assert report.summary.events["zone_count"] == 1
    quiet = run_camera(config(clip, detector, rules=rules, model={"score": 1.0}))
    assert "zone_count" not in quiet.summary.events


def test_a_classifier_runs_too(clip: Path, classifier: Path) -> None:
    report = run_camera(config(clip, classifier))
    assert report.summary.tracks is None
    assert report.summary.events["classification"] == 1
    with pytest.raises(DeviceConfigError, match="zones mean nothing"):
        run_camera(config(clip, classifier, rules={"zones": ("a=0,0;1,0;1,1",)}))


def test_an_unreachable_broker_stops_nothing_and_loses_nothing(clip: Path, detector: Path, tmp_path: Path) -> None:
    sync = {
        "broker": f"mqtt://127.0.0.1:{free_port()}",
        "device": "d1",
        "outbox": tmp_path / "o.sqlite",
        "drain_s": 0.2,
    }
    report = run_camera(config(clip, detector, sync=sync))
    assert report.summary.frames_processed == 24
    assert report.drained is False
    assert report.sync is not None
    assert (report.sync["emitted"], report.sync["pending"], report.sync["stored"]) == (2, 2, 0)


def test_an_outbox_without_a_broker_keeps_events(clip: Path, detector: Path, tmp_path: Path) -> None:
    report = run_camera(config(clip, detector, sync={"device": "d1", "outbox": tmp_path / "o.sqlite"}))
    assert report.drained is None
    assert report.sync is not None
    assert report.sync["committed"] == 2


def test_limits_and_stop_end_a_run_with_its_outputs(clip: Path, detector: Path, tmp_path: Path) -> None:
    output = {"annotate": tmp_path / "frames"}
    report = run_camera(config(clip, detector, output=output, source={"max_frames": 5, "every": 2}))
    assert report.summary.frames_processed == 5
    assert max(path.name for path in (tmp_path / "frames").iterdir()) == "frame_000008.jpg"
    sink = MemorySink()
    stopped = run_camera(
        config(clip, detector, output={"annotate": tmp_path / "seen.avi"}),
        stop=lambda: len(sink.observations) >= 7,
        watch=lambda _: [sink],
    )
    assert stopped.summary.frames_processed == 7
    assert int(cv2.VideoCapture(str(tmp_path / "seen.avi")).get(cv2.CAP_PROP_FRAME_COUNT)) == 7


def test_a_clip_that_breaks_leaves_no_half_video_and_keeps_its_events(
    clip: Path, detector: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.avi"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size * 4 // 5])
    output = {"annotate": tmp_path / "seen.mp4", "events": tmp_path / "events.jsonl"}
    with pytest.raises(SourceError, match="cut short"):
        run_camera(config(cut, detector, output=output))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.avi", "events.jsonl"]
    assert "zone_count" in (tmp_path / "events.jsonl").read_text()


def test_an_output_that_fails_at_the_end_leaves_the_others_whole(clip: Path, detector: Path, tmp_path: Path) -> None:
    output = {"annotate": tmp_path / "seen.mp4", "events": Path("/dev/full")}
    sync = {"device": "d1", "outbox": tmp_path / "o.sqlite"}
    with pytest.raises(OutputError, match="cannot write events to /dev/full"):
        run_camera(config(clip, detector, output=output, sync=sync))
    left = sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock"))
    assert left == ["o.sqlite", "seen.mp4"]  # no half-written video, no write-ahead log of an open outbox
    assert int(cv2.VideoCapture(str(tmp_path / "seen.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == 24
    with contextlib.closing(sqlite3.connect(tmp_path / "o.sqlite")) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = str([database.execute(f'SELECT * FROM "{table}"').fetchall() for table in tables])
    assert "run_summary" in rows


def test_a_video_that_fails_at_the_end_leaves_events_and_outbox_closed(
    clip: Path, detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VideoFile, "_problem", lambda _: "the disk is full")
    output = {"annotate": tmp_path / "seen.mp4", "events": tmp_path / "e.jsonl"}
    before = set(threading.enumerate())
    with pytest.raises(OutputError, match="the disk is full"):
        run_camera(config(clip, detector, output=output, sync={"device": "d1", "outbox": tmp_path / "o.sqlite"}))
    left = sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock"))
    assert left == ["e.jsonl", "o.sqlite"]
    assert "run_summary" in (tmp_path / "e.jsonl").read_text()
    assert set(threading.enumerate()) <= before


def test_a_camera_outlives_its_events_file(detector: Path) -> None:
    with rtsp_camera() as camera:
        output = {"events": Path("/dev/full")}
        report = run_camera(config(camera.url, detector, output=output, source={"max_frames": 3}))
    assert report.summary.frames_processed == 3
    assert "cannot write events to /dev/full" in report.problems[0]


@pytest.mark.parametrize(
    ("tables", "error", "says"),
    [
        ({"source": {"uri": "nowhere.avi"}}, SourceUriError, "no such file"),
        ({"model": {"bundle": "nowhere.edge"}}, BundleError, "nowhere.edge"),
        ({"model": {"variant": "int4"}}, ModelMismatchError, "int4"),
        ({"rules": {"zones": ("x=1",)}}, RuleConfigError, "corner"),
        ({"rules": {"zones": ("a=0,0;1,0;1,1", "a=0,0;1,0;1,1")}}, DeviceConfigError, "two zones"),
        ({"output": {"events": "/proc/nowhere/e.jsonl"}}, OutputError, "cannot write"),
        ({"output": {"annotate": "/proc/nowhere/seen.mp4"}}, OutputError, "cannot write"),
    ],
)
def test_bad_input_is_refused_before_the_first_frame(
    clip: Path, detector: Path, tables: dict[str, Any], error: type[Exception], says: str
) -> None:
    sink = MemorySink()
    with pytest.raises(error, match=says):
        run_camera(config(clip, detector, **tables), watch=lambda _: [sink])
    assert sink.observations == []


def test_source_and_bundle_are_needed() -> None:
    with pytest.raises(DeviceConfigError, match="--source"):
        run_camera(load_config(None))
