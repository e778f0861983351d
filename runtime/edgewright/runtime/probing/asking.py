"""Asks something that may never answer, such as a driver, in a process that is ended when it takes too long."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ask"]

_REAPED_S = 1.0
_LONGEST = 4096


def ask(arguments: Sequence[str], deadline_s: float) -> tuple[int | None, str]:
    """Runs a program and takes what it prints.

    A program that hangs inside a driver cannot even be killed; it is left behind then, and the answer is that there was
    none.

    Args:
        arguments: The program and what it is told.
        deadline_s: Seconds until it is given up.

    Returns:
        The exit status, None when there was no answer in time or no such program, and the first of its output.
    """
    try:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None, ""
    try:
        output, _ = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        _end(process)
        return None, ""
    except BaseException:
        _end(process)
        raise
    return process.returncode, output[:_LONGEST].decode("utf-8", errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills the program and what it started; does not wait for one that cannot be killed."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:  # it ended in between
        pass
    try:
        process.wait(timeout=_REAPED_S)
    except subprocess.TimeoutExpired:  # in a driver's hands; the kernel has the kill waiting for it
        pass
    if process.stdout is not None:
        process.stdout.close()
