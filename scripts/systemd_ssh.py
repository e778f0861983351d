"""The container of scripts/systemd that is reached over SSH alone, as a board is, and what can be seen of it.

The workstation is this machine: ``edgewright`` runs outside and connects to a port here, from which a relay leads into
the container's network. The relay breaks the link, or cuts the board's power, after so many bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from systemd_container import PYTHON, ROOT, kept_wheels, step
from systemd_stage import RTSP_PORT, Stage, put, until

sys.path.insert(0, str(ROOT / "tests/support"))
from bundles import detector_parts, write_detector
from fault_proxy import FaultProxy
from wheels import empty_wheel

from edgewright.bundle.golden import read_golden, write_golden
from edgewright.bundle.writer import write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from systemd_stage import Told

USER, ALIAS = "board", "edgewright-board"
COMMAND_S = 500.0
CURRENT, ACTIVE = "opt/edgewright/current", "var/lib/edgewright/bundles/active"
_NETWORK = 0x40000000
# What a running Debian writes by itself: the log, who logged in, its random seed, its clock and its timers. Of the files
# of accounts the copies with a dash hold what was before the last change.
LIVING = (
    "/var/log/",
    "/var/lib/systemd/",
    "/var/tmp/systemd-private-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/group-",
    "/etc/gshadow-",
)
_FOREIGN = ("/proc", "/sys", "/dev", "/run", "/tmp")  # other file systems are mounted there
_HASHED = 1 << 20


class Door(FaultProxy):
    """From a port of this machine to the SSH server in a container's network, which is a namespace of its own."""

    def __init__(self, leader: int, on_cut: Callable[[], object] = lambda: None) -> None:
        self._leader = leader
        super().__init__(22, on_cut)

    def _accept(self) -> None:
        # A network namespace is entered by a thread; only this one, and those it starts, go through.
        with Path(f"/proc/{self._leader}/ns/net").open("rb") as place:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(place.fileno(), _NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
        super()._accept()


@dataclass(frozen=True)
class Ended:
    """How an ``edgewright`` command ended.

    Attributes:
        code: Its exit status.
        said: The JSON object that it printed; empty when none.
        err: What it wrote to standard error.
    """

    code: int
    said: dict[str, Any] = field(default_factory=dict)
    err: str = ""

    @property
    def words(self) -> str:
        """Status, and the error or what each step came to."""
        steps = "; ".join(f"{row['step']} {row['state']}" for row in self.said.get("steps", ()))
        found = self.said.get("findings", ())
        broken = "; ".join(row["text"] for row in found if row["state"] in {"bad", "missing"})
        words = self.said.get("error") or self.err.strip()[-300:] or steps or broken or f"{len(found)} findings"
        return " ".join(f"status {self.code}: {words}".split())[:600]


class SshStage(Stage):
    """The container, the user who may log in and use sudo, two wheelhouses and two bundles."""

    def __init__(self, profile: str, told: Told, kept: Path, work: Path, stack: contextlib.ExitStack) -> None:
        """Makes all of it; nothing is booted yet."""
        super().__init__(told, kept, work, stack)
        self.before: tuple[dict[str, str], dict[str, list[str]], set[str]] = ({}, {}, set())
        self.old = self.new = ("", "")
        self._profile = profile
        self._key = work / "key"
        self._let_in()
        index = kept_wheels(kept)
        new = empty_wheel(work, "edgewright-proof", "1.0")
        self.houses = {
            "old": self._wheelhouse(index, "old"),
            "new": self._wheelhouse(index, "new", "--wheel", str(new)),
        }
        self.bundles = {"old": write_detector(work / "old.edge"), "new": write_detector(work / "new.edge", frames=3)}

    def _let_in(self) -> None:
        step("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "proof", "-f", str(self._key))
        # The password "*" is none, and no lock either.
        step("chroot", str(self.root), "useradd", "--create-home", "--shell", "/bin/sh", "--password", "*", USER)
        home = self.root / "home" / USER
        put(home / ".ssh/authorized_keys", self._key.with_suffix(".pub").read_text(encoding="utf-8"))
        step("chroot", str(self.root), "chown", "-R", f"{USER}:{USER}", f"/home/{USER}/.ssh")
        put(self.root / "etc/hostname", f"{USER}\n")
        put(self.root / "etc/hosts", f"127.0.0.1 localhost {USER}\n")
        put(self.root / "etc/sudoers.d/board", f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
        (self.root / "etc/sudoers.d/board").chmod(0o440)
        host_key = (self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="utf-8").split()[:2]
        put(self.work / "known_hosts", f"{ALIAS} {' '.join(host_key)}\n")

    def _wheelhouse(self, index: Path, name: str, *more: str) -> Path:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
        folder = self.work / f"wheels-{name}"
        words = ["wheelhouse", str(folder), "--profile", self._profile, "--python", PYTHON, "--extras", "onnx", *more]
        step(*_EDGEWRIGHT, *words, env={**clean, **offline})
        return folder

    # The workstation.

    def door(self, on_cut: Callable[[], object] = lambda: None) -> Door:
        """The way to the SSH server, as long as it is open."""
        return Door(self.container.leader, on_cut)

    def deploy(self, door: FaultProxy, version: str, *more: str) -> Ended:
        """``edgewright deploy`` of one of the two versions."""
        process = self.start_deploy(door, version, *more)
        return self.ended(process)

    def start_deploy(self, door: FaultProxy, version: str, *more: str) -> subprocess.Popen[str]:
        """The same, on its way."""
        words = ["--profile", self._profile, "--wheelhouse", str(self.houses[version])]
        words += ["--source", f"rtsp://127.0.0.1:{RTSP_PORT}/cam", "--json", *more]
        return self.start("deploy", *self._there(door, self.bundles[version]), *words)

    def uninstall(self, door: FaultProxy, *more: str) -> Ended:
        """``edgewright deploy --uninstall``."""
        return self.ended(self.start("deploy", *self._there(door), "--uninstall", "--json", *more))

    def remote(self, door: FaultProxy, *words: str) -> Ended:
        """Another verb with ``--remote``."""
        return self.ended(self.start(*words, "--remote", *self._there(door), "--json"))

    def start(self, *words: str) -> subprocess.Popen[str]:
        """``edgewright WORDS``, outside of the container."""
        return subprocess.Popen(
            [*_EDGEWRIGHT, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_STATE_HOME": str(self.work / "state")},
        )

    def ended(self, process: subprocess.Popen[str]) -> Ended:
        """Waits for its end.

        Raises:
            TimeoutError: It takes too long, and was ended.
        """
        try:
            out, err = process.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise TimeoutError(f"edgewright did not end within {COMMAND_S:g} s") from error
        try:
            said = json.loads(out)
        except ValueError:
            said = {}
        return Ended(process.returncode, said if isinstance(said, dict) else {}, err)

    def _there(self, door: FaultProxy, *bundle: Path) -> list[str]:
        options = (
            f"UserKnownHostsFile={self.work / 'known_hosts'}",
            "GlobalKnownHostsFile=/dev/null",
            f"HostKeyAlias={ALIAS}",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
        )
        settings = [word for option in options for word in ("--ssh-option", option)]
        return [
            f"{USER}@127.0.0.1",
            *map(str, bundle),
            "--port",
            str(door.port),
            "--identity",
            str(self._key),
            *settings,
        ]

    # What is seen from the board's own side.

    def boot(self) -> None:
        """Switches it on, and waits until it can be reached over SSH."""
        super().boot()
        until(lambda: self.control("is-active", "ssh") == "active", 60)

    def link(self, name: str) -> str:
        """Where a link on its disk points to; empty where there is none."""
        place = self.root / name
        return str(place.readlink()) if place.is_symlink() else ""

    def in_use(self) -> tuple[str, str]:
        """The release and the bundle that the links name."""
        return self.link(CURRENT), self.link(ACTIVE)

    def accounts(self) -> dict[str, list[str]]:
        """Users and groups as the board itself sees them."""
        names = ("passwd", "group", "shadow", "gshadow")
        return {name: self.container.run("getent", name).stdout.splitlines() for name in names}

    def seen(self) -> tuple[dict[str, str], dict[str, list[str]], set[str]]:
        """All of the board: its disk, its accounts, its memory."""
        return self.changed(times=False), self.accounts(), self.elsewhere()

    def changed(self, *, times: bool) -> dict[str, str]:
        """Every file on its disk, see ``listing``."""
        return listing(self.root, times=times)

    def elsewhere(self) -> set[str]:
        """What lies on the file systems in its memory, and what its systemd knows of us."""
        private = ["-not", "-path", "*/systemd-private-*"]
        found = self.container.run("find", "/tmp", "/dev/shm", "-mindepth", "1", *private).stdout
        found += self.container.run("find", "/run", "-iname", "*edgewright*").stdout
        found += self.container.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "edgewright*").stdout
        return set(found.splitlines())


_EDGEWRIGHT = (sys.executable, "-m", "edgewright.cli.main")


def write_off(target: Path) -> Path:
    """The tiny detector with golden answers that it does not give."""
    manifest, files = detector_parts()
    golden = read_golden(files["golden.npz"])
    answers = {
        variant: [{name: value + 0.5 * (name == "scores") for name, value in row.items()} for row in rows]
        for variant, rows in golden.outputs.items()
    }
    write_bundle(target, manifest, {**files, "golden.npz": write_golden(golden.frames, answers)})
    return target


def listing(root: Path, *, times: bool) -> dict[str, str]:
    """Every file below ``root`` but what lives by itself: path to what can be seen of it.

    Args:
        root: Where the disk lies here.
        times: Whether the time of the last change counts, for what must not even be written again.
    """
    rows: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        inside = folder.removeprefix(str(root))
        folders[:] = [name for name in folders if f"{inside}/{name}" not in _FOREIGN]
        for name in [*folders, *files]:
            with contextlib.suppress(FileNotFoundError):  # removed just now
                rows[f"{inside}/{name}"] = _about(Path(folder, name), times=times)
    return {path: about for path, about in rows.items() if not path.startswith(LIVING)}


def _about(path: Path, *, times: bool) -> str:
    seen = path.lstat()
    words = [stat.filemode(seen.st_mode), f"{seen.st_uid}:{seen.st_gid}"]
    if stat.S_ISLNK(seen.st_mode):
        words.append(str(path.readlink()))
    elif stat.S_ISREG(seen.st_mode):
        words.append(str(seen.st_size))
        if seen.st_size <= _HASHED:
            words.append(hashlib.sha256(path.read_bytes()).hexdigest())
        words += [str(seen.st_mtime_ns)] if times or seen.st_size > _HASHED else []
    return " ".join(words)
