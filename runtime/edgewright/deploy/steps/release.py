"""A release: an environment of its own with edgewright and what it needs, made beside its place and then renamed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.errors import EdgewrightError
from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.interpreter import RELINKED, interpreter
from edgewright.deploy.plan import Seen
from edgewright.deploy.transfer import digest_of
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path, PurePosixPath

    from edgewright.deploy.board import Board

__all__ = ["MODULE", "Release", "ReleaseStep"]

MODULE = ("-m", "edgewright.cli.main")
"""How a release's interpreter is told to be ``edgewright``; its own script names a place that may be another root's."""

_MARK = "release.json"
_MAKE_S = 120.0
_INSTALL_S = 1800.0
_COMPILE_S = 900.0
# Interpreters run with -I everywhere: modules in the folder where the superuser happens to stand are nobody's.
# Whatever mask the superuser's shell has, the service must be able to read what is made.
_OPEN = ("sh", "-c", 'umask 022; exec "$@"', "sh")
_MOVED = """
import pathlib, sys
old, new = (word.encode() for word in sys.argv[1:])
part = pathlib.Path(sys.argv[1])
for file in [part / "pyvenv.cfg", *(part / "bin").iterdir()]:
    if file.is_file() and not file.is_symlink() and old in (data := file.read_bytes()):
        file.write_bytes(data.replace(old, new))
