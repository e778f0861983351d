"""Processes of their own that find something out, and their answers: none can end the doctor, or make it wait for ever."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Children", "answer_of"]

# OpenCV and FFmpeg print every lost packet otherwise.
_QUIET = {"OPENCV_LOG_LEVEL": "ERROR", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
_REAPED_S = 1.0
_LONGEST_SAID = 200


@dataclass
class _Child:
    """A probe that was started; ``lock`` is held by whoever waits for its answer."""

    process: subprocess.Popen[str]
    until: float
    patience_s: float
    answer: dict[str, Any] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Children(AbstractContextManager["Children"]):
    """Starts probes (``edgewright.cli.doctor.child``) and waits for each no longer than it was given.

    Their requests go through a pipe: a password in one is in no list of processes. Several threads may ask.
    """

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._cwd = str(Path.cwd())
        self._folder = ""
        self._started: dict[str, _Child] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Children:  # noqa: PYI034 - Self needs Python 3.11
        """Makes an empty folder to run in: a file called torch.py where the user happens to be must not be imported."""
        with suppress(OSError):  # a full disk is a finding
            self._folder = tempfile.mkdtemp(prefix="edgewright-doctor-")
        return self

    def start(self, key: str, probe: str, request: dict[str, Any] | None = None, patience_s: float = 60.0) -> None:
        """Starts one.

        Args:
            key: What ``answer`` calls it.
            probe: One of ``child.PROBES``.
            request: What it is told.
            patience_s: When it has not answered by then, it is ended and its answer is ``died``.
        """
        with self._lock:
            if key in self._started:
                return
            process = subprocess.Popen(
                [sys.executable, "-m", "edgewright.cli.doctor.child", probe],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                cwd=self._folder or "/",
                env={**os.environ, **_QUIET},
                start_new_session=True,
            )
            self._started[key] = _Child(process, time.monotonic() + patience_s, patience_s)
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # it died at once: its answer will say so
                process.stdin.write(json.dumps({"cwd": self._cwd, **(request or {})}))
                process.stdin.close()
            process.stdin = None

    def started(self, key: str) -> bool:
        """Whether there will be an answer."""
        return key in self._started

    def answer(self, key: str) -> dict[str, Any]:
        """What the probe found, or ``died`` with the reason."""
        child = self._started[key]
        with child.lock:
            if child.answer is None:
                child.answer = answer_of(child.process, child.until, child.patience_s)
            return child.answer

    def waiting(self) -> tuple[str, ...]:
        """Keys of the probes that have not answered yet."""
        return tuple(key for key, child in list(self._started.items()) if child.answer is None)

    def end(self) -> None:
        """Ends what still runs: whoever waits for an answer gets one."""
        with self._lock:
            for child in self._started.values():
                if child.answer is None:
                    _kill(child.process)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends what still runs."""
        self.end()
        for child in self._started.values():
            with child.lock:
                if child.answer is None:
                    _ended(child.process)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def answer_of(process: subprocess.Popen[str], until: float, patience_s: float) -> dict[str, Any]:
    """What a probe printed last, or ``died`` with the reason; it has ended afterwards, if it can be ended at all."""
    try:
        output, errors = process.communicate(timeout=max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        in_time = process.poll() is not None  # something that it started holds its output
        output, errors = _ended(process)
        if not in_time:
            doing = _last_object(output).get("doing")
            seen = f"no answer within {patience_s:.0f} s" + (f" while {doing}" if doing else "")
            stuck = process.poll() is None
            return {"died": seen + ("; it cannot be ended either: a driver holds it" if stuck else "")}
    if process.returncode < 0:
        return {"died": f"its process was ended by {_signal(-process.returncode)}"}
    found = _last_object(output)
    if process.returncode or not found:
        said = errors.strip().splitlines()
        return {"died": said[-1][:_LONGEST_SAID] if said else f"its process ended with status {process.returncode}"}
    return found


def _kill(process: subprocess.Popen[str]) -> None:
    """Kills a probe and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:  # it leads no group, or has gone
        process.kill()


def _ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Kills a probe; what it had said. One in a driver's hands is left behind: the kernel has the kill waiting for it."""
    _kill(process)
    try:
        return process.communicate(timeout=_REAPED_S)
    except subprocess.TimeoutExpired as stuck:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        return _text(stuck.output), _text(stuck.stderr)


def _text(said: str | bytes | None) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said or ""


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


def _last_object(output: str) -> dict[str, Any]:
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
