"""What a system in a folder is, read from its files: none of its programs is asked, for this machine may run others."""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edgewright.deploy.facts import UNKNOWN, Python
from edgewright.deploy.root_tree import RootTree
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgewright.deploy.board import Board

__all__ = ["environment_in", "facts_of_root", "runs_here"]

_MACHINES = {62: "x86_64", 183: "aarch64", 40: "armv7l", 3: "i686", 243: "riscv64"}
_PROGRAMS = ("/bin/sh", "/bin/busybox", "/usr/bin/env", "/sbin/init", "/usr/bin/python3")
_SYSTEMD = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
_FOLDERS = ("/usr/bin", "/usr/local/bin")
_NAMES = ("python3", "python3.13", "python3.12", "python3.11", "python3.10")
_NUMBERED = re.compile(r"python(3\.\d{1,2})")
_GLIBC = re.compile(rb"stable release version (2\.\d{1,2})")
_LARGEST_LIBC = 16 << 20
_LARGEST_TEXT = 1 << 16
_HEADER = 20
_ABLE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


def facts_of_root(board: Board) -> tuple[dict[str, str], tuple[Python, ...]]:
    """Reads a root.

    Args:
        board: Whose root is a folder of this machine.

    Returns:
        Values as a running board tells them, beside ``here`` (this machine's processor) and ``programs`` (``yes`` where
        there are any), and its interpreters.
    """
    tree = RootTree(board.layout.root)
    header = next(filter(None, (_elf(tree.find(place)) for place in _PROGRAMS)), None)
    values = {
        "system": "Linux",
        "here": platform.machine(),
        "os": _pretty_name(tree),
        "libc": _libc(tree, header[0] if header else platform.machine()),
        # Its first boot makes the user, by systemd-sysusers.
        "useradd": "yes",
        # An empty folder becomes what it is filled with from here.
        "machine": header[0] if header else platform.machine(),
        "bits": str(header[1] if header else 64),
    }
    if header is not None:
        values["programs"] = "yes"
    if any(tree.find(place) is not None for place in _SYSTEMD):
        values["systemd"] = "yes"
    return values, tuple(_pythons(tree, board, values["machine"]))


def runs_here(board: Board, short: str) -> str:
    """An interpreter of this machine of that version that can make environments; empty when there is none.

    Args:
        board: Asks this machine.
        short: Such as ``3.11``.
    """
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    for found in (sys.executable if short == running else None, shutil.which(f"python{short}")):
        if found and board.host.run([found, "-I", "-c", _ABLE]).out.strip() == short:
            return found
    return ""


def environment_in(board: Board, environment: PurePosixPath) -> tuple[str, str] | None:
    """The interpreter of an environment that lies in the root, as that calls it, and its version; None for none."""
    tree = RootTree(board.layout.root)
    if tree.find(str(environment / "bin")) is None:
        return None
    libraries = tree.find(str(environment / "lib"))
    folders = sorted(libraries.glob("python3.*/site-packages")) if libraries is not None and libraries.is_dir() else []
    match = _NUMBERED.fullmatch(folders[-1].parent.name) if folders else None
    return None if match is None else (f"{environment}/bin/python", match[1])


def _pythons(tree: RootTree, board: Board, machine: str) -> Iterator[Python]:
    seen = set()
    for folder in _FOLDERS:
        for name in _NAMES:
            inside = tree.inside(f"{folder}/{name}")
            match = _NUMBERED.fullmatch(PurePosixPath(inside).name) if inside is not None else None
            header = _elf(tree.find(f"{folder}/{name}"))
            if inside is None or match is None or header is None or inside in seen:
                continue
            seen.add(inside)
            runs = runs_here(board, match[1]) if machine == platform.machine() else ""
            yield Python(inside, match[1], header[1], makes_environments=bool(runs), runs=runs)


def _elf(file: Path | None) -> tuple[str, int] | None:
    """The processor that a program is for, and its word size."""
    head = b"" if file is None else _bytes(file, _HEADER)
    if len(head) < _HEADER or head[:4] != b"\x7fELF":
        return None
    number = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return _MACHINES.get(number, f"ELF {number}"), 64 if head[4] == 2 else 32


def _libc(tree: RootTree, machine: str) -> str:
    folders = (f"/lib/{machine}-linux-gnu", f"/usr/lib/{machine}-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
    for folder in folders:
        file = tree.find(f"{folder}/libc.so.6")
        match = None if file is None else _GLIBC.search(_bytes(file, _LARGEST_LIBC))
        if match is not None:
            return f"glibc {match[1].decode('ascii')}"
    return "musl" if tree.find(f"/lib/ld-musl-{machine}.so.1") is not None else UNKNOWN


def _pretty_name(tree: RootTree) -> str:
    for place in ("/etc/os-release", "/usr/lib/os-release"):
        file = tree.find(place)
        text = "" if file is None else _bytes(file, _LARGEST_TEXT).decode("utf-8", errors="replace")
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if name == "PRETTY_NAME":
                try:
                    return brief(" ".join(shlex.split(value)))
                except ValueError:  # quotes that do not end
                    return brief(value)
    return ""


def _bytes(file: Path, most: int) -> bytes:
    """The beginning of a regular file; nothing of all else, on which reading could wait for ever."""
    try:
        if not file.is_file():
            return b""
        with file.open("rb") as stream:
            return stream.read(most)
    except OSError:
        return b""
