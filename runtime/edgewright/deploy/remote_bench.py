"""Times a bundle on a board from a workstation: the board's own edgewright does it, here the result arrives.

- The bundle is sent to a folder of its own there, which goes away at the end, however that comes.
- The command runs on its own there and is asked now and then how far it is: a link that breaks for a moment changes
  nothing, and Ctrl-C ends it there with what it has.
- What comes back is read like any file from a machine that nobody trusts.
"""

from __future__ import annotations

import contextlib
import math
import re
import shlex
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import BUNDLE_SUFFIX, write_bundle
from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.layout import Layout
from edgewright.deploy.lock import held_now
from edgewright.deploy.words import brief, lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from edgewright.deploy.host import Host

__all__ = ["BoardBench", "Pace"]

_PLACES = ("/opt/edgewright/current/bin/edgewright", "edgewright")
_INTERRUPTED = 130
_LARGEST_BYTES = {".json": 16 << 20}  # a result of hours has some hundred thousand
_LARGEST_OTHER = 512 << 20
_AFTERWARDS_S = 120
_FOLDER = re.compile(r"/(?:var/)?tmp/edgewright-bench\.\w+")
_MAKE_FOLDER = "mktemp -d /var/tmp/edgewright-bench.XXXXXX 2>/dev/null || mktemp -d /tmp/edgewright-bench.XXXXXX"
# The command's own process number is kept, for it is told to end; its status appears whole.
_START = """\
folder=$1; bound=$2; shift 2
rm -f "$folder/status" "$folder/pid"
# When the workstation does not come back, it ends all the same, with time to write what it has.
if timeout -k 60 5 true > /dev/null 2>&1; then set -- timeout -k 60 "$bound" "$@"
elif timeout 5 true > /dev/null 2>&1; then set -- timeout "$bound" "$@"
fi
nohup sh -c '
  folder=$0
  "$@" > "$folder/out" 2> "$folder/err" < /dev/null &
  echo $! > "$folder/pid"
  wait $!
  echo $? > "$folder/status.part"
  mv "$folder/status.part" "$folder/status"
' "$folder" "$@" > /dev/null 2>&1 < /dev/null &
"""
_ASK = """\
cd "$1" 2> /dev/null || { echo gone; exit 0; }
if [ -f status ]; then echo "ended $(cat status)"
elif [ ! -f pid ] || kill -0 "$(cat pid)" 2> /dev/null; then echo running
else echo lost; fi
tail -c 1000 err 2> /dev/null
"""
_END = 'kill -TERM "$(cat "$1/pid")" 2> /dev/null; true'


@dataclass(frozen=True)
class Pace:
    """How patient the workstation is.

    Attributes:
        ask_s: Between two questions how far the board is.
        away_s: Longest time without an answer.
        ending_s: Longest wait for the end after Ctrl-C.
    """

    ask_s: float = 2.0
    away_s: float = 180.0
    ending_s: float = 60.0


