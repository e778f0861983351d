"""What every host does; the same is asked of a board behind a real SSH server in test_over_ssh.py."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from fake_board import FakeBoard

from edgewright.deploy import process
from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.local import LocalHost
from edgewright.deploy.ssh import SshHost
from edgewright.deploy.ssh_trouble import ssh_trouble
from edgewright.deploy.words import brief, lines_of

if TYPE_CHECKING:
    from edgewright.deploy.host import Host


@pytest.fixture(params=["local", "fake"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    return LocalHost() if request.param == "local" else FakeBoard(tmp_path / "board")


def test_words_status_and_input(host: Host) -> None:
    words = ["two words", "$HOME `id`", "'\"\\", "*", "-n", "", "ä\nb"]
    done = host.run(["printf", "<%s>", *words])
    assert done.out == "".join(f"<{word}>" for word in words)
    done = host.run(["sh", "-c", "cat; echo bad >&2; exit 7"], stdin=b"in")
    assert (done.code, done.out, done.err, done.ok) == (7, "in", "bad\n", False)
    assert host.run(["cat"]).out == ""


def test_a_missing_program_is_an_exit_status(host: Host) -> None:
    assert host.run(["/no/such/program"]).code == 127


def test_input_that_is_not_read_does_not_hide_why(host: Host) -> None:
    done = host.run(["sh", "-c", "echo full >&2; exit 3"], stdin=bytes(1 << 20))
    assert (done.code, done.err) == (3, "full\n")


def test_a_command_that_does_not_end_is_ended(host: Host) -> None:
    with pytest.raises(DeployError, match="did not end within 0.3 s"):
        host.run(["sleep", "60"], timeout_s=0.3)


def test_an_endless_answer_is_cut(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LARGEST_OUTPUT", 1 << 16)
    with pytest.raises(DeployError, match="wrote more than"):
        host.run(["yes"])


@pytest.mark.parametrize("size", [0, 1, 1_000_003])
def test_a_file_goes_there_and_back(host: Host, tmp_path: Path, size: int) -> None:
    told: list[tuple[int, int]] = []
    (tmp_path / "out").write_bytes(os.urandom(size))
    (tmp_path / "there").mkdir()
    place = PurePosixPath(tmp_path / "there" / "a file")
    host.send(tmp_path / "out", place, on_bytes=lambda sent, total: told.append((sent, total)))
    host.fetch(place, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "out").read_bytes()
    assert told[-1] == (size, size)
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["a file"]


def test_what_cannot_be_sent_or_fetched_leaves_what_was_there(host: Host, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "kept").write_bytes(b"kept")
    with pytest.raises(DeployError, match="cannot write"):
        host.send(tmp_path / "new", PurePosixPath(tmp_path / "nowhere" / "x"))
    with pytest.raises(DeployError, match="cannot read"):
        host.send(tmp_path / "none", PurePosixPath(tmp_path / "x"))
    with pytest.raises(DeployError):
        host.fetch(PurePosixPath(tmp_path / "none"), tmp_path / "kept")
    assert (tmp_path / "kept").read_bytes() == b"kept"


@pytest.mark.parametrize(
    ("target", "settings", "words"),
    [
        ("-oProxyCommand=x", {}, "is no board"),
        ("a b", {}, "is no board"),
        ("", {}, "is no board"),
        ("pi@x", {"port": 70000}, "port 70000"),
        ("pi@x", {"options": ["ProxyJump"]}, "is no option"),
        ("pi@x", {"identity": Path("/no/key")}, "no key file"),
    ],
)
def test_what_cannot_be_a_board_is_refused(target: str, settings: dict[str, object], words: str) -> None:
    with pytest.raises(DeployError, match=words):
        SshHost(target, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("complaint", "words"),
    [
        ("ssh: connect to host gate port 22: Connection refused", "systemctl enable --now ssh"),
        ("ssh: connect to host gate port 22: No route to host", "does not answer"),
        ("ssh: connect to host gate port 22: Connection timed out", "does not answer"),
        ("ssh: Could not resolve hostname gate: Name or service not known", "no host of that name"),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "ssh-keygen -R '[gate]:2222'",
        ),
        ("No ED25519 host key is known for gate\nHost key verification failed.", "ssh -p 2222 pi@gate  and compare"),
        ("pi@gate: Permission denied (publickey,password).", "ssh-copy-id -p 2222 pi@gate"),
        ("Received disconnect: Too many authentication failures", "IdentitiesOnly=yes"),
        ("command-line: line 0: Bad configuration option: foo", "option: foo"),
        ("something else\x1b[2J", "something else"),
    ],
)
def test_each_complaint_of_ssh_has_its_message(complaint: str, words: str) -> None:
    error = ssh_trouble("pi@gate", complaint, was_up=False, port=2222)
    assert isinstance(error, HostUnreachable)
    assert str(error).startswith("pi@gate: ")
    assert words in str(error)
    assert "\x1b" not in str(error)


def test_a_lost_link_says_what_to_do() -> None:
    error = ssh_trouble("pi@gate", "Timeout, server gate not responding.", was_up=True)
    assert "the link was lost" in str(error)
    assert "run this again" in str(error)


def test_words_of_a_board_are_bounded_and_plain() -> None:
    assert brief("a\n b\x1b[1m") == "a b\\x1b[1m"
    assert len(brief("x" * 10_000_000)) < 400
    assert brief("x" * 999 + "end").endswith("end")
    assert lines_of("\n".join(f"line {i} \x07" for i in range(100)), most=2) == ["line 98 \\x07", "line 99 \\x07"]
