"""Processes of their own that find something out, and their answers: none can end the doctor, or make it wait for ever."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Children", "answer_of"]

# OpenCV and FFmpeg print every lost packet otherwise.
_QUIET = {"OPENCV_LOG_LEVEL": "ERROR", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


class Children(AbstractContextManager["Children"]):
    """Starts probes (``edgewright.cli.doctor.child``) and waits for each no longer than it was given.

    Their requests go through a pipe: a password in one is in no list of processes.
    """

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._cwd = str(Path.cwd())
        self._folder = ""
        self._running: dict[str, tuple[subprocess.Popen[str], float, float]] = {}
        self._answers: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Children:  # noqa: PYI034 - Self needs Python 3.11
        """Makes an empty folder to run in: a file called torch.py where the user happens to be must not be imported."""
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
        if key in self._running:
            return
        process = subprocess.Popen(
            [sys.executable, "-m", "edgewright.cli.doctor.child", probe],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._folder,
            env={**os.environ, **_QUIET},
        )
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # it died at once: its answer will say so
                process.stdin.write(json.dumps({"cwd": self._cwd, **(request or {})}))
                process.stdin.close()
            process.stdin = None
        self._running[key] = process, time.monotonic() + patience_s, patience_s

    def started(self, key: str) -> bool:
        """Whether there will be an answer."""
        return key in self._running

    def answer(self, key: str) -> dict[str, Any]:
        """What the probe found, or ``died`` with the reason."""
        if key not in self._answers:
            self._answers[key] = answer_of(*self._running[key])
        return self._answers[key]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends what still runs."""
        for process, _, _ in self._running.values():
            process.kill()
            process.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)


def answer_of(process: subprocess.Popen[str], until: float, patience_s: float) -> dict[str, Any]:
    """What a probe printed last, or ``died`` with the reason; it has ended afterwards."""
    try:
        output, errors = process.communicate(timeout=max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        doing = _last_object(process.communicate()[0]).get("doing")
        return {"died": f"no answer within {patience_s:.0f} s" + (f" while {doing}" if doing else "")}
    if process.returncode < 0:
        return {"died": f"its process was ended by {signal.Signals(-process.returncode).name}"}
    found = _last_object(output)
    if process.returncode or not found:
        said = errors.strip().splitlines()
        return {"died": said[-1][:200] if said else f"its process ended with status {process.returncode}"}
    return found


def _last_object(output: str) -> dict[str, Any]:
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
