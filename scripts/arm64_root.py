"""An aarch64 system in a folder, and commands in it under user-mode emulation; used by ``scripts/arm64``.

The packages of a small Debian 12 are unpacked, never configured: enough for Python and the wheels, the same system
libraries as Raspberry Pi OS of that year. qemu translates the instructions, proot makes the folder look like the root of a
system. Neither needs root, a mount or a registered binary format, so nothing is left behind when a run is killed.

What the emulated programs see of the processor is written here, too: libraries read ``/proc/cpuinfo`` and
``/sys/devices/system/cpu`` to choose their kernels. Shown the host's files they crash; shown none they choose the plainest
kernels, and TFLite runs without XNNPACK. So each emulated processor gets the files that its board has.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["CPUS", "Child", "Cpu", "Failed", "System", "ensure_tools", "make_system", "run", "user_cache", "wheel_of"]

REPOSITORY = Path(__file__).resolve().parent.parent
SUITE, PYTHON, GLIBC = "bookworm", "3.11", "2.36"
PACKAGES = ("python3", "python3-minimal", "libpython3.11-stdlib")
SITE = Path(f"usr/local/lib/python{PYTHON}/dist-packages")
EXTRAS = ("onnx", "tflite")
# The same engines here and there, or a difference would say nothing of the processor.
SAME_VERSION = ("numpy", "opencv-python-headless", "onnxruntime", "ai-edge-litert", "paho-mqtt", "flatbuffers")
TOOLS = {
    "qemu-aarch64-static": "qemu-user-static",
    "proot": "proot",
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    "gpgv": "gpgv",
    "setpriv": "util-linux",
    "mosquitto": "mosquitto",
}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
RECIPE = "1"
APT_TIMEOUT_S, ROOT_TIMEOUT_S, PIP_TIMEOUT_S = 600, 900, 900
LAST_WORDS = 600


class Failed(Exception):  # noqa: N818 - it is the answer of a step, told to the user
    """A step cannot be done here, in words."""


@dataclass(frozen=True)
class Cpu:
    """A processor as its board shows it.

    Attributes:
        name: As qemu calls it.
        part: ``CPU part`` of Arm's own designs.
        board: Where it is found.
        features: As in ``/proc/cpuinfo``.
    """

    name: str
    part: str
    board: str
    features: str

    def cpuinfo(self, cores: int) -> str:
        """Its ``/proc/cpuinfo``."""
        rows = (
            f"processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {self.part}\nCPU revision\t: 3\n\n"
            for core in range(cores)
        )
        return "".join(rows)


CPUS = {
    "cortex-a72": Cpu("cortex-a72", "0xd08", "Raspberry Pi 4", "fp asimd evtstrm crc32 cpuid"),
    "cortex-a76": Cpu(
        "cortex-a76",
        "0xd0b",
        "Raspberry Pi 5",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
}


@dataclass(frozen=True)
class Done:
    """How a command ended.

    Attributes:
        code: Exit code; negative for a signal.
        out: Its standard output.
        err: Its standard error.
    """

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """The last of what it said."""
        return (self.err.strip() or self.out.strip())[-LAST_WORDS:]


class Child:
    """A process with all that it starts, ended together with this script whatever becomes of it."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        out: int | None = subprocess.PIPE,
        cwd: Path | None = None,
    ) -> None:
        """Starts it in a process group of its own."""
        self._log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [*guarded(), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=errors if out is None else out,
                stderr=errors,
                start_new_session=True,
                env=None if env is None else dict(env),
                cwd=cwd,
                text=True,
                errors="replace",
            )

    @property
    def said(self) -> str:
        """Its standard error so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """Ends the whole group, at once."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Child:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def guarded() -> list[str]:
    """What lets a child die with its parent, even where the parent is killed."""
    found = shutil.which("setpriv")
    return [found, "--pdeathsig", "KILL"] if found else []


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Done:
    """Runs a command to its end.

    Raises:
        Failed: It took too long, or is not there.
    """
    with tempfile.TemporaryDirectory(prefix="edgewright-arm64-") as name:
        try:
            with Child(command, log=Path(name) / "err", env=env, cwd=cwd) as child:
                out, _ = child.process.communicate(timeout=timeout_s)
                return Done(child.process.returncode, out, child.said)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{' '.join(map(str, command[:6]))} ... took longer than {timeout_s:.0f} s") from error
        except FileNotFoundError as error:
            raise Failed(f"{command[0]} is not installed") from error


