"""What a board is, asked in one question, and whether edgewright can live there: reading first, judging after.

``read_facts`` does the asking, with a shell script that changes nothing. ``why_not`` judges what came back and has no
other input, so every bad board can be tested without one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgewright.deploy.board import Board

__all__ = ["Facts", "Place", "Python", "Wanted", "read_facts", "why_not"]

_SCRIPT = r"""
say() { printf '%s=%s\n' "$1" "$(printf %s "$2" | tr '\n\r' '  ' | cut -c1-300)"; }
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
command -v useradd >/dev/null 2>&1 && say useradd yes
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
for place in "$@"; do
    near=$place
    while [ ! -d "$near" ]; do near=$(dirname "$near"); done
    row=$(df -Pk "$near" 2>/dev/null | tail -n 1)
    mount=$(printf %s "$row" | awk '{ print $6 }')
    say place "$(printf %s "$row" | awk '{ print $4 }') $(awk -v m="$mount" '$2 == m { o = $3 " " $4 } END { print o }' \
        /proc/mounts) $mount"
done
"""
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})")
_SUPPORTED = ((3, 10), (3, 13))
_MIB = 1 << 20
# The service runs as another user, who cannot look into these, and its unit hides them.
_PRIVATE = ("/home/", "/root/", "/run/user/", "/tmp/")  # noqa: S108 - named to be refused


@dataclass(frozen=True)
class Python:
    """An interpreter of the board.

    Attributes:
        path: Where it lies.
        version: Such as ``3.11.2``.
        bits: Of a pointer.
        makes_environments: Whether it has the modules ``venv`` and ``ensurepip``.
        base: The folder that it was installed to, which a link or an environment may hide; empty when unknown.
    """

    path: str
    version: str
    bits: int
    makes_environments: bool
    base: str = ""

    @property
    def short(self) -> str:
        """Such as ``3.11``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def fits(self) -> bool:
        """Whether edgewright runs on it."""
        match = _VERSION.match(self.version)
        return match is not None and _SUPPORTED[0] <= (int(match[1]), int(match[2])) <= _SUPPORTED[1]

    @property
    def private(self) -> str | None:
        """Where it lies when that is a place of one user's, or one that is emptied at times; None when it is not."""
        seen = (f"{place}/" for place in (self.path, self.base))
        return next((place.rstrip("/") for place in seen if place.startswith(_PRIVATE)), None)


@dataclass(frozen=True)
class Place:
    """A file system that something is to be written to.

    Attributes:
        free_bytes: Room in it.
        kind: Such as ``ext4``.
        options: Of its mount.
        mount: Where it is mounted.
    """

    free_bytes: int
    kind: str
    options: tuple[str, ...]
    mount: str


