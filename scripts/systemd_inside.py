"""Looks and misbehaves from inside the service; scripts/systemd puts it into the container as ``sitecustomize``.

Files in the folder ``proof`` of the service's state tell it what to do: ``hang`` makes the model hang for as long as
it is there, ``probe`` makes it try what the sandbox must refuse and write the answers to ``probe.json``, ``eat`` makes
it take memory. With EDGEWRIGHT_PROOF_FEED it does what a careless service does: it feeds the watchdog from a thread.

Run as a program it prints the same answers as ``probe``, for comparison outside the sandbox.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

PLACE = Path("/var/lib/edgewright/proof")
OUTSIDE = Path("/opt/proof")
_NEW_USER_NAMESPACE = 0x10000000


def answers() -> dict[str, str]:
    """What this process may do: name to ``yes`` or the error."""
    return {name: _tried(action) for name, action in _ACTIONS.items()}


def _tried(action: Any) -> str:
    try:
        action()
    except OSError as error:
        return f"no: {os.strerror(error.errno or 0)}"
    return "yes"


def _new_namespace() -> None:
    # In a child: a namespace would change the process that asks.
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(0 if libc.unshare(_NEW_USER_NAMESPACE) == 0 else ctypes.get_errno())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, "unshare")


def _sees_others() -> None:
    Path("/proc/1/status").stat()


def _packet_socket() -> None:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    except PermissionError:  # the family exists, the right is another matter
        return


_ACTIONS: dict[str, Any] = {
    "write /etc": lambda: (OUTSIDE.parent.parent / "etc/proof-writable").write_text("x"),
    "write /opt": lambda: (OUTSIDE / "writable").write_text("x"),
    "read /root": lambda: Path("/root/proof-readable").read_text(),
    "open another device": lambda: os.close(os.open(OUTSIDE / "device", os.O_RDWR)),
    "make code at run time": lambda: mmap.mmap(
        -1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    ).close(),
    "open a namespace": _new_namespace,
    "see other users' processes": _sees_others,
    "ask for raw packets": _packet_socket,
    "see the board's /tmp": lambda: Path("/tmp/proof-shared").read_text(),
    "write its own folder": lambda: (Path("/var/lib/edgewright") / f"proof-{os.getpid()}").write_text("x"),
}


def _watch() -> None:
    patched = False
    while True:
        time.sleep(0.05)
        module = sys.modules.get("edgewright.runtime.session")
        if not patched and hasattr(module, "Session"):
            _let_hang(module.Session)  # type: ignore[union-attr]
            patched = True
        if (PLACE / "probe").exists():
            (PLACE / "probe").unlink()
            (PLACE / "probe.part").write_text(json.dumps(answers()))
            (PLACE / "probe.part").rename(PLACE / "probe.json")
        if (PLACE / "eat").exists():
            (PLACE / "eat").unlink()
            eaten = [bytearray(b"x" * (64 << 20)) for _ in range(64)]
            del eaten


def _let_hang(session: Any) -> None:
    before = session.infer

    def infer(*args: Any, **named: Any) -> Any:
        while (PLACE / "hang").exists():
            time.sleep(0.05)
        return before(*args, **named)

    session.infer = infer


def _feed() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        while True:
            manager.sendto(b"WATCHDOG=1", os.environ["NOTIFY_SOCKET"])
            time.sleep(1.0)


if __name__ == "__main__":
    print(json.dumps(answers()))
elif os.environ.get("NOTIFY_SOCKET"):
    threading.Thread(target=_watch, daemon=True).start()
    if os.environ.get("EDGEWRIGHT_PROOF_FEED"):
        threading.Thread(target=_feed, daemon=True).start()