class BoardBench:
    """The edgewright of a board. Use it as a context manager: leaving takes away what was put there."""

    def __init__(
        self,
        host: Host,
        command: str | None = None,
        on_line: Callable[[str], None] = lambda _line: None,
        pace: Pace = Pace(),
    ) -> None:
        """Nothing is done yet.

        Args:
            host: The board.
            command: Its edgewright, words as a shell reads them; None looks where ``edgewright deploy`` puts it, then
                on the path of a user who is not the superuser.
            on_line: Told how far the board is.
            pace: How patient to be.

        Raises:
            DeployError: The command is no words of a shell.
        """
        self._host, self._on_line, self._pace = host, on_line, pace
        self._command: list[str] = [] if command is None else _words(command)
        self._folder: PurePosixPath | None = None
        self._running = False

    def __enter__(self) -> Self:
        """Finds the board's edgewright and makes a folder.

        Raises:
            DeployError: There is none, or no place for a folder, or a deployment is at work there.
            HostUnreachable: The board cannot be talked to.
        """
        self._command = self._found()
        held = held_now(self._host, Layout.top)
        if held is not None:
            raise DeployError(held.words(self._host.name))
        made = self._host.run(["sh", "-c", _MAKE_FOLDER])
        if not made.ok or not _FOLDER.fullmatch(made.out.strip()):
            msg = f"{self._host.name} has no place for a folder in /var/tmp or /tmp: {brief(made.err or made.out)}"
            raise DeployError(msg)
        self._folder = PurePosixPath(made.out.strip())
        busy = self._host.run(["sh", "-c", "systemctl is-active edgewright.service 2> /dev/null"])
        if busy.out.strip() == "active":
            self._on_line(f"the edgewright service runs on {self._host.name} meanwhile: times are those beside it")
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what runs there and removes the folder."""
        if self._folder is not None:
            with contextlib.suppress(DeployError):  # a board that is away keeps it until it restarts
                if self._running:
                    self._host.run(["sh", "-c", _END, "sh", str(self._folder)])
                self._host.run(["rm", "-rf", "--", str(self._folder)])
            self._folder = None

    def place(self, name: str) -> PurePosixPath:
        """A file in the folder there.

        Raises:
            DeployError: There is no folder yet.
        """
        if self._folder is None:
            msg = "the board's folder is made on entering"
            raise DeployError(msg)
        return self._folder / name

    def send_bundle(self, path: Path) -> PurePosixPath:
        """Sends a bundle, a directory as one file.

        Raises:
            BundleError: It is not right.
            DeployError: It cannot be written there.
        """
        remote = self.place(f"bundle{BUNDLE_SUFFIX}")
        with tempfile.TemporaryDirectory(prefix="edgewright-bench-") as folder:
            with open_bundle(path) as bundle:
                packed = path
                if path.is_dir():
                    packed = Path(folder) / f"bundle{BUNDLE_SUFFIX}"
                    write_bundle(
                        packed, bundle.manifest, {row.path: bundle.read(row.path) for row in bundle.manifest.files}
                    )
            self._host.send(packed, remote, on_bytes=self._sent)
        return remote

    def send(self, data: bytes, name: str) -> PurePosixPath:
        """Sends bytes as a file of the folder."""
        remote = self.place(name)
        with tempfile.TemporaryDirectory(prefix="edgewright-bench-") as folder:
            local = Path(folder) / name
            local.write_bytes(data)
            self._host.send(local, remote)
        return remote

    def fetch(self, name: str, local: Path) -> None:
        """Fetches a file of the folder.

        Raises:
            DeployError: There is none, or it is larger than such files are; then it is not read to its end.
        """
        self._host.fetch(self.place(name), local, largest=_LARGEST_BYTES.get(local.suffix, _LARGEST_OTHER))

    def run(self, words: Sequence[str], longest_s: float) -> bool:
        """Runs an edgewright command there to its end.

        Args:
            words: After the program's name.
            longest_s: It is ended after so long.

        Returns:
            Whether it ran to its end; False when Ctrl-C ended it in good order, so that it left what it had, if anything.

        Raises:
            DeployError: It failed, the board restarted, or it took too long.
            HostUnreachable: The board was away for too long.
        """
        bound = str(math.ceil(longest_s) + _AFTERWARDS_S)
        started = self._host.run(["sh", "-c", _START, "sh", str(self.place(".")), bound, *self._command, *words])
        if not started.ok:
            msg = f"cannot start {self._command[0]} on {self._host.name}: {brief(started.err)}"
            raise DeployError(msg)
        self._running = True
        interrupted = False
        try:
            code = self._wait(longest_s)
        except KeyboardInterrupt:
            interrupted = True
            self._on_line(f"ending it on {self._host.name} and fetching what there is ...")
            self._host.run(["sh", "-c", _END, "sh", str(self.place("."))])
            code = self._wait(self._pace.ending_s)
        self._running = False
        if code == 0 or (interrupted and code == _INTERRUPTED):
            return not interrupted
        said = self._host.run(["tail", "-c", "4000", "--", str(self.place("err"))]).out
        last = lines_of(said, most=3)
        msg = f"edgewright {words[0]} on {self._host.name} ended with {code}: {' '.join(last) or 'it says nothing'}"
        raise DeployError(msg)

    def _wait(self, longest_s: float) -> int:
        begun = heard = time.monotonic()
        told, lost = "", 0
        while True:
            try:
                state, _, said = self._host.run(["sh", "-c", _ASK, "sh", str(self.place("."))]).out.partition("\n")
            except HostUnreachable:
                if time.monotonic() - heard > self._pace.away_s:
                    raise
                self._on_line(f"{self._host.name} does not answer; trying again")
                time.sleep(self._pace.ask_s)
                continue
            heard = time.monotonic()
            if state.startswith("ended "):
                return _status(state)
            # Between the command's end and its status lies a moment: only twice is a sign.
            lost = lost + 1 if state == "lost" else 0
            if state == "gone" or lost > 1:
                msg = f"the command on {self._host.name} is gone without a word: the board restarted, or ran out of memory"
                raise DeployError(msg)
            line = (lines_of(said.replace("\r", "\n"), most=1) or [""])[-1]
            if line and line != told:
                told = line
                self._on_line(line)
            if heard - begun > longest_s:
                msg = f"the command on {self._host.name} did not end within {longest_s:g} s and was ended; time fewer frames"
                raise DeployError(msg)
            time.sleep(self._pace.ask_s)

    def _found(self) -> list[str]:
        # What a path leads to may be anybody's: the superuser runs only what the superuser put there.
        places = _PLACES[:1] if self._host.run(["id", "-u"]).out.strip() == "0" else _PLACES
        tried = [self._command] if self._command else [[place] for place in places]
        why = ""
        for words in tried:
            seen = self._host.run(["sh", "-c", '"$@" --version', "sh", *words], timeout_s=120.0)
            if seen.ok and seen.out.startswith("edgewright "):
                return words
            why = brief(seen.err or seen.out)
        names = " or ".join(shlex.join(words) for words in tried)
        msg = (
            f"{self._host.name} has no edgewright that runs as {names} ({why}); put it there with 'edgewright deploy', or "
            "say where it is with --command"
        )
        raise DeployError(msg)

    def _sent(self, done: int, total: int) -> None:
        if done == total:
            self._on_line(f"sent {total:,} bytes to {self._host.name}")


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        msg = f"--command {command[:80]!r} is not what a shell could read: {error}; mend its quotes"
        raise DeployError(msg) from error


def _status(state: str) -> int:
    number = state.removeprefix("ended ").strip()
    return int(number) if number.isascii() and number.isdigit() and len(number) < 5 else 1