@dataclass(frozen=True)
class Facts:
    """What the board said of itself; what it did not say is empty or 0.

    Attributes:
        values: Answers by name, as the script gives them.
        pythons: Interpreters, the system's own first.
        places: Where releases and where data go, in that order.
        skew_s: How far its clock is ahead of this machine's.
    """

    values: dict[str, str] = field(default_factory=dict)
    pythons: tuple[Python, ...] = ()
    places: tuple[Place, ...] = ()
    skew_s: float = 0.0

    @property
    def machine(self) -> str:
        """As ``uname -m`` says."""
        return self.values.get("machine", "")

    @property
    def is_root(self) -> bool:
        """Whether commands run as the superuser anyway."""
        return self.values.get("user") == "0"

    @property
    def has_systemd(self) -> bool:
        """Whether systemd runs the services."""
        return self.values.get("systemd") == "yes"

    @property
    def python(self) -> Python | None:
        """The interpreter that releases are made with: the system's own where it fits."""
        fitting = [each for each in self.pythons if each.fits and each.bits == 64]
        fitting.sort(key=lambda each: each.private is not None)
        return next((each for each in fitting if each.makes_environments), fitting[0] if fitting else None)

    def __str__(self) -> str:
        """On one line."""
        python = self.python
        free = min((place.free_bytes for place in self.places), default=0)
        parts = [
            self.machine,
            self.values.get("os", ""),
            "" if python is None else f"Python {python.version}",
            self.values.get("libc", ""),
            f"{free / 1e9:.1f} GB free",
            "systemd" if self.has_systemd else "no systemd",
        ]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Wanted:
    """What the board must offer.

    Attributes:
        architecture: The profile's; None for any that edgewright runs on.
        profile: Its name, for messages.
        glibc: The oldest that the wheels take.
        python: The version that the wheels are for; None for any.
        needed_bytes: Room for the release and for the data, in that order.
        service: Whether a systemd service is to be set up.
        root: Whether the superuser's rights are needed.
        new_environment: Whether an environment is made there.
        longest_skew_s: How far the clock may be off.
    """

    architecture: str | None
    profile: str
    glibc: str = "2.27"
    python: str | None = None
    needed_bytes: tuple[int, int] = (0, 0)
    service: bool = True
    root: bool = True
    new_environment: bool = True
    longest_skew_s: float = 300.0

    def without_room(self) -> Wanted:
        """The same for a board where the release lies already."""
        return replace(self, needed_bytes=(0, self.needed_bytes[1]))


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
    before = now()
    done = board.host.run(["sh", "-c", _SCRIPT, "sh", *places])
    after = now()
    rows = [line.partition("=") for line in done.out.splitlines() if "=" in line][:100]
    values = {key: brief(value) for key, _, value in rows}
    if values.get("system") != "Linux":
        seen = values.get("system") or brief(done.err) or brief(done.out) or "nothing"
        msg = f"{board.name} is no Linux system (it said: {seen}); edgewright runs on 64-bit Linux boards"
        raise DeployError(msg)
    clock = values.get("clock", "")
    skew = float(clock) - (before + after) / 2 if _is_number(clock) else 0.0
    pythons = [_python(value) for key, _, value in rows if key == "python"]
    mounts = [_place(value) for key, _, value in rows if key == "place"]
    return Facts(
        values,
        tuple(python for python in pythons if python is not None),
        tuple(place for place in mounts if place is not None),
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


def why_not(name: str, facts: Facts, wanted: Wanted) -> tuple[str, ...]:
    """Why edgewright cannot be installed there: one sentence with a remedy for each reason; empty when it can.

    Args:
        name: How messages call the board.
        facts: What it said.
        wanted: What it must offer.
    """
    checks: Sequence[Callable[[Facts, Wanted], str | None]] = (
        _architecture,
        _word_size,
        _libc,
        _pythons,
        _rights,
        _rooms,
        _services,
        _clock,
    )
    found = (check(facts, wanted) for check in checks)
    reasons = [reason for reason in found if reason is not None]
    # For another processor, or other programs, the rest does not matter.
    hopeless = _architecture(facts, wanted) or _word_size(facts, wanted)
    return tuple(f"{name}: {reason}" for reason in (reasons[:1] if hopeless else reasons))


def _architecture(facts: Facts, wanted: Wanted) -> str | None:
    machine = facts.machine
    if machine.startswith(("armv6", "armv7", "i386", "i686")):
        return (
            f"its system is a 32-bit one ({machine}), for which there are no wheels; write the 64-bit image of its "
            f"operating system to the card"
        )
    if wanted.architecture is not None and machine != wanted.architecture:
        return (
            f"its processor is of kind {machine or 'unknown'}, the profile {wanted.profile} is for "
            f"{wanted.architecture}; name the profile of this board, see 'edgewright profiles list'"
        )
    if machine not in {"aarch64", "x86_64"}:
        return f"its processor is of kind {machine or 'unknown'}; edgewright runs on aarch64 and x86_64"
    return None


def _word_size(facts: Facts, wanted: Wanted) -> str | None:
    del wanted
    bits = facts.values.get("bits", "")
    narrow = bool(facts.pythons) and all(python.bits != 64 for python in facts.pythons)
    if bits == "32" or narrow:
        return (
            f"its kernel is {facts.machine}, but its programs are 32-bit ones, for which there are no wheels; write the "
            f"64-bit image of its operating system to the card"
        )
    return None


def _libc(facts: Facts, wanted: Wanted) -> str | None:
    text = facts.values.get("libc", "")
    match = _VERSION.search(text)
    if not text.startswith("glibc") or match is None:
        return f"its C library is {text or 'not glibc'} and wheels need glibc; use a Debian or Ubuntu based image"
    least = _VERSION.match(wanted.glibc)
    if least is not None and (int(match[1]), int(match[2])) < (int(least[1]), int(least[2])):
        return (
            f"its C library is {text}, the wheels need {wanted.glibc} or newer; update its operating system (Raspberry "
            f"Pi OS 12, JetPack 6 and Ubuntu 22.04 are new enough)"
        )
    return None


def _pythons(facts: Facts, wanted: Wanted) -> str | None:
    if not facts.pythons:
        return "it has no python3; install it there: sudo apt install python3 python3-venv"
    python = facts.python
    if python is None:
        seen = ", ".join(dict.fromkeys(each.version for each in facts.pythons))
        return (
            f"its Python is {seen}, edgewright needs 3.10 to 3.13; update its operating system, or install such a Python "
            f"beside it (sudo apt install python3.11 python3.11-venv)"
        )
    if wanted.python is not None and python.short != wanted.python:
        return (
            f"its Python is {python.version}, the wheelhouse is for {wanted.python}; make one for it: edgewright "
            f"wheelhouse --profile {wanted.profile} --python {python.short} -o wheels-{python.short}"
        )
    if wanted.new_environment and not python.makes_environments:
        return (
            f"its Python {python.version} cannot make environments, the module venv is not installed; on the board: sudo "
            f"apt install python{python.short}-venv"
        )
    if wanted.new_environment and wanted.service and python.private is not None:
        return (
            f"its Python {python.version} lies in {python.private}, where the service's user cannot reach it; install one "
            f"for all users: sudo apt install python3 python3-venv"
        )
    return None


def _rights(facts: Facts, wanted: Wanted) -> str | None:
    if not wanted.root or facts.is_root or facts.values.get("sudo_free") == "yes":
        return None
    if facts.values.get("sudo") != "yes":
        return (
            "you are not root there and it has no sudo; log in as root, or install sudo and allow this user to use it"
        )
    return (
        "sudo asks for a password there, and nobody is here to type it; allow this user sudo without one for the time of "
        "the installation (a line 'NAME ALL=(ALL) NOPASSWD: ALL' by visudo -f /etc/sudoers.d/edgewright), or log in as "
        "root"
    )


def _rooms(facts: Facts, wanted: Wanted) -> str | None:
    if len(facts.places) != 2:
        return "it does not tell how much room its disk has; see that df and awk work there"
    for place in facts.places:
        if "ro" in place.options:
            return (
                f"{place.mount} is mounted read-only; mount it writable (sudo mount -o remount,rw {place.mount}), or switch "
                f"the overlay off in raspi-config; when it became so by itself, the card is failing"
            )
    release, data = wanted.needed_bytes
    # One file system carries both.
    needs: dict[str, list[int]] = {}
    for place, need in zip(facts.places, (release, data), strict=True):
        seen = needs.setdefault(place.mount, [place.free_bytes, 0])
        seen[1] += need
    for mount, (free, need) in needs.items():
        if free < need:
            return (
                f"{mount} has {free / _MIB:.0f} MiB free, {need / _MIB:.0f} MiB are needed; make room there (sudo apt clean, "
                f"old logs: sudo journalctl --vacuum-size=50M)"
            )
    return None


def _services(facts: Facts, wanted: Wanted) -> str | None:
    if wanted.service and not facts.has_systemd:
        return (
            "systemd does not run there, so nothing can start the service; say --service none and start it by what that "
            "board has"
        )
    if wanted.service and facts.values.get("useradd") != "yes":
        return "it has no useradd to make the service's user with; install it there: sudo apt install passwd"
    return None


def _clock(facts: Facts, wanted: Wanted) -> str | None:
    if abs(facts.skew_s) <= wanted.longest_skew_s:
        return None
    where = "ahead of" if facts.skew_s > 0 else "behind"
    return (
        f"its clock is {abs(facts.skew_s):.0f} s {where} this machine's, so events would carry wrong times and certificates "
        f"fail; switch time keeping on there (sudo timedatectl set-ntp true), wait for it, and run this again"
    )
