"""What systemd's watchdog does, for containers: ``watch.py run -- COMMAND...`` and ``watch.py check``.

``run`` starts the command and listens where it would tell systemd how it fares (the sd_notify protocol). Once it said
that it is ready, it must go on saying that frames flow; when it falls silent for ``WATCHDOG_S`` seconds it is ended, and
so is the container, whose restart policy starts it anew. ``check`` is the health check: ready, and heard lately.
A command that never says that it is ready, such as ``edgewright verify``, just runs to its end.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

WATCHDOG_S = float(os.environ.get("EDGEWRIGHT_WATCHDOG_S", "60"))
FOLDER = Path(os.environ.get("EDGEWRIGHT_HEALTH", "/tmp/edgewright-health"))  # noqa: S108 - private to the container
HUNG = 70
_GRACE_S = 10.0


def main(argv: list[str]) -> int:
    """Does what the first word says."""
    if argv == ["check"]:
        return check()
    if argv[:2] == ["run", "--"] and len(argv) > 2:
        return run(argv[2:])
    sys.exit("usage: watch.py run -- COMMAND...  or  watch.py check")


def check() -> int:
    """0 while the command is ready and was heard within ``WATCHDOG_S``."""
    try:
        heard = float((FOLDER / "heard").read_text(encoding="ascii"))
    except (OSError, ValueError):
        sys.stdout.write("not ready yet\n")
        return 1
    age = time.monotonic() - heard
    sys.stdout.write(f"{'frames flow, last told' if age <= WATCHDOG_S else 'nothing heard since'} {age:.0f} s ago\n")
    return 0 if age <= WATCHDOG_S else 1


def run(command: list[str]) -> int:
    """Runs the command to its end, or to its silence."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = FOLDER / "notify"
    for old in (place, FOLDER / "heard"):
        old.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(place))
        listening.settimeout(0.2)
        told = {"NOTIFY_SOCKET": str(place), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
        child = subprocess.Popen(command, env={**os.environ, **told})
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda got, _frame: child.send_signal(got))
        try:
            return _watch(child, listening)
        finally:
            (FOLDER / "heard").unlink(missing_ok=True)
            place.unlink(missing_ok=True)


def _watch(child: subprocess.Popen[bytes], listening: socket.socket) -> int:
    heard: float | None = None
    while (code := child.poll()) is None:
        try:
            lines = listening.recv(4096).decode("utf-8", errors="replace").splitlines()
        except TimeoutError:
            lines = []
        now = time.monotonic()
        if "READY=1" in lines or (heard is not None and "WATCHDOG=1" in lines):
            heard = now
            _write(heard)
        if heard is not None and "STOPPING=1" in lines:
            heard = None  # it is ending, and may take its time
        if heard is not None and now - heard > WATCHDOG_S:
            sys.stderr.write(f"nothing heard of {child.args} for {WATCHDOG_S:g} s: it is ended\n")
            child.send_signal(signal.SIGABRT)
            try:
                child.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            return HUNG
    return code if code >= 0 else 128 - code


def _write(heard: float) -> None:
    part = FOLDER / "heard.part"
    part.write_text(f"{heard:.3f}", encoding="ascii")
    part.replace(FOLDER / "heard")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
