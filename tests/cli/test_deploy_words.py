"""The words of ``deploy`` and ``install``: in which order they may come, and what is told."""

from __future__ import annotations

import argparse
import io
import platform
import sys
from typing import TYPE_CHECKING

import pytest
from bundles import write_detector
from delivery import wait_until

from edgewright.cli import deploy, deploy_told
from edgewright.cli.deploy_told import Teller, ended_well
from edgewright.cli.main import main
from edgewright.deploy.plan import Outcome, State, StepResult
from edgewright.deploy.ssh_trouble import ssh_trouble
from edgewright.deploy.summary import Summary, Way

if TYPE_CHECKING:
    from pathlib import Path

PROFILE = "x86-64" if platform.machine() == "x86_64" else "generic-arm64"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_detector(tmp_path / "d.edge")
    (tmp_path / "root").mkdir()
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "HOST --profile P d.edge",
        "--profile P HOST d.edge",
        "HOST d.edge --profile P",
        "--profile P HOST --dry-run d.edge",
    ],
)
def test_words_and_options_may_come_in_any_order(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[argparse.Namespace] = []

    def note(args: argparse.Namespace) -> int:
        seen.append(args)
        return 0

    monkeypatch.setattr(deploy, "run", note)
    assert main(["deploy", *words.split()]) == 0
    assert (seen[0].target, str(seen[0].bundle), seen[0].profile) == ("HOST", "d.edge", "P")


def test_a_word_too_many_is_still_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["deploy", "HOST", "--profile", "P", "d.edge", "more"])
    assert "unrecognized arguments: more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "deploy d.edge pi@x --profile P",
            "the board comes first, then the bundle: edgewright deploy pi@x d.edge --profile P",
        ),
        ("deploy d.edge --profile P", "no board was named; the board comes first: edgewright deploy USER@HOST d.edge"),
        ("deploy d.edge --uninstall", "edgewright deploy USER@HOST --uninstall"),
        ("deploy d.edge d.edge --profile P", "are both bundles"),
        ("deploy pi@x", "write edgewright deploy pi@x BUNDLE --profile NAME, or --uninstall"),
        ("deploy pi@x --profile P", "write edgewright deploy pi@x BUNDLE --profile P"),
        ("deploy pi@x d.edge", "nothing says which board it is; write edgewright deploy pi@x d.edge --profile NAME"),
        ("deploy pi@x none.edge --profile P0", "cannot read bundle none.edge"),
        ("deploy pi@x folder --profile P0", "folder is not a bundle"),
        ("deploy pi@x d.edge --profile nix", "no device profile 'nix'"),
        (
            "install d.edge --profile P0 --variant nope",
            "--variant 'nope' is none of it; d.edge has for P0: float32-onnx",
        ),
        ("install d.edge --profile P0 --broker ftp://x", "--broker: "),
        ("install d.edge --profile P0 --config c --source 0 --replace-config", "leave out --source, --replace-config"),
        ("install d.edge --profile P0 --service none --journal volatile", "--journal bounds the log of the systemd"),
        ("install d.edge --profile P0 --constraints none.txt", "there is no constraints file none.txt"),
        ("install d.edge --profile P0 --python-env venv", "--python-env venv is no whole path"),
        ("install d.edge --profile P0 --wait -1", "--wait -1 cannot be"),
    ],
)
def test_what_is_wrong_with_the_words_is_one_line(
    words: str, says: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del place
    assert main(words.replace("P0", PROFILE).split()) == 2
    told = capsys.readouterr()
    assert says.replace("P0", PROFILE) in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize("host", ["pi@gate", "gate", "pi@[fe80::1%eth0]"])
def test_a_port_after_a_colon_is_told(host: str) -> None:
    complaint = "ssh: Could not resolve hostname gate:22: Name or service not known"
    error = ssh_trouble(f"{host}:22", complaint, was_up=False)
    bare = host.replace("[", "").replace("]", "")
    assert str(error) == f"{host}:22: ssh takes no port after a colon; write {bare} --port 22"
    assert "there is no host of that name" in str(ssh_trouble("pi@gate", complaint, was_up=False))


def test_the_end_says_what_is_there_and_without_systemd_does_not_speak_of_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--profile", PROFILE, "--root", "root", "--python-env", sys.prefix, "d.edge"]
    assert main(["install", *words, "--source", "0", "--service", "none"]) == 0
    last = capsys.readouterr().out.partition(": changed\n")[2].splitlines()
    found = {line.split()[0]: " ".join(line.split()[1:]) for line in last}
    assert found["bundle"].startswith("tiny 1.0.0, /var/lib/edgewright/bundles/")
    assert found["variant"].startswith("float32-onnx on onnxruntime ")
    assert found["variant"].endswith(": the bundle's first variant")
    assert found["service"] == "none; start it by hand"
    assert found["start"] == "/opt/edgewright/current/bin/edgewright run --config /etc/edgewright/device.toml"
    assert "systemctl" not in "\n".join(last) + (place / "root/etc/edgewright/device.toml").read_text()


def test_the_commands_at_the_end_carry_the_way_to_the_board() -> None:
    way = Way("pi@gate", 2222, "my key", ("ProxyJump=hop",))
    assert way.flags == "--port 2222 --identity 'my key' --ssh-option ProxyJump=hop"
    assert way.ssh == "ssh -p 2222 -i 'my key' -oProxyJump=hop pi@gate"


def test_a_warning_of_a_step_stands_at_the_end_too(capsys: pytest.CaptureFixture[str]) -> None:
    class Named:
        name = "pi@gate"

    outcome = Outcome([StepResult("settings", State.UNCHANGED, "kept", "nothing of this was used")])
    args = argparse.Namespace(json=False, dry_run=False, verb="deploy")
    code = ended_well(outcome, Named(), args, {"notes": ["one"]}, Summary(bundle="b 1", notes=("one", "two")))  # type: ignore[arg-type]
    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "pi@gate: unchanged, all was so already",
        "  bundle    b 1",
        "  note: one",
        "  note: two",
        "  warning: nothing of this was used",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told_by(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, wanted: str) -> str:
    """What a deployment writes to ``stream`` until ``wanted`` stands there."""
    monkeypatch.setattr(deploy_told, "_SILENT_S", 0.0)
    monkeypatch.setattr(deploy_told, "_PLAIN_EVERY_S", 0.01)
    monkeypatch.setattr(sys, "stderr", stream)
    with Teller(as_json=False) as teller:
        teller.result(StepResult("folders", State.CHANGED, "made"))
        teller.begin("release")
        teller.bytes("wheel", 0, 10_000_000)
        teller.bytes("wheel", 4_000_000, 10_000_000)
        wait_until(lambda: wanted in stream.getvalue())
        teller.bytes("wheel", 10_000_000, 10_000_000)
        wait_until(lambda: "at work on release (" in stream.getvalue())
        teller.result(StepResult("proof", State.FAILED, "a long story"))
    return stream.getvalue()


def test_a_terminal_sees_what_is_at_work_and_nothing_of_it_stays(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = told_by(Terminal(), monkeypatch, "sending wheel: 4.0 of 10.0 MB, ")
    assert told.endswith("\r\x1b[K")
    assert "\n" not in told
    assert capsys.readouterr().out.splitlines() == ["  changed      folders: made", "  failed       proof"]


def test_without_a_terminal_progress_is_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = told_by(io.StringIO(), monkeypatch, "  sending wheel: 4.0 of 10.0 MB, ")
    assert "\r" not in told
    assert "\x1b" not in told
    assert capsys.readouterr().out.splitlines() == ["  changed      folders: made", "  failed       proof"]


def test_json_and_a_quick_deployment_are_told_nothing_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (True, False):
        with Teller(as_json=as_json) as teller:
            teller.begin("release")
            teller.bytes("wheel", 4, 10)
    assert capsys.readouterr() == ("", "")
