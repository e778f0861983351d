"""The parent's handle on one timing process: start, take turns, finish or kill. Never waits without a bound."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.runtime.backends.choice import NO_WISHES, options_as_json
from edgewright.runtime.errors import RuntimeFailure

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from edgewright.runtime.backends.choice import EngineOptions

__all__ = ["BenchError", "BenchProcess", "Started"]

_LAST_WORDS = 400
_CHUNK = 1 << 16


class BenchError(RuntimeFailure):
    """A variant cannot be timed: it is refused, or its process died or hung."""


@dataclass(frozen=True)
class Started:
    """What a process says once it is ready.

    Attributes:
        pinned: Numbers of the processors it keeps to, empty where the system cannot pin.
        first_result_ms: From opening the bundle to the first decoded answer.
        engine: Engine and version that it runs on.
    """

    pinned: tuple[int, ...]
    first_result_ms: float
    engine: str = "unknown engine"


class BenchProcess:
    """One variant in a process of its own. Use it as a context manager: leaving kills what still runs."""

    def __init__(
        self,
        bundle: Path,
        variant: str,
        threads: int,
        frames_file: Path,
        timeout_s: float,
        *,
        options: EngineOptions = NO_WISHES,
    ) -> None:
        """Starts it; it loads the model while the parent goes on.

        Args:
            bundle: Bundle directory or file.
            variant: Which variant, or ``VARIANT@BACKEND``.
            threads: For the engine.
            frames_file: ``.npz`` of pictures.
            timeout_s: Longest wait for any one answer.
            options: What the owner of the machine says of its engines.
        """
        self._variant = variant
        self._timeout_s = timeout_s
        self._pending = b""
        self._errors = tempfile.TemporaryFile(prefix="edgewright-bench-")  # noqa: SIM115 - closed by kill()
        command = [sys.executable, "-m", "edgewright.runtime.bench_worker"]
        self._process = subprocess.Popen(
            [*command, str(bundle), variant, str(threads), str(frames_file), options_as_json(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def wait_ready(self) -> Started:
        """Waits until the model is loaded and has answered once.

        Raises:
            BenchError: It cannot be.
        """
        ready = self._answer("ready")
        return Started(tuple(ready["pinned"]), float(ready["first_result_ms"]), str(ready["engine"]))

    def run(self, frames: int) -> dict[str, list[float]]:
        """Lets it run so many frames.

        Returns:
            Stage name to milliseconds, one a frame.

        Raises:
            BenchError: The process died, hung or failed.
        """
        self._send(f"run {frames}\n")
        block: dict[str, list[float]] = self._answer("block")
        return block

    def finish(self) -> int | None:
        """Ends it in good order.

        Returns:
            Its peak resident memory in bytes, None where the system does not tell.

        Raises:
            BenchError: It did not end.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        end = self._answer("end")
        self._process.wait(self._timeout_s)
        peak = end["peak_memory_bytes"]
        return None if peak is None else int(peak)

    def __enter__(self) -> BenchProcess:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """Ends it at once, if it still runs, and releases everything."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                stream.close()
        self._errors.close()

    def _send(self, line: str) -> None:
        if self._process.stdin is None:
            raise self._failure("has no input")
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError as error:
            raise self._failure("died") from error

    def _answer(self, kind: str) -> Any:
        message = json.loads(self._line())
        if "error" in message:
            msg = f"variant {self._variant!r} cannot be timed: {message['error']}"
            raise BenchError(msg)
        return message[kind]

    def _line(self) -> bytes:
        stdout = self._process.stdout
        if stdout is None:
            raise self._failure("has no output")
        deadline = time.monotonic() + self._timeout_s
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([stdout], [], [], max(left, 0.0))
            if not ready:
                raise self._failure(f"gave no answer within {self._timeout_s:g} s")
            chunk = os.read(stdout.fileno(), _CHUNK)
            if not chunk:
                raise self._failure("died")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _failure(self, what: str) -> BenchError:
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - _LAST_WORDS))
        words = self._errors.read().decode(errors="replace").strip()
        told = f"; its last words: {words}" if words else ""
        return BenchError(f"the process timing variant {self._variant!r} {what}{told}")
