"""A program called ``ssh`` whose other end is this machine: words go through a shell, and nothing through a network.

As with a real one, what runs at the other end is nobody's child here: it lives on when ``ssh`` is ended.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edgewright.deploy.ssh import SshHost

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_SSH = """#!/bin/sh
case " $* " in
*" -M "*)
    for word in "$@"; do case "$word" in -S*) socket=${word#-S} ;; esac; done
    exec @python@ -I -S -c '
import socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
sys.stdin.read()' "$socket" ;;
esac
for word in "$@"; do line=$word; done
exec setsid -w sh -c "$line"
"""


def local_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SshHost:
    """A board that is this machine.

    Args:
        folder: Where the program goes; it is the first on the path then.
        monkeypatch: Changes the path.
    """
    program = folder / "ssh"
    program.write_text(_SSH.replace("@python@", sys.executable), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return SshHost("board@here")
