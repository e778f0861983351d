"""Runs a program with bounds: on its time, and on how much of its output is kept.

What runs may sit on a board that nobody trusts, so an endless answer must not fill this machine's memory, and a dead
link must not hang it. Every program gets a session of its own: Ctrl-C at the terminal reaches edgewright alone, which
then ends what it started and undoes what is half done.
"""

from __future__ import annotations

import contextlib
import io
import os
import selectors
import signal
import subprocess
import threading
from typing import IO, TYPE_CHECKING

from edgewright.deploy.errors import DeployError
from edgewright.deploy.host import LARGEST_FILE, Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

__all__ = ["LARGEST_OUTPUT", "NotStartedError", "end", "feed", "fetch_bytes", "run_bounded", "start"]

LARGEST_OUTPUT = 8 << 20
_CHUNK = 1 << 16
_AFTERWARDS_S = 5.0
# An SD card that is full of unwritten pages takes nothing for many seconds; more than these is no card at work.
_LONGEST_PAUSE_S = 120.0


class NotStartedError(DeployError):
    """There is no such program here, or it may not be run."""


class _Collector:
    """Reads one stream to its end on a thread of its own and keeps its first bytes."""

    def __init__(self, stream: IO[bytes], limit: int, on_overflow: Callable[[], None]) -> None:
        self.kept = bytearray()
        self.overflown = threading.Event()
        self._stream = stream
        self._limit = limit
        self._on_overflow = on_overflow
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while chunk := os.read(self._stream.fileno(), _CHUNK):
                room = self._limit - len(self.kept)
                self.kept += chunk[:room]
                if len(chunk) > room and not self.overflown.is_set():
                    self.overflown.set()
                    self._on_overflow()
        except (OSError, ValueError):  # closed under it, by whoever waited no longer
            return

    def text(self, wait_s: float) -> str:
        # A child that outlives the program may hold the stream open; what it says later is nobody's.
        self._thread.join(wait_s)
        return bytes(self.kept).decode("utf-8", errors="replace")


def start(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own, its three streams at our end.

    Raises:
        NotStartedError: It cannot be started.
    """
    try:
        return subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        msg = f"cannot start {argv[0]}: {reason}; install it, or mend PATH"
        raise NotStartedError(msg) from error


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a program and all it started, however it feels about that."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        # Gone already, or another user's by way of sudo: that one notices when its streams close.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        try:
            process.wait(_AFTERWARDS_S)
        except subprocess.TimeoutExpired:
            continue
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):  # what was still buffered for a reader that is gone
                stream.close()


def run_bounded(argv: Sequence[str], stdin: bytes | None, timeout_s: float, what: str) -> Done:
    """Runs a program to its end.

    Args:
        argv: The program and its arguments.
        stdin: What it reads; nothing when None.
        timeout_s: Longest wait for its end.
        what: How messages call it.

    Raises:
        DeployError: It cannot be started, took longer, or wrote more than ``LARGEST_OUTPUT``.
    """
    return feed(argv, () if stdin is None else (stdin,), timeout_s, what)


def feed(argv: Sequence[str], chunks: Iterable[bytes], timeout_s: float, what: str) -> Done:
    """Runs a program that reads ``chunks``; one that stops reading early still gets to say why.

    Args:
        argv: The program and its arguments.
        chunks: What it reads.
        timeout_s: Longest wait for its end, from the last chunk on; also, up to two minutes, for it to take any.
        what: How messages call it.

    Raises:
        DeployError: It cannot be started, took longer, or wrote more than ``LARGEST_OUTPUT``.
    """
    process = start(argv)
    try:
        stdin, stdout, stderr = (
            stream for stream in (process.stdin, process.stdout, process.stderr) if stream is not None
        )
        out, err = _Collector(stdout, LARGEST_OUTPUT, process.kill), _Collector(stderr, LARGEST_OUTPUT, process.kill)
        _write(stdin, chunks, min(timeout_s, _LONGEST_PAUSE_S), what)
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            msg = f"{what} did not end within {timeout_s:g} s; see what it waits for, then run this again"
            raise DeployError(msg) from error
        done = Done(code, out.text(_AFTERWARDS_S), err.text(_AFTERWARDS_S))
        if out.overflown.is_set() or err.overflown.is_set():
            msg = f"{what} wrote more than {LARGEST_OUTPUT >> 20} MiB; no answer of ours is that long"
            raise DeployError(msg)
        return done
    finally:
        end(process)


def _write(stream: IO[bytes], chunks: Iterable[bytes], pause_s: float, what: str) -> None:
    """Feeds a program, and gives it up when it neither reads nor ends for ``pause_s``."""
    number = stream.fileno()
    os.set_blocking(number, False)
    with selectors.DefaultSelector() as selector, contextlib.suppress(BrokenPipeError):
        # It may end before it has read all: the pipe breaks then, and its status and its words tell why.
        selector.register(number, selectors.EVENT_WRITE)
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                if not selector.select(pause_s):
                    msg = f"{what} read nothing of what it was sent for {pause_s:g} s; see what it waits for, then run this again"
                    raise DeployError(msg)
                with contextlib.suppress(BlockingIOError):  # room for less than what a pipe takes in one piece
                    rest = rest[os.write(number, rest) :]
    stream.close()


def fetch_bytes(argv: Sequence[str], target: Path, timeout_s: float, what: str, *, largest: int = LARGEST_FILE) -> Done:
    """Runs a program that writes a file's content, and puts that into ``target``.

    Args:
        argv: The program and its arguments.
        target: Where the content goes; half of it when the program fails.
        timeout_s: Longest wait for its end.
        what: How messages call it.
        largest: Bytes that may come.

    Raises:
        DeployError: It cannot be started, took longer, or wrote more than ``largest``.
    """
    process = start(argv)
    try:
        stdin, stdout, stderr = (
            stream for stream in (process.stdin, process.stdout, process.stderr) if stream is not None
        )
        stdin.close()
        err = _Collector(stderr, LARGEST_OUTPUT, process.kill)
        watch = threading.Timer(timeout_s, process.kill)
        watch.start()
        try:
            total = 0
            with target.open("wb") as file:
                while chunk := stdout.read1(_CHUNK) if isinstance(stdout, io.BufferedReader) else stdout.read(_CHUNK):
                    total += len(chunk)
                    if total > largest:
                        msg = f"{what}: more than {largest >> 20} MiB came; no file of ours is that large"
                        raise DeployError(msg)
                    file.write(chunk)
            return Done(process.wait(timeout_s), "", err.text(_AFTERWARDS_S))
        except subprocess.TimeoutExpired as error:
            msg = f"{what} did not end within {timeout_s:g} s; see what it waits for, then run this again"
            raise DeployError(msg) from error
        finally:
            watch.cancel()
    finally:
        end(process)
