"""A board made of a folder: commands really run, programs that would touch this machine are replaced by small ones.

``uname``, ``df``, ``getent``, ``useradd``, ``chown``, ``systemctl`` and the like answer out of files in ``state``, which
tests write; ``sh``, ``mv``, ``ln``, ``sha256sum`` and all else are the real ones and work below ``root``. The link can be
cut after any number of commands.
"""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from edgewright.deploy.board import Board
from edgewright.deploy.errors import HostUnreachable
from edgewright.deploy.layout import Layout
from edgewright.deploy.local import LocalHost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgewright.deploy.host import Done

_TOOLS = {
    "uname": 'case "$1" in -s) cat "$S/system" ;; *) cat "$S/machine" ;; esac',
    "getconf": 'case "$1" in LONG_BIT) cat "$S/bits" ;; GNU_LIBC_VERSION) cat "$S/libc" ;; *) echo 4 ;; esac',
    "date": 'echo $(($(/bin/date +%s) + $(cat "$S/skew")))',
    "df": 'echo header; echo "disk 9 9 $(cat "$S/free_kb") 9% /"',
    "id": 'case "$1" in -u) cat "$S/uid" ;; -nG) cat "$S/groups_of_user" 2>/dev/null ;; esac',
    "sudo": '[ "$(cat "$S/sudo")" = free ] || { echo "sudo: a password is required" >&2; exit 1; }; '
    'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"',
    "getent": 'case "$1" in passwd) cat "$S/user" 2>/dev/null ;; group) [ "$2" = video ] ;; esac',
    "useradd": 'echo "edgewright:x:990:990:edgewright service:/var/lib/edgewright:/usr/sbin/nologin" > "$S/user"; '
    'echo edgewright > "$S/groups_of_user"',
    "usermod": 'echo "edgewright $2" > "$S/groups_of_user"',
    "userdel": 'rm -f "$S/user" "$S/groups_of_user"',
    "groupdel": "exit 6",
    "gpasswd": ":",
    "runuser": 'shift 3; exec "$@"',
    "chown": 'case "$1" in -*) shift ;; esac; echo "$(/usr/bin/stat -c %i "$2") $1" >> "$S/owners"',
    "stat": 'f="$3"; o=$(grep "^$(/usr/bin/stat -c %i "$f") " "$S/owners" 2>/dev/null | tail -n 1 | cut -d" " -f2); '
    'case "$2" in "%a %U:%G") echo "$(/usr/bin/stat -c %a "$f") ${o:-root:root}" ;; '
    '"%U:%G") echo "${o:-root:root}" ;; *) exec /usr/bin/stat "$@" ;; esac',
    "journalctl": 'cat "$S/journal" 2>/dev/null',
    "systemctl": """
echo "$*" >> "$S/systemctl.log"
U=/etc/systemd/system/edgewright.service W=$R/etc/systemd/system/multi-user.target.wants
case "$1" in
enable) mkdir -p "$W" && ln -sf "$U" "$W/" ;;
is-enabled) [ -L "$W/edgewright.service" ] ;;
disable) [ -f "$R$U" ] || { echo "no such unit" >&2; exit 1; }; rm -f "$W/edgewright.service"; rmdir "$W" 2>/dev/null || true ;;
stop) [ -f "$S/stubborn" ] || echo inactive > "$S/active" ;;
restart)
    if grep -qxF "$(readlink "$R/var/lib/edgewright/bundles/active")" "$S/crashes" 2>/dev/null
    then echo crashed > "$S/active"; else echo active > "$S/active"; fi ;;
show)
    case "$(cat "$S/active" 2>/dev/null)" in
    active) printf 'ActiveState=active\\nSubState=running\\nResult=success\\nNRestarts=0\\nExecMainStatus=0\\n' ;;
    crashed) printf 'ActiveState=activating\\nSubState=auto-restart\\nResult=exit-code\\nNRestarts=1\\nExecMainStatus=2\\n' ;;
    starting) printf 'ActiveState=activating\\nSubState=start\\nResult=success\\nNRestarts=0\\nExecMainStatus=0\\n' ;;
    *) printf 'ActiveState=inactive\\nSubState=dead\\nResult=success\\nNRestarts=0\\nExecMainStatus=0\\n' ;;
    esac ;;
esac
""",
}
_ANSWERS = {
    "system": "Linux",
    "machine": "x86_64",
    "bits": "64",
    "libc": "glibc 2.36",
    "uid": "0",
    "skew": "0",
    "free_kb": "9000000",
    "sudo": "free",
    "mounts": "disk / ext4 rw,relatime 0 0",
}
_PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python3.10")
# Answers as a release's interpreter does: its version, a verification, and whether it can read the settings.
_ENVIRONMENT = """#!/bin/sh
case "$*" in
*--version) echo "edgewright 1.0" ;;
*verify*) cat "$(dirname "$0")/../verify.json"; exit "$(cat "$(dirname "$0")/../status")" ;;
esac
"""


