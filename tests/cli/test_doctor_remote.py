"""What `edgewright doctor --remote` makes of a board: what it sends, what it believes, and what it says of itself."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from delivery import Mosquitto
from ssh_server import SshBoard

from edgewright.cli.doctor import command, remote
from edgewright.cli.doctor.findings import Finding, to_json
from edgewright.cli.doctor.remote import board_findings, words_for_board
from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.host import Done

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FINE = (Finding("packages", "edgewright", "ok", version("edgewright")), Finding("clock", "rtc", "warn", "none", "add"))
PROGRAM = "/opt/edgewright/current/bin/edgewright"


class Board:
    """A board that says what it is told to."""

    name = "pi@board"

    def __init__(
        self,
        said: str,
        *,
        program: str = PROGRAM,
        root: bool = True,
        ahead_s: float = 0.0,
        there: str = version("edgewright"),
    ) -> None:
        self._said, self._program, self._root, self._ahead, self._version = said, program, root, ahead_s, there
        self.asked: list[tuple[Sequence[str], bytes | None, bool]] = []

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_s: float = 60.0, root: bool = False
    ) -> Done:
        self.asked.append((argv, stdin, root))
        if argv[0] == "date":
            return Done(0, f"{time.time() + self._ahead}\n", "")
        if argv[0] == "test":
            return Done(0 if argv[2] == self._program else 1, "", "")
        if argv[0] == "sh":
            return Done(0 if self._program else 1, self._program, "")
        if root and not self._root:
            raise DeployError("sudo waits for a password")
        if list(argv[1:]) == ["--version"]:
            return (
                Done(0, f"edgewright {self._version}\n", "") if self._version else Done(1, "", "ImportError: libgomp")
            )
        return self.doctor()

    def doctor(self) -> Done:
        return Done(0, self._said, "Traceback ...\nImportError: libgomp")


def found_at(board: Board) -> dict[str, Finding]:
    found = board_findings(board, ["doctor", "--json"], b"mqtt://a:sesame@b\n")  # type: ignore[arg-type]
    return {f"{finding.group}/{finding.name}": finding for finding in found}


def test_the_boards_own_findings_are_shown() -> None:
    board = Board(json.dumps(to_json(FINE)))
    found = found_at(board)
    assert found["clock/rtc"] == FINE[1]
    assert {finding.state for name, finding in found.items() if name.startswith("board/")} == {"ok"}
    argv, stdin, root = board.asked[-1]
    assert (argv, stdin, root) == ([PROGRAM, "doctor", "--json"], b"mqtt://a:sesame@b\n", True)
    assert not any("sesame" in " ".join(words) for words, _, _ in board.asked)


def test_a_clock_that_is_far_off() -> None:
    for ahead_s, says in ((86400, "86400 s ahead of"), (-3600, "3600 s behind")):
        finding = found_at(Board(json.dumps(to_json(FINE)), ahead_s=ahead_s))["board/clock"]
        assert finding.state == "warn"
        assert says in finding.text


def test_a_board_without_edgewright() -> None:
    finding = found_at(Board("", program=""))["board/edgewright"]
    assert (finding.state, "edgewright deploy" in finding.remedy) == ("missing", True)


def test_an_edgewright_of_another_place_and_version() -> None:
    other = (Finding("packages", "edgewright", "ok", "0.0.1"),)
    found = found_at(Board(json.dumps(to_json(other)), program="/usr/bin/edgewright", there="0.0.1"))
    assert found["board/edgewright"].state == "warn"
    assert "0.0.1 there" in found["board/edgewright"].text


@pytest.mark.parametrize("program", ["/home/pi/bin/edgewright", "/tmp/edgewright", PROGRAM])
def test_only_what_a_deployment_installed_runs_as_the_superuser(program: str) -> None:
    board = Board(json.dumps(to_json(FINE)), program=program)
    found = found_at(board)
    as_root = {argv[0] for argv, _, root in board.asked if root}
    assert as_root == ({PROGRAM} if program == PROGRAM else set())
    assert ("board/rights" in found) is (program != PROGRAM)


def test_a_program_without_a_place_is_not_run() -> None:
    board = Board(json.dumps(to_json(FINE)), program="alias edgewright='rm -r /'")
    assert found_at(board)["board/edgewright"].state == "missing"
    assert all("alias" not in argv[0] for argv, _, _ in board.asked)


def test_a_board_without_sudo() -> None:
    board = Board(json.dumps(to_json(FINE)), root=False)
    assert found_at(board)["board/rights"].state == "warn"
    assert board.asked[-1][2] is False


@pytest.mark.parametrize("said", ["", "nonsense", "[1]", '{"findings": [{"state": "fine"}]}', "[" * 100000])
def test_a_doctor_that_says_nothing_useful(said: str) -> None:
    finding = found_at(Board(said))["board/edgewright"]
    assert (finding.state, "install it again" in finding.remedy) == ("bad", True)
    # Its last words only where they may tell why there is no JSON.
    assert ("libgomp" in finding.text) is (said[:1] not in "[{" or said[:2] == "[[" or not said)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("usage: edgewright [-h] ...", "it printed no JSON"),
        (json.dumps({"checks": []}), "no list of findings"),
        (json.dumps({"findings": [{"group": "a", "name": "b", "level": "ok"}]}), "lacks a text"),
        (json.dumps(to_json([Finding("a", "b", "fatal", "c", "d")])), "the state 'fatal'"),
    ],
)
def test_a_doctor_of_another_release_is_told_apart(said: str, says: str) -> None:
    found = found_at(Board(said, there="0.0.9"))
    finding = found["board/edgewright"]
    assert (finding.state, says in finding.text) == ("bad", True), finding
    assert f"edgewright 0.0.9 is there, {version('edgewright')} is here" in finding.text
    assert "upgrade" in finding.remedy
    assert "board/rights" not in found


def test_a_doctor_that_hangs_or_prints_without_end_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board("")

    def endless() -> Done:
        raise DeployError("it wrote more than 8 MiB")

    monkeypatch.setattr(board, "doctor", endless)
    finding = found_at(board)["board/edgewright"]
    assert (finding.state, "more than 8 MiB" in finding.text, PROGRAM in finding.remedy) == ("bad", True, True)


def test_a_program_that_does_not_start_is_not_a_matter_of_rights() -> None:
    found = found_at(Board("", there=""))
    assert "libgomp" in found["board/edgewright"].text
    assert "board/rights" not in found


@pytest.mark.parametrize("told", ["", "nan", "inf", "what?"])
def test_a_board_that_does_not_tell_its_time(told: str) -> None:
    finding = remote._clock(told, 0.0, 1.0)
    assert (finding.state, bool(finding.remedy)) == ("unknown", True)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(["--remote", "pi@board", *words])


def test_what_is_sent_to_the_board() -> None:
    args = arguments("--config", "/etc/edgewright/device.toml", "--ca", "/etc/ca.pem", "--device", "gate-1")
    words, secrets = words_for_board(args, ("mqtts://a:b@c", ("rtsp://d:e@f", "0")))
    sent = command.add_arguments, argparse.ArgumentParser()
    sent[0](sent[1])
    there = sent[1].parse_args(words[1:])
    assert (words[0], there.json, there.remote) == ("doctor", True, None)
    assert (str(there.config), there.ca, there.device) == ("/etc/edgewright/device.toml", "/etc/ca.pem", "gate-1")
    assert (there.broker, there.camera, secrets) == ("-", ["-", "-"], b"mqtts://a:b@c\nrtsp://d:e@f\n0\n")


def test_a_board_that_is_not_there() -> None:
    words = [sys.executable, "-m", "edgewright.cli.main", "doctor", "--remote", "nobody@127.0.0.1", "--port", "9"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "127.0.0.1" in done.stderr


def test_an_unreachable_board_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board("")

    def gone(*_: object, **__: object) -> Done:
        raise HostUnreachable("the link broke")

    monkeypatch.setattr(board, "run", gone)
    with pytest.raises(HostUnreachable):
        found_at(board)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBoard]:
    """A board with a real SSH server, and this environment's program where a deployment puts it."""
    # Without the checks that import what no board has, and take long.
    lines = [
        f"#!{sys.executable}",
        "import sys",
        "from edgewright.cli.doctor import command",
        "left_out = {'onnxruntime', 'litert', 'compressor', 'begin_engines', 'begin_compressor'}",
        "command.CHECKS = [one for one in command.CHECKS if one.__name__ not in left_out]",
        "command.BEGINNINGS = [one for one in command.BEGINNINGS if one.__name__ not in left_out]",
        "from edgewright.cli.main import main",
        "sys.exit(main())",
    ]
    make = 'mkdir -p "$(dirname "$1")"; cat > "$1" <<E\n$2\nE\nchmod 755 "$1"'
    with SshBoard(tmp_path_factory.mktemp("board")) as board:
        board.inside(["sh", "-c", make, "sh", PROGRAM, "\n".join(lines)])
        yield board


