"""A real OpenSSH server on 127.0.0.1, on a "board" that is this machine under covers.

The server runs in a mount namespace of its own (see ``ssh_board.sh``): ``/etc``, ``/opt``, ``/var/lib`` and the homes are
overlays whose upper layers lie in memory, ``/tmp`` and ``/run`` are private, all else is read-only. So a
deployment really runs useradd, makes environments and writes its files, and this machine sees none of it; and what it
left can be listed to the last file. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from delivery import free_port, listens, wait_until

from edgewright.deploy.ssh import SshHost

if TYPE_CHECKING:
    from collections.abc import Sequence

USERS = ("root", "board", "guest")
"""``board`` may use sudo without a password, ``guest`` may not."""

_SETUP = Path(__file__).with_name("ssh_board.sh")
_SSHD = "/usr/sbin/sshd"
_ALIAS = "edgewright-board"


class SshBoard:
    """A board with an SSH server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._holder: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        (folder / "server").mkdir(parents=True)
        (folder / "client").mkdir()
        self.key = folder / "client/key"
        self.known_hosts = folder / "client/known_hosts"
        _new_key(self.key)
        _new_key(folder / "server/host_key")
        shutil.copy(self.key.with_suffix(".pub"), folder / "server/authorized_keys")
        self.trust(folder / "server/host_key.pub")
        (folder / "server/sshd_config").write_text(self._config(), encoding="utf-8")

    def host(self, user: str = "board", port: int | None = None, *options: str) -> SshHost:
        """A connection to be; ``port`` is another one where a proxy stands between."""
        return SshHost(self.target(user), port=port or self.port, identity=self.key, options=(*options, *self.options))

    def target(self, user: str = "board") -> str:
        return f"{user}@127.0.0.1"

    @property
    def options(self) -> tuple[str, ...]:
        """For ``ssh -o``: only what belongs to this board counts."""
        return (
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
            f"HostKeyAlias={_ALIAS}",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
        )

    def words(self, *bundle: str, user: str = "board", port: int | None = None) -> list[str]:
        """``USER@HOST``, the bundle, and what the command line needs to reach this board."""
        settings = [word for option in self.options for word in ("--ssh-option", option)]
        link = ["--port", str(port or self.port), "--identity", str(self.key), *settings]
        return [self.target(user), *bundle, *link]

    def trust(self, public_key: Path) -> None:
        """Makes this the only host key that the client knows."""
        kind, data = public_key.read_text(encoding="utf-8").split()[:2]
        self.known_hosts.write_text(f"{_ALIAS} {kind} {data}\n", encoding="utf-8")

    def start(self) -> SshBoard:
        """Switches the board on; what was written to it before is still there."""
        if self._holder is None:
            command = ["unshare", "--mount", "--propagation", "private", "sh", str(_SETUP), str(self.folder), *USERS]
            with (self.folder / "setup.log").open("wb") as log:
                checkout = str(Path(__file__).resolve().parents[2])
                self._holder = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, "CHECKOUT": checkout},
                )
            assert self._holder.stdout is not None
            said = self._holder.stdout.readline()
            assert said == b"ready\n", (self.folder / "setup.log").read_text(encoding="utf-8")
        # A process namespace of its own, so that switching off ends every process on it; and all ends with this one.
        command = [
            *("setpriv", "--pdeathsig", "KILL", "--", "nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"),
            *("unshare", "--pid", "--fork", "--kill-child=KILL", "--"),
            *(_SSHD, "-D", "-e", "-f", "/etc/edgewright-test/sshd_config"),
        ]
        with (self.folder / "sshd.log").open("ab") as log:
            self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        wait_until(lambda: listens(self.port) or self._server is None or self._server.poll() is not None)
        assert self._server.poll() is None, (self.folder / "sshd.log").read_text(encoding="utf-8")
        return self

    def power_off(self) -> None:
        """Ends everything on the board at once, as pulling the plug does."""
        if self._server is not None:
            self._server.kill()
            self._server.wait(10)
            self._server = None
            wait_until(lambda: not listens(self.port))

    def inside(self, argv: Sequence[str]) -> str:
        """Runs a command on the board by the back door, as root."""
        assert self._holder is not None
        command = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--", *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def changed(self) -> dict[str, str]:
        """Everything that was ever written, as path to kind, mode, owner, size, time and where a link points."""
        rows = self.inside(["find", "/run/upper", "-mindepth", "2", "-printf", r"%P\t%y %m %U:%G %s %T@ %l\n"])
        return {f"/{path}": about for path, _, about in (row.partition("\t") for row in rows.splitlines())}

    def new_host_key(self) -> None:
        """Sets the board up anew, for whoever knows its old key; it must be switched on again."""
        self.inside(
            [
                "sh",
                "-c",
                "rm /etc/edgewright-test/host_key*; ssh-keygen -q -t ed25519 -N '' -f /etc/edgewright-test/host_key",
            ]
        )

    def old_host_key(self) -> None:
        """Takes that back."""
        assert self._holder is not None
        for name in ("host_key", "host_key.pub"):
            data = (self.folder / "server" / name).read_text(encoding="utf-8")
            self.inside(["sh", "-c", 'umask 077; printf %s "$1" > "$2"', "sh", data, f"/etc/edgewright-test/{name}"])

    def close(self) -> None:
        self.power_off()
        if self._holder is not None:
            assert self._holder.stdin is not None
            assert self._holder.stdout is not None
            self._holder.stdin.close()
            self._holder.stdout.close()
            self._holder.wait(10)
            self._holder = None

    def __enter__(self) -> SshBoard:  # noqa: PYI034 - Self needs Python 3.11
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _config(self) -> str:
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            "HostKey /etc/edgewright-test/host_key",
            "AuthorizedKeysFile /etc/edgewright-test/authorized_keys",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "UseDNS no",
            "MaxStartups 100",
        ]
        # The Python that these tests run on is the board's, so that its wheels fit. As on Debian, only root finds what
        # is for administrators.
        python, users, more = f"{sys.base_prefix}/bin", "/usr/local/bin:/usr/bin:/bin:/usr/games", "/usr/sbin:/sbin"
        paths = [
            "Match User root",
            f"SetEnv PATH={python}:{more}:{users}",
            "Match User *,!root",
            f"SetEnv PATH={python}:{users}",
        ]
        newer = [*lines, "PerSourcePenalties no"]  # from 9.8 on a refused user would lock all of 127.0.0.1 out
        probe = self.folder / "client/probe_config"
        probe.write_text("\n".join([f"HostKey {self.folder}/server/host_key", "PerSourcePenalties no"]) + "\n")
        Path("/run/sshd").mkdir(parents=True, exist_ok=True)
        known = subprocess.run([_SSHD, "-t", "-f", str(probe)], capture_output=True, check=False).returncode == 0
        return "\n".join([*(newer if known else lines), *paths]) + "\n"


def _new_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)