class FakeBoard(LocalHost):
    """See the module; ``answers`` replaces what the board says of itself.

    Attributes:
        folder: All of it.
        root: The board's ``/``.
        commands: What was run, in order.
        cut_at: The link is lost at the command of this number, before it is run; None for never.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pythons: Sequence[str] = ("/usr/bin/python3 3.11.2 64 yes",),
        systemd: bool = True,
        without: Sequence[str] = (),
        **answers: str,
    ) -> None:
        super().__init__(escalate=False)
        self.name = "board"
        self.folder = folder
        self.root = folder / "root"
        self.commands: list[list[str]] = []
        self.cut_at: int | None = None
        self._state = folder / "state"
        for made in (self.root, self._state, folder / "tools", folder / "systemd"):
            made.mkdir(parents=True, exist_ok=True)
        self.say("boot_id", Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        for name, text in {**_ANSWERS, **answers}.items():
            self.say(name, text)
        for name, script in _TOOLS.items():
            if name not in without:
                self.replace(name, script)
        for number, name in enumerate(_PYTHONS):
            self._tool(name, f"echo '{pythons[number]}'" if number < len(pythons) else "exit 1")
        self._systemd = folder / "systemd" if systemd else folder / "no-systemd"

    @property
    def board(self) -> Board:
        """For the steps."""
        return Board(self, Layout(PurePosixPath(self.root)))

    def replace(self, tool: str, script: str) -> None:
        """Has a program answer otherwise; it knows the board's root as ``$R``."""
        self._tool(tool, f'S="{self._state}"; R="{self.root}"; {script}')

    def say(self, name: str, text: str) -> None:
        """Changes an answer."""
        (self._state / name).write_text(text + "\n", encoding="utf-8")

    def restart(self) -> None:
        """As after a power cut: another start, and nothing in ``/run``."""
        self.say("boot_id", f"{uuid.uuid4()}")
        if (self.root / "run").is_dir():
            shutil.rmtree(self.root / "run")
            (self.root / "run").mkdir()
        else:
            shutil.rmtree(self.root / "edgewright-deploy.lock", ignore_errors=True)

    def told(self, name: str) -> str:
        """What a tool left in a file of the state."""
        path = self._state / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def environment(self, *, verify: object, status: int = 0) -> PurePosixPath:
        """An environment whose interpreter says this when a bundle is verified."""
        place = self.folder / "env"
        (place / "bin").mkdir(parents=True, exist_ok=True)
        (place / "bin" / "python").write_text(_ENVIRONMENT, encoding="utf-8")
        (place / "bin" / "python").chmod(0o755)
        (place / "verify.json").write_text(json.dumps(verify) + "\n", encoding="utf-8")
        (place / "status").write_text(str(status), encoding="utf-8")
        return PurePosixPath(place)

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_s: float = 60.0, root: bool = False
    ) -> Done:
        self._count(argv)
        return super().run(argv, stdin=stdin, timeout_s=timeout_s, root=root)

    def send(
        self,
        local: Path,
        remote: PurePosixPath,
        *,
        root: bool = False,
        on_bytes: Callable[[int, int], None] | None = None,
    ) -> None:
        self._count(["send", str(remote)])
        super().send(local, remote, root=root, on_bytes=on_bytes)

    def tree(self) -> dict[str, str]:
        """Every file, link and folder of the board and what is in it."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            inside = str(path.relative_to(self.root))
            if path.is_symlink():
                found[inside] = f"-> {path.readlink()}"
            else:
                found[inside] = "folder" if path.is_dir() else path.read_bytes().hex()
        return found

    def _count(self, argv: Sequence[str]) -> None:
        if self.cut_at is not None and len(self.commands) >= self.cut_at:
            msg = "board: the link was lost (test)"
            raise HostUnreachable(msg)
        self.commands.append(list(argv))

    def _as(self, argv: Sequence[str], *, root: bool) -> list[str]:
        del root
        # Places that no program stands before are moved in the scripts themselves.
        moved = [
            word.replace("/proc/mounts", f"{self._state}/mounts")
            .replace("/proc/sys/kernel/random/boot_id", f"{self._state}/boot_id")
            .replace("/run/systemd/system", str(self._systemd))
            .replace("PATH=/usr/bin:/usr/local/bin:", "PATH=")
            for word in argv
        ]
        return ["env", f"PATH={self.folder}/tools:/usr/bin:/bin:/usr/sbin:/sbin", *moved]

    def _tool(self, name: str, script: str) -> None:
        path = self.folder / "tools" / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
