"""All checks of the doctor at once: their order, their end, and what a terminal is told meanwhile."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from told import look

from edgewright.cli.doctor import asking
from edgewright.cli.doctor.asking import Children
from edgewright.cli.doctor.findings import Finding
from edgewright.cli.doctor.together import look_together, looking_at
from edgewright.cli.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgewright.cli.doctor.look import Look

SLEEPER = 'import sys, time; print(\'{"doing": "sleeping"}\', flush=True); time.sleep(60)'


def test_checks_wait_side_by_side_and_keep_their_order() -> None:
    """Each waits for all others to have begun: one after another they would never end."""
    barrier = threading.Barrier(4, timeout=20)

    def check(number: int) -> Callable[[Look], Iterator[Finding]]:
        def found(_look: Look) -> Iterator[Finding]:
            barrier.wait()
            time.sleep(0.01 * (4 - number))  # the first is the last to answer
            yield Finding("g", str(number), "ok", "")
            yield Finding("g", f"{number} again", "ok", "")

        return found

    with Children() as children:
        found = look_together([check(number) for number in range(4)], look(), children)
    assert [one.name for one in found] == [f"{n}{more}" for n in range(4) for more in ("", " again")]


def sleeper(children: Children, key: str) -> subprocess.Popen[str]:
    """A probe that would take a minute."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children._started[key] = asking._Child(process, time.monotonic() + 60, 60)
    return process


@pytest.mark.parametrize("reason", [RuntimeError, KeyboardInterrupt])
def test_a_check_that_fails_or_a_user_who_gives_up_ends_the_probes(reason: type[BaseException]) -> None:
    began = time.monotonic()
    with Children() as children:
        process = sleeper(children, "slow")

        def waits(_look: Look) -> Iterator[Finding]:
            children.answer("slow")
            yield Finding("g", "n", "ok", "")

        def fails(_look: Look) -> Iterator[Finding]:
            raise reason
            yield Finding("g", "n", "ok", "")

        with pytest.raises(reason):
            look_together([fails, waits], look(), children)
    assert process.poll() is not None
    assert time.monotonic() - began < 30


def test_leaving_ends_probes_that_nobody_asked() -> None:
    with Children() as children:
        process = sleeper(children, "slow")
        assert children.waiting() == ("slow",)
    assert process.poll() is not None


def test_two_threads_may_ask_for_one_answer() -> None:
    with Children() as children:
        children.start("k", "cameras", {"folder": "/nowhere"})
        children.start("k", "cameras", {"folder": "/elsewhere"})  # there is one already
        answers: list[object] = []
        threads = [threading.Thread(target=lambda: answers.append(children.answer("k"))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [{"found": []}] * 3
        assert children.waiting() == ()


def test_a_probe_that_cannot_be_ended_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one in the hands of a driver is: the kill has no effect."""
    monkeypatch.setattr(asking, "_kill", lambda _process: None)
    monkeypatch.setattr(asking, "_REAPED_S", 0.2)
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            said = asking.answer_of(process, time.monotonic() + 1.5, 1.5)["died"]
        finally:
            process.kill()
    assert said == "no answer within 2 s while sleeping; it cannot be ended either: a driver holds it"


def test_an_answer_counts_though_something_holds_the_output() -> None:
    code = "import subprocess; print('{\"a\": 1}', flush=True); subprocess.Popen(['sleep', '60'])"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert asking.answer_of(process, time.monotonic() + 1, 1) == {"a": 1}


def test_a_disk_without_room_for_an_empty_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with Children() as children:
        children.start("k", "cameras", {"folder": "/nowhere"})
        assert children.answer("k") == {"found": []}


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_what_is_waited_for() -> None:
    terminal = Terminal()
    told = threading.Event()

    def names() -> tuple[str, ...]:
        told.set()
        return tuple(f"probe {number}" for number in range(6))

    with Waiting(looking_at(names), terminal, silent_s=0.0):
        assert told.wait(10)
    text = terminal.getvalue()
    assert "\rlooking: probe 0, probe 1, probe 2, probe 3 and 2 more (0 s)\x1b[K" in text
    assert text.endswith("\r\x1b[K")  # nothing stays


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_nothing_is_told_to_a_file_or_when_it_was_quick(stream: io.StringIO) -> None:
    with Waiting(lambda _seconds: "a", stream, silent_s=0.0 if not stream.isatty() else 20.0):
        pass
    assert stream.getvalue() == ""


def test_a_probe_runs_where_no_file_can_be_taken_for_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Children() as children:
        assert list(Path(children._folder).iterdir()) == []
        assert not Path(children._folder).samefile(tmp_path)
