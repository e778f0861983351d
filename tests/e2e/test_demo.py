"""The whole product on real input: the demo's own steps, what they must leave behind, and what the pages do with it."""

from __future__ import annotations

import re
import shutil
import sqlite3
from typing import TYPE_CHECKING

import cv2
import pytest
from delivery import Mosquitto
from docs_commands import check, commands_of
from rtsp.camera import rtsp_camera

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Demo
    from docs_commands import Place

# The first test runs the whole demo in its fixture; the bound is there to end a hang.
pytestmark = pytest.mark.timeout(900)


def test_every_step_is_announced_and_the_table_printed(demo: Demo) -> None:
    figures, text = demo.figures, demo.text
    assert all(f"[{step}/7]" in text for step in range(3, 8))
    assert f"{figures['events_emitted']} emitted = {figures['events_in_database']} in the database" in text


def test_the_detector_is_the_real_one(demo: Demo) -> None:
    figures = demo.figures
    assert figures["verdict"] == "PASS"
    assert figures["ap50_float"] == pytest.approx(0.62, abs=0.01)
    assert figures["ap50_int8"] > 0.55
    assert figures["labelled_frames"] == 30
    assert figures["size_ratio"] >= 3.3
    assert figures["agreement_frames"] >= 150
    assert figures["boxes_kept"][0] > 0.9


def test_the_whole_clip_was_watched_and_annotated(demo: Demo) -> None:
    out, figures = demo.out, demo.figures
    assert figures["frames"] == 795
    assert 8 <= figures["tracks"] <= 60
    video = cv2.VideoCapture(str(out / "seen.mp4"))
    frames = 0
    while video.grab():
        frames += 1
    video.release()
    assert frames == 795


def test_every_event_is_a_row_in_the_database(demo: Demo) -> None:
    out, figures = demo.out, demo.figures
    assert figures["events_emitted"] == figures["events_in_database"] > 10
    database = sqlite3.connect(out / "fleet.db")
    rows = database.execute("SELECT COUNT(*), COUNT(DISTINCT seq), MIN(seq), MAX(seq) FROM events").fetchone()
    database.close()
    assert rows == (figures["events_emitted"], figures["events_emitted"], 1, figures["events_emitted"])


def test_the_report_opens_without_a_network(demo: Demo) -> None:
    page = (demo.out / "report/report.html").read_text(encoding="utf-8")
    assert 'src="http' not in page
    assert "url(http" not in page
    assert page.count('src="data:image/') >= 2


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path_factory.mktemp("broker")).start()
    yield mosquitto
    mosquitto.kill()


@pytest.mark.parametrize("command", commands_of("demo"))
def test_the_command_works(
    command: str, demo: Demo, place: Place, broker: Mosquitto, unmeasured: dict[str, str]
) -> None:
    line = place.runnable(command, broker.url)
    # The demo's bundle, which has all that is shown of one: commands before may have written another of that name.
    shutil.copy(demo.out / "person.edge", place.folder / "person.edge")
    if "rtsp://" in line:
        with rtsp_camera() as camera:
            done = place.run(re.sub(r"rtsp://\S+", camera.url, line), unmeasured)
    else:
        done = place.run(line, unmeasured)
    check(command, line, done)
