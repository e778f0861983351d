"""A training says how far it is, with its loss and its metric."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import time

import pytest
from training import SETTINGS, CrossEntropy, Pictures, tiny_net, top1

from edgewright.optimize.progress import PlainProgress, SilentProgress, open_progress
from edgewright.optimize.training.trainer import Trainer


def test_the_end_of_a_training_in_plain_lines() -> None:
    stream, pictures = io.StringIO(), Pictures(64)
    Trainer(SETTINGS, progress=PlainProgress(stream)).fit(
        tiny_net(), pictures, CrossEntropy(), title="distil", evaluate=top1(pictures)
    )
    first, last = stream.getvalue().splitlines()
    assert first == "[1] distil (8) ..."
    assert re.fullmatch(r"\[1\] distil: done in [\d.]+ s; loss \d\.\d+, metric 0\.\d+", last)


def test_figures_stand_beside_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    with PlainProgress(stream).stage("walk") as advance:
        advance(1, 4, "loss 0.5")
        advance(2, 4)
    assert stream.getvalue().splitlines()[1:] == [
        "[1] walk: 1 of 4, about 60 s left; loss 0.5",
        "[1] walk: 2 of 4, about 40 s left; loss 0.5",
        "[1] walk: done in 60.0 s; loss 0.5",
    ]


def test_what_was_done_before_does_not_count_for_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.1, 100.1, 100.2])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with PlainProgress(stream).stage("resume", 1000) as advance:
        advance(800)
        advance(900)
    assert "[1] resume: 900 of 1000, about 100 s left" in stream.getvalue()


def test_figures_beside_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with open_progress() as progress, progress.stage("distil", 3) as advance:
            advance(2, 3, "loss 0.25, metric [0.9]\x1b[31m")
    said = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            said += chunk
    except OSError:  # the way Linux says that the other end is gone
        pass
    os.close(ours)
    assert "loss 0.25, metric [0.9]\\x1b[31m" in said.decode()


def test_silence_takes_figures_too() -> None:
    with SilentProgress().stage("walk") as advance:
        advance(1, 2, "loss 0.5")
