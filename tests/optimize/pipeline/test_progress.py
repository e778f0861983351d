"""How far the work is: plain lines, bars, or nothing."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import sys
import time
from typing import TYPE_CHECKING

from edgewright.optimize.progress import PlainProgress, RichProgress, SilentProgress, open_progress

if TYPE_CHECKING:
    import pytest


def test_plain_lines() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream)
    with progress.stage("count", 3) as advance:
        advance(3)
    with progress.stage("rest"):
        progress.note("mind [this]")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[1] count (3) ..."
    assert lines[1].startswith("[1] count: done in ")
    assert lines[2:4] == ["[2] rest ...", "    note: mind [this]"]


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with open_progress(silent=True) as progress, progress.stage("count", 3) as advance:
        advance(1)
        progress.note("nothing")
    assert isinstance(progress, SilentProgress)
    assert capsys.readouterr() == ("", "")


def test_plain_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with open_progress() as progress, progress.stage("count"):
        pass
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("[1] count")


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with open_progress() as progress, progress.stage("count [sheep]", 3) as advance:
            advance(2)
            progress.note("mind [this]")
        assert isinstance(progress, RichProgress)
    said = _all_of(ours)
    assert "count [sheep]" in said
    assert "mind [this]" in said
    assert "2/2" in said


def _all_of(descriptor: int) -> str:
    """What the closed other end of a terminal has written."""
    said = b""
    try:
        while chunk := os.read(descriptor, 1 << 16):
            said += chunk
    except OSError:  # the way Linux says that the other end is gone
        pass
    os.close(descriptor)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode())


def test_stages_within_stages_are_numbered_below_them() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream)
    with progress.stage("outer"):
        with progress.stage("first", 2):
            pass
        with progress.stage("second"):
            pass
    with progress.stage("next"):
        pass
    began = [line for line in stream.getvalue().splitlines() if line.endswith("...")]
    assert began == ["[1] outer ...", "  [1.1] first (2) ...", "  [1.2] second ...", "[2] next ..."]


def test_a_stage_that_fails_leaves_the_numbers_right() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream)
    with contextlib.suppress(ValueError), progress.stage("outer"), progress.stage("inner"):
        raise ValueError
    with progress.stage("next"):
        pass
    assert "[2] next ..." in stream.getvalue().splitlines()


def test_a_long_stage_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    with PlainProgress(stream).stage("walk") as advance:
        advance(1, 4)
        advance(2, 4)
        advance(4, 4)
    assert stream.getvalue().splitlines()[1:3] == [
        "[1] walk: 1 of 4, about 60 s left",
        "[1] walk: 2 of 4, about 40 s left",
    ]


def test_bars_within_bars_are_indented(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with open_progress() as progress, progress.stage("outer"), progress.stage("inner") as advance:
            advance(3, 7)
    said = _all_of(ours)
    assert "   inner" in said
    assert "7/7" in said or "3/3" in said
