"""What is told at the end of a deployment: asked of the board, and not trusted to be short or whole."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from bundles import write_detector
from fake_board import FakeBoard

from edgewright.deploy.errors import HostUnreachable
from edgewright.deploy.request import Packed, Request, pack
from edgewright.deploy.summary import Summary, Way, look
from edgewright.device_profiles.profile import load_profile

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Way()
START = "sudo runuser -u edgewright -- edgewright run --config X"
CHOSEN = {
    "variant": "int8-onnx",
    "engine": "onnxruntime 1.32.0",
    "why": "picked on 2026-01-01: fastest",
    "notes": ["n"],
}


@pytest.fixture
def fake(tmp_path: Path) -> FakeBoard:
    fake = FakeBoard(tmp_path / "board")
    (fake.root / "opt/edgewright/releases/r1/bin").mkdir(parents=True)
    (fake.root / "var/lib/edgewright/bundles").mkdir(parents=True)
    fake.say("active", "active")
    return fake


def answers(fake: FakeBoard, text: str, status: int = 0) -> None:
    """What the release's interpreter says when it is asked for its choice."""
    python = fake.root / "opt/edgewright/releases/r1/bin/python"
    (python.parent / "said").write_text(text)
    python.write_text(f'#!/bin/sh\ncat "$(dirname "$0")/said"\nexit {status}\n')
    python.chmod(0o755)


@pytest.fixture
def told(fake: FakeBoard, tmp_path: Path) -> Callable[..., Summary]:
    packed = pack(write_detector(tmp_path / "d.edge"), tmp_path)

    def ask(way: Way = HERE, *, bundle: Packed = packed, **wanted: Any) -> Summary:
        request = Request(bundle, load_profile("x86-64"), **wanted)
        return look(fake.board, request, "r1", way, start=START, given="my bundles/d.edge")

    return ask


def test_a_board_far_away_gets_commands_that_go_there(fake: FakeBoard, told: Callable[..., Summary]) -> None:
    answers(fake, "a warning of an engine\n" + json.dumps(CHOSEN))
    (fake.root / "var/lib/edgewright/bundles/previous").symlink_to("0.edge")
    summary = told(Way("pi@gate", 2222))
    assert summary.variant == "int8-onnx on onnxruntime 1.32.0: picked on 2026-01-01: fastest"
    assert summary.notes == ("n",)
    assert summary.service == "edgewright.service is active (running)"
    assert summary.release == "/opt/edgewright/releases/r1"
    assert summary.commands == {
        "log": "ssh -p 2222 pi@gate sudo journalctl -u edgewright -f",
        "doctor": "edgewright doctor --remote pi@gate --port 2222",
        "bench": "edgewright bench 'my bundles/d.edge' --remote pi@gate --port 2222",
        "roll back": "ssh -p 2222 pi@gate sudo cat /var/lib/edgewright/bundles/previous > former.edge && "
        "edgewright deploy pi@gate --port 2222 former.edge --profile x86-64",
    }
    assert [line.split()[0] for line in summary.lines()][:5] == ["release", "bundle", "variant", "settings", "service"]


def test_the_way_back_takes_its_packages_from_the_same_place(fake: FakeBoard, told: Callable[..., Summary]) -> None:
    answers(fake, json.dumps(CHOSEN))
    (fake.root / "var/lib/edgewright/bundles/previous").symlink_to("0.edge")
    way_back = told(Way("pi@gate"), environment=PurePosixPath("/opt/my env")).commands["roll back"]
    assert way_back.endswith(" --profile x86-64 --python-env '/opt/my env'")


def test_without_a_former_bundle_nothing_is_said_of_going_back(fake: FakeBoard, told: Callable[..., Summary]) -> None:
    answers(fake, json.dumps(CHOSEN))
    commands = told().commands
    assert list(commands) == ["log", "doctor", "bench"]
    assert (
        commands["doctor"] == "sudo /opt/edgewright/current/bin/edgewright doctor --config /etc/edgewright/device.toml"
    )


def test_without_a_service_nothing_is_said_of_systemd(fake: FakeBoard, told: Callable[..., Summary]) -> None:
    answers(fake, json.dumps(CHOSEN))
    summary = told(Way("pi@gate"), service=False)
    assert summary.commands["start"] == f"ssh pi@gate {START}"
    assert "systemctl" not in "\n".join(summary.lines())
    assert "journalctl" not in "\n".join(summary.lines())


@pytest.mark.parametrize(
    ("text", "status"),
    [("", 0), ("{", 0), ("[1]", 0), ('{"variant": 1}', 0), (json.dumps(CHOSEN), 1), ("{" * 100_000, 0)],
)
def test_an_answer_that_is_none_leaves_the_line_out(
    text: str, status: int, fake: FakeBoard, told: Callable[..., Summary]
) -> None:
    answers(fake, text, status)
    summary = told()
    assert summary.variant == ""
    assert not [line for line in summary.lines() if "variant" in line]


def test_what_the_board_says_is_bounded_and_tame(fake: FakeBoard, told: Callable[..., Summary]) -> None:
    answers(fake, json.dumps(CHOSEN | {"why": "\x1b[2J" + "x" * 10_000, "notes": ["y" * 10_000] * 100}))
    summary = told()
    assert len(summary.variant) < 300
    assert "\x1b" not in summary.variant
    assert len(summary.notes) <= 10


def test_a_link_lost_after_all_was_done_is_a_note(
    fake: FakeBoard, told: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*args: object, **kwargs: object) -> None:
        raise HostUnreachable("board: the link was lost")

    monkeypatch.setattr(fake, "run", lost)
    summary = told()
    assert (
        "all is done, but the board could not be asked how it fares now: board: the link was lost" in summary.notes[0]
    )
    assert summary.bundle.startswith("tiny 1.0.0, ")


def test_being_asked_leaves_nothing_in_the_home_of_the_service(fake: FakeBoard, told: Callable[..., Summary]) -> None:
    answers(fake, json.dumps(CHOSEN))
    python = fake.root / "opt/edgewright/releases/r1/bin/python"
    python.write_text(python.read_text().replace("cat", 'echo "$HOME" > "$0.home"; touch "$HOME/trace"; cat', 1))
    assert told().variant
    home = Path(python.with_suffix(".home").read_text().strip())
    assert home != Path.home()
    assert not home.exists()
