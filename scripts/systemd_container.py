"""A container with its own systemd, for scripts/systemd: its root, its boot, its sudden end."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = "systemd,dbus,python3,python3-venv,openssh-server,sudo"
TOOLS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
}
PYTHON, GLIBC = "3.11", "2.36"  # of Debian 12
BOOT_S = 90
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")  # whatever ends the script
ENVIRONMENT = "/opt/venv"


class Unavailable(Exception):  # noqa: N818 - the state of this machine, not of the program
    """Something that the proof needs is not to be had; the text says what."""


def need_tools() -> None:
    """Installs what is missing with apt-get.

    Raises:
        Unavailable: It is still missing.
    """
    if os.geteuid() != 0:
        raise Unavailable("a container is booted by root; run this with sudo")
    wanted = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if wanted and shutil.which("apt-get"):
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *wanted]):
            quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(["apt-get", *command], check=False, capture_output=True, env=quiet)
    still = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if still:
        raise Unavailable(f"these Debian packages are needed: {' '.join(still)}")


@contextlib.contextmanager
def alone(cache: Path) -> Iterator[None]:
    """One container at a time: two would share a control group. A second run waits."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "systemd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kept_root(cache: Path) -> Path:
    """A Debian root with systemd, an SSH server and everything that the device half depends on; for who is ``alone``.

    It is made once and never booted. Beside it lie the wheels that were installed there, see ``kept_wheels``.
    """
    needs = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[dependency-groups]")[0]
    key = hashlib.sha256(f"{PACKAGES}\n{PYTHON}\n{GLIBC}\n{ENVIRONMENT}\n{needs}".encode()).hexdigest()[:12]
    home = cache / f"systemd-root-{key}"
    if not (home.is_dir() and kept_wheels(home).is_dir()):
        shutil.rmtree(home, ignore_errors=True)
        part = cache / f"{home.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        print(f"making {home} (a few minutes, once)", file=sys.stderr, flush=True)
        step("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(part))
        _install_dependencies(part)
        shutil.rmtree(kept_wheels(home), ignore_errors=True)
        (part / "opt/wheels").rename(kept_wheels(home))
        part.rename(home)
    return home


def kept_wheels(home: Path) -> Path:
    """What stands for a package index, so that a wheelhouse for the root is made without a network."""
    return home.with_name(f"{home.name}.wheels")


def _install_dependencies(root: Path) -> None:
    from edgewright.device_profiles.wheels import wheel_platforms

    house = root / "opt/wheels"
    platforms = [f"--platform={name}" for name in wheel_platforms(os.uname().machine, GLIBC)]
    step(
        sys.executable, "-m", "pip", "download", "-q", "-d", str(house), "--only-binary=:all:", *platforms,
        f"--python-version={PYTHON}", "--implementation=cp", "-c", str(ROOT / "constraints.txt"), *_requirements(),
    )  # fmt: skip
    step("chroot", str(root), "python3", "-m", "venv", ENVIRONMENT)
    pip = ["chroot", str(root), f"{ENVIRONMENT}/bin/pip", "install", "-q", "--no-index", "--find-links=/opt/wheels"]
    step(*pip, *_requirements())


def _requirements() -> list[str]:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["onnx"]]
    return [line for line in wanted if "python_version" not in line]


def install_wheel(root: Path, scratch: Path) -> None:
    """Builds this project's wheel and installs it beside what it depends on."""
    step(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(scratch), str(ROOT))
    (wheel,) = scratch.glob("edgewright-*.whl")
    shutil.copy(wheel, root / "opt" / wheel.name)
    step(
        "chroot", str(root), f"{ENVIRONMENT}/bin/pip", "install", "-q", "--no-index", "--no-deps", f"/opt/{wheel.name}"
    )


def step(*command: str, env: dict[str, str] | None = None) -> str:
    """One command that must succeed; for what is done before anything boots.

    Raises:
        Unavailable: It did not; the last of what it said is in the text.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200, env=env)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-600:]
        raise Unavailable(f"{' '.join(command[:4])} ended with {done.returncode}: {said}")
    return done.stdout


class Container:
    """A root that can be booted, asked, and cut off from its power."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root = root
        self._log = log
        self._nspawn: subprocess.Popen[bytes] | None = None
        self.leader = 0

    def boot(self) -> None:
        """Boots it and waits until its systemd is done with it.

        Raises:
            Unavailable: It does not come up.
        """
        command = [
            *_ENDS_WITH_US,
            "systemd-nspawn",
            "-q",
            "-D",
            str(self.root),
            "--private-network",
            "--keep-unit",
            "--register=no",
        ]
        command += [
            "--capability=CAP_BPF",
            "--system-call-filter=bpf",
        ]  # systemd guards devices with small kernel programs
        # A board of today has one hierarchy of control groups, whatever this machine has.
        unified = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with self._log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                [*command, "--boot"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=unified
            )
        pid = self._nspawn.pid
        deadline = time.monotonic() + BOOT_S
        while time.monotonic() < deadline and self._nspawn.poll() is None:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
            self.leader = int(children[0]) if children else 0
            # "degraded" is up as well; "starting" waits for the service, whose start the checks judge.
            state = self.run("systemctl", "is-system-running").stdout.strip() if self.leader else ""
            if state in {"running", "degraded", "starting"}:
                return
            time.sleep(0.5)
        raise Unavailable(f"the container did not boot: {self._log.read_text(errors='replace')[-600:]}")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """One command inside."""
        inside = ["nsenter", "-t", str(self.leader), "-a", "--", *command]
        return subprocess.run(inside, capture_output=True, text=True, check=False, timeout=200)

    def outside(self, pid: int) -> int:
        """What this machine calls a process of the container."""
        space = Path(f"/proc/{self.leader}/ns/pid").readlink()
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                rows = dict(
                    line.split(":", 1) for line in status.read_text(encoding="ascii", errors="replace").splitlines()
                )
                if int(rows["NSpid"].split()[-1]) == pid and status.with_name("ns").joinpath("pid").readlink() == space:
                    return int(status.parent.name)
        raise ProcessLookupError(f"no process {pid} in the container")

    @property
    def is_up(self) -> bool:
        """Whether it has power."""
        return self._nspawn is not None and self._nspawn.poll() is None

    def beside(self, *command: str, output: Path) -> subprocess.Popen[bytes]:
        """A program of this machine that sees the container's network."""
        with output.open("ab") as file:
            return subprocess.Popen(
                [*_ENDS_WITH_US, "nsenter", "-t", str(self.leader), "-n", "--", *command],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=ROOT,
            )  # fmt: skip

    def cut_power(self) -> None:
        """Ends all of its processes at once: the kernel kills a PID namespace whose first process is killed."""
        nspawn, self._nspawn = self._nspawn, None
        if nspawn is None:
            return
        if self.leader and nspawn.poll() is None:
            os.kill(self.leader, signal.SIGKILL)
        else:
            nspawn.kill()
        nspawn.wait(timeout=30)
        self.leader = 0
