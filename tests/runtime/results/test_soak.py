"""The long run: its points, its end before time, and the answers that a board gives to pictures sent to it."""

from __future__ import annotations

import _thread
import threading
from pathlib import Path

import numpy as np
import pytest
from bundles import picture, write_classifier, write_detector
from numpy.typing import NDArray

from edgewright.bundle.arrays import npz_bytes, read_npz
from edgewright.bundle.errors import IntegrityError
from edgewright.bundle.reader import open_bundle
from edgewright.cli.main import main
from edgewright.runtime.bench import BenchError
from edgewright.runtime.results.answers import (
    CURVE_SCORE,
    answer,
    answers_bytes,
    pack_pictures,
    read_answers,
    unpack_pictures,
)
from edgewright.runtime.results.schema import Point, ResultError
from edgewright.runtime.results.soak import SoakPlan, soak
from edgewright.runtime.session import open_session
from edgewright.runtime.types import Detections


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_detector(tmp_path_factory.mktemp("tiny") / "tiny.edge")


def test_points_cover_the_run(tiny: Path) -> None:
    told: list[Point] = []
    seen = soak(tiny, SoakPlan("float32-onnx", 2.0, frame_size=(64, 48)), told.append)
    assert seen.seconds >= 2.0
    assert sum(point.frames for point in seen.points) == seen.frames > 10
    assert [point.at_s for point in seen.points] == sorted(point.at_s for point in seen.points)
    assert all(point.p50_ms is not None and point.p50_ms > 0 for point in seen.points)
    assert len(told) >= 2
    assert seen.note == ""
    assert seen.energy is not None


def test_ctrl_c_keeps_what_was_measured(tiny: Path) -> None:
    threading.Timer(1.5, _thread.interrupt_main).start()
    seen = soak(tiny, SoakPlan("float32-onnx", 60.0))
    assert seen.note == "interrupted"
    assert seen.frames > 0
    assert seen.points
    assert seen.seconds < 60


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e9, float("nan")])
def test_lengths_that_mean_nothing_are_refused(tiny: Path, seconds: float) -> None:
    with pytest.raises(BenchError, match="--soak cannot be"):
        soak(tiny, SoakPlan("float32-onnx", seconds))


def test_a_bundle_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="no golden frames"):
        soak(write_classifier(tmp_path / "c.edge"), SoakPlan("float32-onnx", 1.0))


def test_pictures_travel_without_loss() -> None:
    images = [picture(1), picture(2, 17, 93)]
    back = list(unpack_pictures(pack_pictures(images), "p"))
    assert all(np.array_equal(one, other) for one, other in zip(images, back, strict=True))


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is large."""
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return npz_bytes({"000000": np.frombuffer(head + bytes(20), np.uint8)})


@pytest.mark.parametrize("data", [bomb(60_000, 60_000), bomb(4, 4), npz_bytes({"a": np.zeros(9, np.float32)})])
def test_pictures_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(ResultError, match="cannot be read"):
        list(unpack_pictures(data, "p"))


def asked(path: Path, images: list[NDArray[np.uint8]]) -> bytes:
    with open_bundle(path) as bundle:
        return answers_bytes(answer(bundle, ["float32-onnx"], lambda: iter(images)))


@pytest.mark.parametrize("boxes", [True, False])
def test_answers_come_back_as_the_session_gave_them(tmp_path: Path, boxes: bool) -> None:
    write = write_detector if boxes else write_classifier
    path, images = write(tmp_path / "b.edge"), [picture(seed) for seed in range(3)]
    found = read_answers(asked(path, images), "a", pictures=3, boxes=boxes)["float32-onnx"]
    with open_bundle(path) as bundle:
        session = open_session(bundle)
        for image, said in zip(images, found, strict=True):
            here = session.infer(image, score_threshold=CURVE_SCORE if boxes else None)
            assert np.array_equal(here.scores, said.scores)
            assert np.array_equal(here.class_ids, said.class_ids)
            if isinstance(here, Detections):
                assert isinstance(said, Detections)
                assert np.array_equal(here.boxes, said.boxes)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("counts", np.array([1, 2], np.int64)),
        ("counts", np.array([-1, 1, 1], np.int64)),
        ("counts", np.array([10**9, 0, 0], np.int64)),
        ("scores", np.full(3, np.nan, np.float32)),
        ("scores", np.full(3, 7, np.float32)),
        ("boxes", np.full((3, 4), np.inf, np.float32)),
        ("boxes", np.zeros((3, 5), np.float32)),
        ("class_ids", np.zeros(3, np.float32)),
    ],
)
def test_made_up_answers_are_refused(part: str, value: NDArray[np.generic]) -> None:
    good = {
        "v/counts": np.array([1, 1, 1], np.int64),
        "v/scores": np.full(3, 0.5, np.float32),
        "v/class_ids": np.zeros(3, np.int64),
        "v/boxes": np.zeros((3, 4), np.float32),
    }
    assert read_answers(npz_bytes(good), "a", pictures=3, boxes=True)
    with pytest.raises(ResultError, match="one answer"):
        read_answers(npz_bytes({**good, f"v/{part}": value}), "a", pictures=3, boxes=True)


def test_the_command_that_a_board_runs(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.npz").write_bytes(pack_pictures([picture(1), picture(2)]))
    words = ["bench", str(tiny), "--over", str(tmp_path / "p.npz"), "--answers", str(tmp_path / "a.npz")]
    assert main(words) == 0
    assert "2 pictures answered" in capsys.readouterr().out
    assert set(read_npz((tmp_path / "a.npz").read_bytes(), "a")) >= {"float32-onnx/scores", "float32-onnx/boxes"}
    (tmp_path / "p.npz").write_bytes(b"PK")
    assert main(words) == 2