def must(command: Sequence[str | Path], what: str, *, timeout_s: float, cwd: Path | None = None) -> Done:
    """Runs a command that has to succeed.

    Raises:
        Failed: It does not.
    """
    done = run(command, timeout_s=timeout_s, cwd=cwd)
    if done.code:
        raise Failed(f"{what}: {command[0]} ended with {done.code}: {done.words}")
    return done


def user_cache() -> Path:
    """The project's folder for what can be made again."""
    told = os.environ.get("XDG_CACHE_HOME")
    return (Path(told) if told else Path.home() / ".cache") / "edgewright"


def ensure_tools(say: Callable[[str], None]) -> None:
    """Installs what is missing by apt, as root.

    Raises:
        Failed: It cannot be.
    """
    missing = sorted({package for tool, package in TOOLS.items() if _tool(tool) is None})
    if not KEYRING.is_file():
        missing.append("debian-archive-keyring")
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Failed(
            f"these packages are needed; as root: apt-get install -y --no-install-recommends {' '.join(missing)}"
        )
    say(f"installing {', '.join(missing)}")
    must(["apt-get", "update", "-qq"], "refreshing the package lists", timeout_s=APT_TIMEOUT_S)
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends"]
    must([*quiet, *missing], "installing packages", timeout_s=APT_TIMEOUT_S)


def _tool(name: str) -> str | None:
    # A user's PATH often lacks the folders of what administrators run.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def tool(name: str) -> str:
    """Where a program is.

    Raises:
        Failed: Nowhere.
    """
    found = _tool(name)
    if found is None:
        raise Failed(f"{name} is not installed")
    return found


@dataclass(frozen=True)
class System:
    """The unpacked root.

    Attributes:
        root: Its folder.
        megabytes: What it takes.
    """

    root: Path
    megabytes: float

    def command(self, cpu: Cpu, work: Path, words: Sequence[str]) -> list[str]:
        """A command line that runs ``words`` there; ``work`` is seen as ``/work``."""
        cpuinfo = work / f"cpuinfo-{cpu.name}"
        cpuinfo.write_text(cpu.cpuinfo(_cores()), encoding="utf-8")
        pairs = {Path("/dev"): "/dev", Path("/proc"): "/proc", cpuinfo: "/proc/cpuinfo", work: "/work"}
        bound = [word for host, guest in pairs.items() for word in ("-b", f"{host}:{guest}")]
        return [tool("proot"), "-q", tool("qemu-aarch64-static"), "-r", str(self.root), *bound, "-w", "/work", *words]

    def environment(self, cpu: Cpu) -> dict[str, str]:
        """The variables of an emulated process; nothing of the host's own."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": "/work",
            "LANG": "C.UTF-8",
            "QEMU_CPU": cpu.name,
            "EDGEWRIGHT_EMULATED": f"qemu-user:{cpu.name}",
        }


def _cores() -> int:
    return os.cpu_count() or 1


def wheel_of(folder: Path, say: Callable[[str], None]) -> Path:
    """This project's wheel, built from the working tree.

    Raises:
        Failed: It cannot be built.
    """
    say("building the wheel of this project from the working tree")
    own = importlib.util.find_spec("hatchling") is not None
    words = ["--no-deps", "-q", "--disable-pip-version-check", *(["--no-build-isolation"] if own else [])]
    pip = [sys.executable, "-m", "pip", "wheel", *words, "-w", str(folder), str(REPOSITORY)]
    must(pip, "building the wheel", timeout_s=PIP_TIMEOUT_S, cwd=folder)
    return next(folder.glob("edgewright-*.whl"))


def requirements_of(wheel: Path) -> list[str]:
    """What the wheel asks for, as its metadata says."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return re.findall(r"^Requires-Dist: (.+)$", archive.read(name).decode("utf-8"), re.MULTILINE)


def pins(installed: Callable[[str], str] = importlib.metadata.version) -> list[str]:
    """The versions that this machine has of what both sides compute with."""
    here = {dist.metadata["Name"] for dist in importlib.metadata.distributions()}
    return [f"{name}=={installed(name)}" for name in SAME_VERSION if name in here]


