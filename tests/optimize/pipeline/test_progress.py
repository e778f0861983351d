"""How far the work is: plain lines, bars, or nothing."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
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