"""
# The former release of this name may be the one in use: it steps aside and is removed when all is well, by tidying.
_SWAP = """
if [ -e "$2" ] || [ -L "$2" ]; then rm -rf -- "$3" && mv -T -- "$2" "$3" || exit 1; fi
mv -T -- "$1" "$2"
"""
# Where there is still a part, the new release never came to its place, and what lies there is the former one.
_SWAP_BACK = """
if [ ! -e "$1" ] && [ ! -L "$1" ]; then rm -rf -- "$2" || exit 1; fi
if [ ! -e "$2" ] && [ ! -L "$2" ] && { [ -e "$3" ] || [ -L "$3" ]; }; then mv -T -- "$3" "$2"; fi
"""
_THERE = 'cd "$1" 2>/dev/null && sha256sum -- * 2>/dev/null; true'
_NO_NETWORK = (
    "NewConnectionError", "Temporary failure in name resolution", "Network is unreachable", "Max retries exceeded",
    "Connection to ", "ReadTimeoutError", "ConnectTimeoutError", "No route to host", "Could not fetch URL",
)  # fmt: skip


@dataclass(frozen=True)
class Release:
    """What a release is made of.

    Attributes:
        name: Version and a digest of all the rest.
        python: The board's interpreter that makes the environment.
        files: Wheels to send.
        requirements: What pip installs; an empty one with ``environment``.
        online: Whether the board's pip may fetch what is not among the files.
        constraints: Versions that pip is held to, as a requirements file; None for none.
        system_packages: Whether the environment sees the system's packages, such as a vendor's ONNX Runtime.
        environment: An environment that is there already and is used as it is; nothing is installed then.
    """

    name: str
    python: str
    files: tuple[Path, ...] = ()
    requirements: tuple[str, ...] = ()
    online: bool = False
    constraints: Path | None = None
    system_packages: bool = False
    environment: PurePosixPath | None = None

    @property
    def bytes(self) -> int:
        """What is sent."""
        return sum(file.stat().st_size for file in self.files)


class ReleaseStep:
    """The release stands in its place and can be started."""

    title = "release"

    def __init__(
        self,
        board: Board,
        release: Release,
        *,
        on_bytes: Callable[[str, int, int], None] | None = None,
        help_offline: str = "",
    ) -> None:
        """Nothing happens yet.

        Args:
            board: Where.
            release: Which.
            on_bytes: Told of the name of a file that is sent, its bytes sent, and their number.
            help_offline: What to do when the board has no way to the package index.
        """
        self._board = board
        self._release = release
        self._on_bytes = on_bytes
        self._help = help_offline
        self._place = board.layout.release(release.name)
        self._there = board.layout.on(self._place)
        self._part = self._there.with_name(f"{release.name}.part")
        self._old = self._there.with_name(f"{release.name}.old")
        self._swapping = False
        self._sending = False
        self._wheels = board.staged(f"wheels-{release.name}")

    def check(self) -> Seen:
        """Starts it."""
        if self._starts(self._there) is None:
            return Seen(done=True, words=self._release.name)
        environment, board = self._release.environment, self._board
        if environment is not None and (board.system or board.outside is not None):
            self._must_start(environment if board.system else board.layout.on(environment))
        return Seen(done=False, words=self._would())

    def apply(self) -> str:
        """Makes it beside its place, tries it, and renames it."""
        board, release = self._board, self._release
        board.must(["rm", "-rf", "--", str(self._part)], "removing a half-made release")
        if release.environment is None:
            self._make()
        else:
            board.must(["ln", "-s", "--", str(release.environment), str(self._part)], "making the release")
        self._must_start(self._part)
        self._swapping = True
        places = (self._part, self._there, self._old)
        board.sh(_SWAP, *places, doing="putting the release in place", timeout_s=_MAKE_S)
        board.must(["rm", "-rf", "--", str(self._wheels)], "removing the wheels that were sent")
        return release.name

    def undo(self) -> None:
        """Removes what was made; a former release of the same name gets its place back.

        Wheels that had arrived when sending was broken off stay: they are checked by their SHA-256 the next time.
        """
        if self._swapping:
            places = (self._part, self._there, self._old)
            self._board.sh(_SWAP_BACK, *places, doing="putting the former release back", timeout_s=_MAKE_S)
        argv = ["rm", "-rf", "--", str(self._part), *([] if self._sending else [str(self._wheels)])]
        self._board.must(argv, "removing the new release", timeout_s=_MAKE_S)

    def _would(self) -> str:
        release = self._release
        if release.environment is not None:
            return f"use the environment {release.environment} as release {release.name}"
        what = " ".join(release.requirements)
        how = "from the package index" if release.online else "without a network"
        sent = f"send {len(release.files)} wheels ({release.bytes / 1e6:.1f} MB), " if release.files else ""
        seen = ", seeing the system's packages" if release.system_packages else ""
        return f"{sent}make {self._place} with {release.python}{seen}, install {what} {how}"

    def _starts(self, place: PurePosixPath, *, marked: bool = True) -> str | None:
        """Why it cannot be started; None when it can."""
        own = self._release.environment is None
        if marked and own and not self._board.run(["test", "-f", str(place / _MARK)]).ok:
            return "it is not there"
        done = self._board.run([*interpreter(self._board, place), *MODULE, "--version"], timeout_s=_MAKE_S)
        if done.ok and done.out.startswith("edgewright "):
            return None
        return brief(done.err) or brief(done.out) or f"exit status {done.code}"

    def _must_start(self, place: PurePosixPath) -> None:
        reason = self._starts(place, marked=False)
        if reason is None:
            return
        what, environment = "the new release does not start", self._release.environment
        if environment is not None:
            what = f"{environment} (--python-env) does not start edgewright; install it there, or name another"
        msg = f"{self._board.name}: {what}: {reason}"
        raise DeployError(msg)

    def _make(self) -> None:
        board, release = self._board, self._release
        self._send()
        seen = ["--system-site-packages"] if release.system_packages else []
        argv = [
            *_OPEN,
            board.outside or release.python,
            "-I",
            "-m",
            "venv",
            "--symlinks",
            "--prompt",
            "edgewright",
            *seen,
        ]
        board.must([*argv, str(self._part)], "making an environment (python3 -m venv)", timeout_s=_MAKE_S)
        python = str(self._part / "bin" / "python")
        self._install(python)
        final = str(self._place)
        board.must([python, "-I", "-c", _MOVED, str(self._part), final], "giving the environment its place")
        # The service may not write here, so what it imports is compiled now. Some packages carry files that are no
        # Python of this version, hence no look at the status.
        compiled = [
            *_OPEN,
            python,
            "-I",
            "-m",
            "compileall",
            "-q",
            "-s",
            str(self._part),
            "-p",
            final,
            str(self._part / "lib"),
        ]
        board.run(compiled, timeout_s=_COMPILE_S)
        if board.outside is not None:
            words = [board.outside, "-I", "-c", RELINKED, str(self._part), release.python]
            board.must(words, "giving the environment the root's interpreter")
        mark = json.dumps({"name": release.name, "requirements": release.requirements}) + "\n"
        script = 'umask 022; cat > "$1"; sync 2>/dev/null || true'
        board.must(["sh", "-c", script, "sh", str(self._part / _MARK)], "marking the release", stdin=mark.encode())

    def _send(self) -> None:
        if not self._all_files():
            return
        self._board.must(["mkdir", "-p", str(self._wheels)], "making room for the wheels")
        there = self._board.sh(_THERE, self._wheels, doing="looking for wheels that arrived before")
        have = {line[66:].strip(): line[:64] for line in there.splitlines() if len(line) > 66}
        missing = [each for each in self._all_files() if have.get(each.name) != digest_of(each).sha256]
        self._sending = True
        try:
            for file in missing:
                self._board.host.send(file, self._wheels / file.name, root=True, on_bytes=self._told(file.name))
        except HostUnreachable:
            raise
        except EdgewrightError:  # such as a full disk, which what arrived would keep full
            self._sending = False
            raise
        self._sending = False

    def _all_files(self) -> Sequence[Path]:
        constraints = self._release.constraints
        return self._release.files if constraints is None else (*self._release.files, constraints)

    def _told(self, name: str) -> Callable[[int, int], None] | None:
        told = self._on_bytes
        return None if told is None else lambda sent, total: told(name, sent, total)

    def _install(self, python: str) -> None:
        board, release = self._board, self._release
        argv = [python, "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-cache-dir"]
        argv += ["--no-compile", "--only-binary=:all:", "--find-links", str(self._wheels)]
        argv += [] if release.online else ["--no-index"]
        argv += [] if release.constraints is None else ["-c", str(self._wheels / release.constraints.name)]
        done = board.run([*_OPEN, *argv, *release.requirements], timeout_s=_INSTALL_S)
        if done.ok:
            return
        if release.online and any(word in done.out + done.err for word in _NO_NETWORK):
            msg = f"{board.name} cannot reach the package index: {brief(done.err, 160)}; {self._help}"
            raise DeployError(msg)
        msg = f"{board.name}: pip could not install {' '.join(release.requirements)}: {brief(done.err)}; {self._help}"
        raise DeployError(msg)
