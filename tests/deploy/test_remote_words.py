"""What the shell at the other end reads, and how long a command lives there that nobody waits for any more."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_ssh import local_ssh

from edgewright.deploy import process, remote_line
from edgewright.deploy.errors import DeployError
from edgewright.deploy.local import LocalHost
from edgewright.deploy.remote_bench import BoardBench, Pace
from edgewright.deploy.remote_line import About, read_about
from edgewright.deploy.wheel_index import open_wheelhouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.deploy.ssh import SshHost

QUICK = Pace(ask_s=0.05)
WORDS = st.lists(
    st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from("'\"\\$`!*-;&|\n \t~#(")
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with pytest.MonkeyPatch.context() as patch, local_ssh(tmp_path_factory.mktemp("ssh"), patch) as host:
        host.run(["true"])
        yield host


@given(WORDS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_arrives_as_one_word(host: SshHost, words: list[str]) -> None:
    done = host.run(["sh", "-c", 'for word do printf "%s\\0" "$word"; done', "sh", *words])
    assert done.out.split("\0")[:-1] == words


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser needs no sudo")
def test_a_superuser_without_sudo_finds_the_programs_of_administrators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # as after a plain su
    for program in ("useradd", "runuser"):
        assert LocalHost().run(["sh", "-c", 'command -v "$1"', "sh", program], root=True).out.startswith("/")
    assert not LocalHost().run(["sh", "-c", "command -v useradd"]).ok
    words = shlex.split(remote_line.remote_line(["useradd", "a b"], About(superuser=True), root=True, seconds=None))
    assert words[-2:] == ["useradd", "a b"]
    assert "/usr/sbin" in " ".join(words[:-2])


def answering(place: Path, does: str) -> str:
    """A program that says it is edgewright, and does something else when it is asked for more."""
    place.write_text(f'#!/bin/sh\n[ "$1" = --version ] && {{ echo "edgewright 1"; exit; }}\n{does}\n', encoding="utf-8")
    place.chmod(0o755)
    return shlex.quote(str(place))


@given(WORDS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_words_of_a_command_arrive_there_as_they_were_given(host: SshHost, words: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="it's an $edge `wright` ") as folder:
        said = Path(folder) / "said"
        command = answering(Path(folder) / "the program", 'said=$1; shift; printf "%s\\0" "$@" > "$said"')
        with BoardBench(host, command, pace=QUICK) as bench:
            assert bench.run([str(said), *words], 30.0)
        assert said.read_bytes().decode().split("\0")[:-1] == words


@pytest.mark.parametrize(
    ("said", "about"),
    [
        ("0\nkill\n", About(superuser=True, timeout=("timeout", "-k", "5"))),
        ("1000\nplain\n", About(superuser=False, timeout=("timeout",))),
        ("1000\noption\n", About(superuser=False, timeout=("timeout", "-t"))),
        ("0\n", About(superuser=True)),
        ("\x1b]0;0 rm -rf\n", About()),
    ],
)
def test_what_a_board_says_of_its_timeout_is_taken_word_by_word(said: str, about: About) -> None:
    assert read_about(said) == about


def test_the_superuser_is_asked_for_outside_of_the_bound() -> None:
    about = About(superuser=False, timeout=("timeout", "-k", "5"))
    line = remote_line.remote_line(["cat", "a b"], about, root=True, seconds=20.0)
    assert line == "sudo -n -- timeout -k 5 30 cat 'a b'"
    assert remote_line.remote_line(["cat"], about, root=False, seconds=None) == "cat"


def test_a_command_that_nobody_waits_for_ends_there(
    host: SshHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_line, "_GRACE_S", 0.0)
    with pytest.raises(DeployError, match="did not end within 0.3 s"):
        host.run(["sh", "-c", 'echo $$ > "$1"; exec sleep 60', "sh", str(tmp_path / "pid")], timeout_s=0.3)
    there = Path(f"/proc/{int((tmp_path / 'pid').read_text())}")
    until = time.monotonic() + 20
    while there.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not there.exists()


def test_a_timing_ends_on_the_board_when_the_workstation_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgewright.deploy.remote_bench._AFTERWARDS_S", 0)
    command = answering(tmp_path / "edgewright", 'echo $$ > "$1"; exec sleep 60')
    bench = BoardBench(LocalHost(), command, pace=QUICK)
    bench.__enter__()
    with pytest.raises(DeployError, match="did not end within"):
        bench.run([str(tmp_path / "pid")], 0.2)
    # Nothing more comes from here: no `__exit__`.
    there = Path(f"/proc/{int((tmp_path / 'pid').read_text())}")
    until = time.monotonic() + 20
    while there.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not there.exists()
    LocalHost().run(["rm", "-rf", str(bench.place("."))])


def test_a_child_that_never_reads_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="sleep on this machine read nothing of what it was sent for 0.3 s"):
        LocalHost().run(["sleep", "60"], stdin=bytes(1 << 20), timeout_s=0.3)
    monkeypatch.setattr(process, "_LONGEST_PAUSE_S", 0.3)
    fifo, file = tmp_path / "fifo", tmp_path / "file"
    file.write_bytes(bytes(1 << 20))
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDWR)  # opened, and never read
    monkeypatch.setattr("edgewright.deploy.local.part_of", lambda *_: PurePosixPath(fifo))
    try:
        with pytest.raises(DeployError, match="read nothing of what it was sent"):
            LocalHost().send(file, PurePosixPath(tmp_path / "there"))
    finally:
        os.close(held)


def test_a_slow_reader_is_waited_for() -> None:
    script = "for i in 1 2 3; do sleep 0.2; head -c 200000 > /dev/null; done; cat | wc -c"
    done = LocalHost().run(["sh", "-c", script], stdin=bytes(1 << 20), timeout_s=5.0)
    assert done.out.strip() == str((1 << 20) - 600_000)


@pytest.mark.parametrize("kind", ["folder", "link to a folder"])
def test_a_folder_at_the_place_of_a_file_does_not_swallow_it(tmp_path: Path, kind: str) -> None:
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "folder").mkdir()
    place = tmp_path / "folder"
    if kind != "folder":
        place = tmp_path / "link"
        place.symlink_to("folder")
    with pytest.raises(DeployError, match="a folder lies there"):
        LocalHost().send(tmp_path / "new", PurePosixPath(place))
    assert not list((tmp_path / "folder").iterdir())
    assert not list(tmp_path.glob(".*.part"))


def test_a_result_that_is_too_large_is_not_read(host: SshHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewright.deploy.remote_bench._LARGEST_BYTES", {".json": 1 << 20})
    command = answering(tmp_path / "edgewright", 'head -c 3000000 /dev/zero > "$1"')
    for board in (host, LocalHost()):
        with BoardBench(board, command, pace=QUICK) as bench:
            bench.run([str(bench.place("result.json"))], 30.0)
            with pytest.raises(DeployError, match=r"more than 1\b"):
                bench.fetch("result.json", tmp_path / "result.json")
            bench.fetch("result.json", tmp_path / "result.npz")
    assert not (tmp_path / "result.json").exists()


def test_the_superuser_of_a_board_runs_no_edgewright_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "edgewright"
    program.write_text('#!/bin/sh\necho "edgewright 1"\n')
    program.chmod(0o755)
    user = tmp_path / "id"
    user.write_text("#!/bin/sh\necho 0\n")
    user.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(DeployError, match=r"no edgewright that runs as /opt/edgewright/current/bin/edgewright \("):
        BoardBench(LocalHost()).__enter__()
    user.write_text("#!/bin/sh\necho 1000\n")
    with BoardBench(LocalHost()):
        pass


def test_a_pipe_in_the_place_of_a_wheelhouse_s_list_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "wheelhouse.json")
    with pytest.raises(DeployError, match="it is no regular file"):
        open_wheelhouse(tmp_path)
