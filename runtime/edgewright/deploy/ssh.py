r"""A board at the other end of an SSH connection, by the OpenSSH client of this machine; nothing of ours runs there.

- One connection serves every command: a master process of our own holds it, its socket lies in a private folder.
- Keys, host keys, jump hosts and user names are the business of ssh and its configuration. It is told never to ask for
  anything, because nobody may sit there to answer.
- A command's words are quoted one by one for the shell at the other end, and it ends there when nobody waits for it.
- A link that says nothing for 15 s counts as lost. The next command makes a new connection.

Example:
    >>> host = SshHost("pi@gate-1.local")          # doctest: +SKIP
    >>> host.run(["uname", "-m"]).out              # doctest: +SKIP
    'aarch64\n'
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.atomic import atomic_path
from edgewright.bundle.errors import MissingExtraError
from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.host import LARGEST_FILE
from edgewright.deploy.process import end, feed, fetch_bytes
from edgewright.deploy.remote_line import ABOUT, About, read_about, remote_line
from edgewright.deploy.ssh_trouble import ssh_trouble
from edgewright.deploy.transfer import (
    MEASURE,
    append_command,
    chunks_of,
    digest_of,
    finished,
    part_of,
)
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import PurePosixPath

    from typing_extensions import Self

    from edgewright.deploy.host import Done
    from edgewright.deploy.transfer import Outgoing

__all__ = ["SshHost"]

_TARGET = re.compile(r"[^\s\x00-\x1f\x7f-][^\s\x00-\x1f\x7f]{0,254}")
_OPENING_S = 60.0
_SEND_S = 600.0
_LONGEST_SOCKET = 70  # ssh adds 17 characters, a socket's name holds 107
_SSH_FAILED = 255
_TRIES = 2
_PAUSE_S = 1.0
_NOTICED_S = 0.5
# The first of several values counts for ssh: what the user says goes between.
_FIRST = ("BatchMode=yes", "RemoteCommand=none", "ClearAllForwardings=yes")
# What ssh's configuration may open to every host, no board needs; an option on the command line still can.
_LAST = (
    "ForwardAgent=no",
    "ForwardX11=no",
    "ConnectTimeout=10",
    "ConnectionAttempts=1",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
)


class SshHost:
    """A board over SSH; see ``Host`` for what it does.

    Attributes:
        name: The target as given.
    """

    def __init__(
        self, target: str, *, port: int | None = None, identity: Path | None = None, options: Sequence[str] = ()
    ) -> None:
        """Checks the words; the connection is made by the first command.

        Args:
            target: ``USER@HOST``, or a name that ssh's configuration knows.
            port: Where its SSH server listens; None leaves it to ssh.
            identity: Private key; None leaves it to ssh.
            options: Further options as ``ssh -o`` takes them, each ``Key=value``.

        Raises:
            DeployError: The target, the port or an option cannot be meant.
            MissingExtraError: There is no ssh program here.
        """
        if not _TARGET.fullmatch(target):
            msg = f"{target[:60]!r} is no board; write USER@HOST, such as pi@raspberrypi.local"
            raise DeployError(msg)
        if port is not None and not 0 < port < 65536:
            msg = f"port {port} cannot be; SSH servers listen on 1 to 65535, most on 22"
            raise DeployError(msg)
        odd = [option for option in options if not re.match(r"[A-Za-z]+[ =]\S", option)]
        if odd:
            msg = f"{odd[0][:60]!r} is no option of ssh; write Key=value, such as ProxyJump=gateway"
            raise DeployError(msg)
        if identity is not None and not identity.is_file():
            msg = f"there is no key file {identity}; name a private key, such as ~/.ssh/id_ed25519"
            raise DeployError(msg)
        if shutil.which("ssh") is None:
            msg = (
                "talking to a board needs the OpenSSH client (ssh), which is not installed; apt install openssh-client"
            )
            raise _NoSshError(msg)
        self.name = target
        self._port = port
        self._folder: Path | None = None
        self._master: subprocess.Popen[bytes] | None = None
        self._about: About | None = None
        self._words = [f"-o{option}" for option in (*_FIRST, *options, *_LAST)]
        self._words += [] if port is None else [f"-p{port}"]
        self._words += [] if identity is None else [f"-i{identity}"]

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_s: float = 60.0, root: bool = False
    ) -> Done:
        """Runs one command; see ``Host.run``.

        Raises:
            HostUnreachable: The board cannot be talked to, or went away meanwhile.
            DeployError: It did not end in time.
        """
        return self._run(argv, () if stdin is None else (stdin,), timeout_s, root=root, bound_s=timeout_s)

    def send(
        self,
        local: Path,
        remote: PurePosixPath,
        *,
        root: bool = False,
        on_bytes: Callable[[int, int], None] | None = None,
    ) -> None:
        """Copies a file; what a broken link left there is gone on from, see ``Host.send``.

        Raises:
            HostUnreachable: The link broke, twice.
            DeployError: It cannot be read, or not be written there.
        """
        outgoing = digest_of(local)
        for attempt in range(_TRIES):
            try:
                if self._sent(outgoing, remote, root=root, on_bytes=on_bytes):
                    return
            except HostUnreachable:  # noqa: PERF203 - the link is what costs here
                if attempt == _TRIES - 1:
                    raise
                time.sleep(_PAUSE_S)
        msg = f"{local} did not arrive at {self.name} as it is here; run this again when nothing writes to it"
        raise DeployError(msg)

    def _sent(
        self, outgoing: Outgoing, remote: PurePosixPath, *, root: bool, on_bytes: Callable[[int, int], None] | None
    ) -> bool:
        part = part_of(remote, outgoing)
        measured = self.run(["sh", "-c", MEASURE, "sh", str(part)], root=root)
        there = measured.out.strip()
        offset = int(there) if there.isascii() and there.isdigit() and len(there) < len(str(1 << 62)) else 0
        offset = 0 if offset > outgoing.size else offset
        chunks = chunks_of(outgoing, offset, on_bytes)
        # However long a slow link takes: it ends with its input, which a broken link ends, too.
        done = self._run(append_command(part, offset), chunks, _SEND_S, root=root, bound_s=None)
        if not done.ok:
            msg = f"cannot write {remote} on {self.name}: {brief(done.err)}"
            raise DeployError(msg)
        return finished(lambda argv: self.run(argv, root=root, timeout_s=_SEND_S), part, remote, outgoing.sha256)

    def fetch(self, remote: PurePosixPath, local: Path, *, largest: int = LARGEST_FILE) -> None:
        """Copies a file, whole or not at all; see ``Host.fetch``.

        Raises:
            HostUnreachable: The link broke.
            DeployError: There is no such file, it is too large, or it changes while it is read.
            OutputError: It cannot be written here.
        """
        seen = self.run(["sha256sum", "--", str(remote)], timeout_s=_SEND_S)
        if not seen.ok:
            msg = f"{self.name} gives no file {remote}: {brief(seen.err)}"
            raise DeployError(msg)
        self._connect()
        with atomic_path(local) as beside:
            argv = self._argv(["cat", "--", str(remote)], About(), root=False, bound_s=None)
            done = fetch_bytes(argv, beside, _SEND_S, f"reading {remote} from {self.name}", largest=largest)
            self._check(done)
            if not done.ok or digest_of(beside).sha256 != seen.out.lstrip("\\")[:64]:
                msg = (
                    f"{remote} did not arrive from {self.name} as it is there; run this again when nothing writes to it"
                )
                raise DeployError(msg)

    def close(self) -> None:
        """Ends the connection and removes its socket."""
        if self._master is not None:
            end(self._master)
            self._master = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the connection."""
        self.close()

    def _run(
        self, argv: Sequence[str], chunks: Iterable[bytes], timeout_s: float, *, root: bool, bound_s: float | None
    ) -> Done:
        self._connect()
        if self._about is None:
            line = self._argv(["sh", "-c", ABOUT], About(), root=False, bound_s=None)
            asked = feed(line, (), _OPENING_S, f"the first command on {self.name}")
            self._check(asked)
            self._about = read_about(asked.out)
        line = self._argv(argv, self._about, root=root, bound_s=bound_s)
        done = feed(line, chunks, timeout_s, f"{argv[0]} on {self.name}")
        self._check(done)
        return done

    def _argv(self, argv: Sequence[str], about: About, *, root: bool, bound_s: float | None) -> list[str]:
        # -T: no terminal there, whatever the configuration says.
        there = ["--", self.name, remote_line(argv, about, root=root, seconds=bound_s)]
        return ["ssh", "-T", f"-S{self._socket}", "-oControlMaster=no", *self._words, *there]

    def _check(self, done: Done) -> None:
        """Tells ssh's own 255 from the 255 of a program at the other end."""
        if done.code == _SSH_FAILED and (self._has_ended(_NOTICED_S) or "mux_client" in done.err):
            complaint = f"{self._complaint()}\n{done.err}"
            self._drop()
            raise ssh_trouble(self.name, complaint, was_up=True, port=self._port)
        if done.code < 0:
            self._drop()
            raise ssh_trouble(self.name, f"ssh was ended by signal {-done.code}", was_up=True, port=self._port)

    @property
    def _socket(self) -> Path:
        return self._made_folder() / "s"

    def _made_folder(self) -> Path:
        if self._folder is None:
            folder = Path(tempfile.mkdtemp(prefix="edgewright-"))  # ours alone, 0700
            if len(str(folder)) > _LONGEST_SOCKET:
                folder.rmdir()
                folder = Path(tempfile.mkdtemp(prefix="edgewright-", dir="/tmp"))
            self._folder = folder
        return self._folder

    def _has_ended(self, wait_s: float) -> bool:
        """Whether the connection is gone; the master may need a moment to see it."""
        try:
            return self._master is None or self._master.wait(wait_s) is not None
        except subprocess.TimeoutExpired:
            return False

    def _is_up(self) -> bool:
        return self._master is not None and self._master.poll() is None and self._socket.is_socket()

    def _connect(self) -> None:
        if self._is_up():
            return
        self._drop()
        complaints = self._made_folder() / "complaints"
        argv = ["ssh", "-M", "-T", f"-S{self._socket}", "-oControlPersist=no", *self._words, "--", self.name, "cat"]
        with complaints.open("wb") as err:
            # However this process ends, the pipe closes then, `cat` ends, and with it the connection.
            self._master = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=err, start_new_session=True
            )
        until = time.monotonic() + _OPENING_S
        while not self._socket.is_socket():  # made once the other side has let us in
            if self._master.poll() is not None or time.monotonic() > until:
                complaint = self._complaint() or "it took more than a minute"
                self.close()
                raise ssh_trouble(self.name, complaint, was_up=False, port=self._port)
            time.sleep(0.02)

    def _drop(self) -> None:
        if self._master is not None:
            end(self._master)
            self._master = None
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / "s").unlink()

    def _complaint(self) -> str:
        if self._folder is None:
            return ""
        try:
            with (self._folder / "complaints").open("rb") as stream:
                return stream.read(1 << 16).decode("utf-8", errors="replace")
        except OSError:  # there is none yet
            return ""


class _NoSshError(DeployError):
    """The program is missing."""

    exit_code = MissingExtraError.exit_code