def test_over_a_real_connection(real: SshBoard, tmp_path: Path) -> None:
    """The board's doctor talks to a broker whose password no process list there shows."""
    words = [sys.executable, "-m", "edgewright.cli.main", "doctor", "--json", "--remote", *real.words()]
    with Mosquitto(tmp_path / "broker") as mosquitto:
        url = mosquitto.url.replace("//", "//cam:sesame@")
        done = subprocess.run(
            [*words, "--broker", "-", "--device", "gate-1"],
            input=f"{url}\n",
            capture_output=True,
            text=True,
            check=False,
        )
    said = json.loads(done.stdout)
    found = {f"{one['group']}/{one['name']}": one for one in said["findings"]}
    assert (done.returncode, said["ok"], said["host"]) == (0, True, real.target())
    assert found["board/clock"]["state"] == "ok"
    assert found["board/edgewright"]["text"].endswith("as here")
    assert "board/rights" not in found
    assert "edge/gate-1/ev" in found["broker/publish events"]["text"]
    assert found["disk/fsync"]["state"] == "ok"
    assert "sesame" not in done.stdout + done.stderr


def test_a_user_without_sudo_over_a_real_connection(real: SshBoard) -> None:
    host = real.host("guest")
    try:
        found = {finding.name: finding for finding in board_findings(host, ["doctor", "--help"], b"")}
    finally:
        host.close()
    assert found["rights"].state == "warn"
    assert found["edgewright"].state == "bad"  # it printed its help, which is no list of findings