@contextmanager
def make_system(cache: Path, wheel: Path, *, fresh: bool, say: Callable[[str], None]) -> Iterator[System]:
    """The root with this wheel in it, for this script alone while it lasts.

    Raises:
        Failed: It cannot be made.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another scripts/arm64 to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        key = hashlib.sha256(" ".join((RECIPE, SUITE, *PACKAGES)).encode()).hexdigest()[:12]
        root = cache / f"root-{SUITE}-{key}"
        if fresh:
            shutil.rmtree(root, ignore_errors=True)
        if not (root / "complete").is_file():
            shutil.rmtree(root, ignore_errors=True)
            _unpack(root, cache, say)
        _install(root, wheel, say)
        megabytes = sum(path.lstat().st_size for path in root.rglob("*") if not path.is_symlink()) / 1e6
        yield System(root, megabytes)


def _unpack(root: Path, cache: Path, say: Callable[[str], None]) -> None:
    say(f"fetching the packages of Debian {SUITE} for arm64 (some 85 MB)")
    with tempfile.TemporaryDirectory(prefix="debs-", dir=cache) as folder:
        options = ["--download-only", "--arch=arm64", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        signed = [f"--keyring={KEYRING}", "--force-check-gpg"]
        # Nothing is installed, but the script insists on the folders of administrators.
        path = ["env", f"PATH={os.environ.get('PATH', '')}:/usr/sbin:/sbin"]
        command = [*path, tool("debootstrap"), *options, *signed, SUITE, folder]
        must(command, "fetching Debian packages", timeout_s=ROOT_TIMEOUT_S)
        debs = sorted(Path(folder).glob("var/cache/apt/archives/*.deb"))
        if not debs:
            raise Failed("debootstrap fetched no packages")
        say(f"unpacking {len(debs)} packages")
        root.mkdir(parents=True)
        for deb in debs:
            _unpack_one(deb, root)
    cpus = root / "sys/devices/system/cpu"
    cpus.mkdir(parents=True, exist_ok=True)
    for name in ("possible", "present", "online"):
        (cpus / name).write_text(f"0-{_cores() - 1}\n" if _cores() > 1 else "0\n", encoding="utf-8")
    for name in ("work", "dev", "proc"):
        (root / name).mkdir(exist_ok=True)
    (root / "complete").touch()


def _unpack_one(deb: Path, root: Path) -> None:
    with subprocess.Popen([tool("dpkg-deb"), "--fsys-tarfile", deb], stdout=subprocess.PIPE) as unpacked:
        words = ["--keep-directory-symlink", "--no-same-owner", "--exclude=./dev/*", "-C", str(root)]
        code = subprocess.run(["tar", "-x", *words], stdin=unpacked.stdout, check=False).returncode
    if code or unpacked.returncode:
        raise Failed(f"{deb.name} cannot be unpacked")


def _install(root: Path, wheel: Path, say: Callable[[str], None]) -> None:
    """The wheel, and what it needs where that is not there yet."""
    site, stamp = root / SITE, root / "wheels"
    wanted = "\n".join([*pins(), *requirements_of(wheel)])
    options = ["-q", "--disable-pip-version-check", "--no-warn-conflicts", "--only-binary=:all:", "--implementation=cp"]
    pip = [sys.executable, "-m", "pip", "install", *options, f"--python-version={PYTHON}", f"--target={site}"]
    pip += [f"--platform={name}" for name in platforms()]
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        say("installing the aarch64 wheels of the project and what it needs (some 90 MB the first time)")
        stamp.unlink(missing_ok=True)
        shutil.rmtree(site, ignore_errors=True)
        must([*pip, f"{wheel}[{','.join(EXTRAS)}]", *pins()], "installing aarch64 wheels", timeout_s=PIP_TIMEOUT_S)
        stamp.write_text(wanted, encoding="utf-8")
        return
    say("installing the project's wheel")
    for old in [site / "edgewright", *site.glob("edgewright-*.dist-info")]:
        shutil.rmtree(old, ignore_errors=True)
    must([*pip, "--upgrade", "--no-deps", wheel], "installing the wheel", timeout_s=PIP_TIMEOUT_S)


def platforms() -> list[str]:
    """Platform tags that such a system runs, newest first."""
    from edgewright.device_profiles.wheels import wheel_platforms

    return list(wheel_platforms("aarch64", GLIBC))


def host() -> str:
    """This machine's architecture, such as ``x86_64``."""
    return platform.machine()
