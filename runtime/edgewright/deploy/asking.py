"""Asks a board what it is, in one question: a shell script that changes nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError
from edgewright.deploy.facts import Facts, Place, Python
from edgewright.deploy.root_facts import facts_of_root
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.deploy.board import Board

__all__ = ["read_facts"]

_SAY = r"""
say() { printf '%s=%s\n' "$1" "$(printf %s "$2" | tr '\n\r' '  ' | cut -c1-300)"; }
"""
_ASK = r"""
say system "$(uname -s)"
say machine "$(uname -m)"
say bits "$(getconf LONG_BIT 2>/dev/null)"
say libc "$(getconf GNU_LIBC_VERSION 2>/dev/null)"
say cores "$(getconf _NPROCESSORS_ONLN 2>/dev/null)"
say user "$(id -u)"
say clock "$(date +%s)"
say os "$(. /etc/os-release 2>/dev/null; printf %s "$PRETTY_NAME")"
say tegra "$(head -n 1 /etc/nv_tegra_release 2>/dev/null)"
say memory_kb "$(awk '/^MemTotal/ { print $2 }' /proc/meminfo 2>/dev/null)"
[ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1 && say systemd yes
command -v sudo >/dev/null 2>&1 && say sudo yes && sudo -n true >/dev/null 2>&1 && say sudo_free yes
# Over SSH the PATH of an ordinary user may lack the folders of administrators, which sudo has.
(PATH=$PATH:/usr/sbin:/sbin; command -v useradd >/dev/null 2>&1) && say useradd yes
for name in python3 python3.13 python3.12 python3.11 python3.10; do
    found=$(PATH=/usr/bin:/usr/local/bin:$PATH; command -v "$name" 2>/dev/null) || continue
    say python "$("$found" -I -c '
import struct, sys
try:
    import ensurepip, venv
    able = "yes"
except ImportError:
    able = "no"
print(sys.executable, "%d.%d.%d" % sys.version_info[:3], 8 * struct.calcsize("P"), able, sys.base_prefix)' 2>/dev/null)"
done
"""
_ROOM = r"""
for place in "$@"; do
    near=$place
    while [ ! -d "$near" ]; do near=$(dirname "$near"); done
    row=$(df -Pk "$near" 2>/dev/null | tail -n 1)
    mount=$(printf %s "$row" | awk '{ print $6 }')
    say place "$(printf %s "$row" | awk '{ print $4 }') $(awk -v m="$mount" '$2 == m { o = $3 " " $4 } END { print o ? o : "- -" }' \
        /proc/mounts) $mount"
done
"""
_VERSION = re.compile(r"\d{1,3}\.\d{1,3}")


def read_facts(board: Board, now: Callable[[], float]) -> Facts:
    """Asks the board.

    Args:
        board: Which.
        now: This machine's clock, seconds since 1970.

    Raises:
        HostUnreachable: It cannot be talked to.
        DeployError: It does not answer as a Linux system does.
    """
    places = [str(board.layout.on(place)) for place in (board.layout.opt, board.layout.state)]
    script = _SAY + (_ASK if board.system else "") + _ROOM
    before = now()
    done = board.host.run(["sh", "-c", script, "sh", *places])
    after = now()
    rows = [line.partition("=") for line in done.out.splitlines() if "=" in line][:100]
    values = {key: brief(value) for key, _, value in rows}
    mounts = tuple(filter(None, (_place(value) for key, _, value in rows if key == "place")))
    if not board.system:
        values, interpreters = facts_of_root(board)
        return Facts(values, interpreters, mounts)
    if values.get("system") != "Linux":
        seen = values.get("system") or brief(done.err) or brief(done.out) or "nothing"
        msg = f"{board.name} is no Linux system (it said: {seen}); edgewright runs on 64-bit Linux boards"
        raise DeployError(msg)
    clock = values.get("clock", "")
    skew = float(clock) - (before + after) / 2 if _is_number(clock) else 0.0
    pythons = [_python(value) for key, _, value in rows if key == "python"]
    return Facts(
        values,
        tuple(python for python in pythons if python is not None),
        mounts,
        # Whole seconds there, and the time that the question took.
        0.0 if abs(skew) <= 1.0 + (after - before) else skew,
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15


def _python(text: str) -> Python | None:
    words = text.split()
    if len(words) not in {4, 5} or not _VERSION.match(words[1]) or not _is_number(words[2]):
        return None
    base = brief(words[4]) if len(words) > 4 else ""
    return Python(brief(words[0]), brief(words[1], 20), int(words[2]), words[3] == "yes", base)


def _place(text: str) -> Place | None:
    words = text.split(maxsplit=3)
    if len(words) != 4 or not _is_number(words[0]):
        return None
    return Place(int(words[0]) * 1024, brief(words[1], 40), tuple(words[2].split(",")), brief(words[3], 100))
