"""A ``device.toml`` that is there: kept and told, or written anew with the former one beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fake_board import FakeBoard

from edgewright.deploy.errors import DeployError
from edgewright.deploy.kept_settings import differences, lost
from edgewright.deploy.layout import Layout
from edgewright.deploy.plan import Plan, State
from edgewright.deploy.settings import Settings, check_settings, render_settings
from edgewright.deploy.steps.config import ConfigStep
from edgewright.deploy.steps.folders import FoldersStep
from edgewright.device.config import load_config

if TYPE_CHECKING:
    from pathlib import Path

ZONE = "door=0.1,0.2;0.5,0.2;0.5,0.9"
FIRST = Settings(source="rtsp://u:hunter2@cam/1", broker="mqtt://u:hunter3@broker", threads=1)
CONFIG = "etc/edgewright/device.toml"


@pytest.fixture
def fake(tmp_path: Path) -> FakeBoard:
    fake = FakeBoard(tmp_path)
    FoldersStep(fake.board).apply()
    ConfigStep(fake.board, FIRST, "x86-64", None).apply()
    return fake


def step(fake: FakeBoard, settings: Settings) -> ConfigStep:
    return ConfigStep(fake.board, settings, "x86-64", None)


def test_what_a_kept_file_says_otherwise_is_a_warning_with_its_line(fake: FakeBoard) -> None:
    outcome = Plan([step(fake, Settings("rtsp://v:hunter4@cam/2", broker=FIRST.broker, zones=(ZONE,)))], print).run()
    assert [result.state for result in outcome.results] == [State.UNCHANGED]
    (warning,) = outcome.warnings
    line = (fake.root / CONFIG).read_text().splitlines().index('uri = "rtsp://u:hunter2@cam/1"') + 1
    assert "/etc/edgewright/device.toml was kept, so --source, --zone had no effect" in warning
    assert f"--source: line {line}, uri in [source]" in warning
    assert "--zone: no zones in [rules] yet" in warning
    assert "--replace-config" in warning
    assert "--broker" not in warning
    assert "hunter" not in warning + outcome.results[0].words


def test_the_same_words_again_are_no_warning(fake: FakeBoard) -> None:
    assert Plan([step(fake, FIRST)], print).run().warnings == []


def test_another_profile_than_the_kept_file_names_is_a_warning(fake: FakeBoard) -> None:
    """The unit and the proof go by it, and the service by the file's."""
    (warning,) = Plan([ConfigStep(fake.board, Settings(), "generic-x86-avx2", None)], print).run().warnings
    assert "so --profile had no effect (--profile: line " in warning
    assert "profile in [model]" in warning


def test_threads_are_left_to_the_profile_which_knows_the_cores_that_are_there() -> None:
    assert "threads" not in render_settings(Settings("0"), Layout(), "jetson-agx-orin")
    assert "threads = 3" in render_settings(Settings("0", threads=3), Layout(), "jetson-agx-orin")


def test_a_file_that_is_no_toml_is_told(fake: FakeBoard) -> None:
    (fake.root / CONFIG).write_text("uri = = 1\n")
    assert "it is not valid TOML" in step(fake, FIRST).check().warning


def test_a_replaced_file_stays_beside_the_new_one_and_comes_back_when_undone(fake: FakeBoard) -> None:
    path, beside = fake.root / CONFIG, fake.root / f"{CONFIG}.before"
    path.write_text(path.read_text() + '[output]\nevents = "e.jsonl"\n')
    former = path.read_bytes()
    step_ = step(fake, Settings("1", replace=True))
    warning = step_.check().warning
    assert "also set [model] threads, [sync] broker, [output] events" in warning
    assert "device.toml.before" in step_.apply()
    assert load_config(path).source.uri == "1"
    assert beside.read_bytes() == former
    assert beside.stat().st_mode & 0o777 == 0o640
    assert step(fake, Settings("1", replace=True)).check().done
    step_.undo()
    assert path.read_bytes() == former
    assert not beside.exists()


def test_undoing_a_second_replacement_leaves_what_stood_beside(fake: FakeBoard) -> None:
    beside = fake.root / f"{CONFIG}.before"
    step(fake, Settings("1", replace=True)).apply()
    kept = beside.read_bytes()
    second = step(fake, Settings("2", replace=True))
    second.apply()
    assert beside.read_bytes() != kept
    second.undo()
    assert beside.read_bytes() == kept


def test_replacing_needs_to_know_what_to_watch(fake: FakeBoard) -> None:
    with pytest.raises(DeployError, match="is to be written anew and nothing says what the camera shall watch"):
        step(fake, Settings(broker="mqtt://b", replace=True)).check()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Settings("nosuch://u:hunter2@x"), "--source: nosuch://"),
        (Settings("rtsp://"), "--source: "),
        (Settings("  "), "--source is empty"),
        (Settings("0", broker="ftp://u:hunter2@x"), "--broker: the broker URL must name a scheme"),
        (Settings("0", zones=("a=1",)), "--zone: zone a: '1' is no corner"),
        (Settings("0", zones=(ZONE, ZONE)), "two zones are called 'door'"),
        (Settings("0", threads=0), "--threads 0 cannot be"),
        (Settings("0", device=""), "--device is empty"),
    ],
)
def test_values_that_cannot_be_meant_are_refused_even_where_a_file_is_kept(settings: Settings, says: str) -> None:
    with pytest.raises(DeployError) as caught:
        check_settings(settings)
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("source", ["0", "/home/board/clip.avi", "file:///not/here.avi", "rtsp://u:p@cam/1"])
def test_places_of_the_board_are_not_looked_for_here(source: str) -> None:
    check_settings(Settings(source, zones=(ZONE,), broker="mqtts://u:p@b?ca=/etc/ssl/ca.pem", threads=64))


def test_without_systemd_nothing_speaks_of_it() -> None:
    with_it, without = (
        render_settings(Settings("0", by_hand=by_hand), Layout(), "x86-64")
        for by_hand in (None, "edgewright run --config X")
    )
    assert "systemctl" in with_it
    assert "systemctl" not in without
    assert "by hand: edgewright run --config X\n" in without


def test_lines_are_those_of_the_right_table() -> None:
    text = b'[other]\nuri = "x"\n\n[source]\n# uri = 1\nname = "n"\n  uri = "0"\n'
    assert differences(Settings("1", name="n"), None, text) == {"--source": "line 7, uri in [source]"}
    assert lost(text, b'[source]\nuri = "2"\n') == ["[other] uri", "[source] name"]
