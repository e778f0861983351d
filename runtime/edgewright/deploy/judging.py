"""Whether edgewright can live on a board: judged from what it said, so that every bad board can be tested without one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.deploy.facts import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgewright.deploy.facts import Facts

__all__ = ["Wanted", "why_not", "why_not_removed"]

_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})")
_MIB = 1 << 20


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
        online: Whether pip chooses wheels by the machine that it runs on.
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
    online: bool = False


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
        _runs_here,
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
    hopeless = _architecture(facts, wanted) or _word_size(facts, wanted) or _runs_here(facts, wanted)
    return tuple(f"{name}: {reason}" for reason in (reasons[:1] if hopeless else reasons))


def why_not_removed(name: str, facts: Facts, *, root: bool) -> tuple[str, ...]:
    """Why it cannot be taken away from there; whatever else the board lacks, it needs no edgewright to lose one.

    Args:
        name: How messages call the board.
        facts: What it said.
        root: Whether that takes the superuser.
    """
    wanted = Wanted(None, "", service=False, root=root)
    reasons = (_rights(facts, wanted), _read_only(facts))
    return tuple(f"{name}: {reason}" for reason in reasons if reason is not None)


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


def _runs_here(facts: Facts, wanted: Wanted) -> str | None:
    """A root's programs are worked with from here."""
    del wanted
    here = facts.values.get("here", facts.machine)
    if here == facts.machine:
        return None
    return (
        f"its programs are for {facts.machine}, this machine is {here} and cannot prove there what the board will compute; "
        f"run 'edgewright install --root /' inside of it under emulation, or boot it and use 'edgewright deploy'"
    )


def _libc(facts: Facts, wanted: Wanted) -> str | None:
    text = facts.values.get("libc", "")
    if text == UNKNOWN and facts.is_folder:
        return None
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
    if facts.is_folder:
        return _pythons_of_root(facts, wanted)
    if not facts.pythons:
        return "it has no python3; install it there: sudo apt install python3 python3-venv"
    python = facts.python_for(wanted.python)
    if python is None:
        seen = ", ".join(dict.fromkeys(each.version for each in facts.pythons))
        return (
            f"its Python is {seen}, edgewright needs 3.10 to 3.13; update its operating system, or install such a Python "
            f"beside it (sudo apt install python3.11 python3.11-venv)"
        )
    if wanted.python is not None and python.short != wanted.python:
        return (
            f"its Python is {python.version}, the wheelhouse is for {wanted.python}; make one for it: edgewright "
            f"wheelhouse wheels-{python.short} --profile {wanted.profile} --python {python.short}"
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


def _pythons_of_root(facts: Facts, wanted: Wanted) -> str | None:
    if not wanted.new_environment:
        return None
    python = facts.python_for(wanted.python)
    seen = ", ".join(dict.fromkeys(each.version for each in facts.pythons)) or "none in /usr/bin or /usr/local/bin"
    if python is None or wanted.python not in {None, python.short}:
        need = "3.10 to 3.13" if wanted.python is None else f"{wanted.python}, which the wheelhouse is for"
        return (
            f"its Python is {seen}, edgewright needs {need}; install such a one into the root, make the wheelhouse for the "
            f"one that is there (--python), or name an environment that the root has with --python-env"
        )
    if not python.makes_environments:
        return (
            f"its Python is {python.version}, and this machine has no Python {python.version} with venv and ensurepip to "
            f"install with; install that here (sudo apt install python{python.short} python{python.short}-venv), run "
            f"'edgewright install --root /' inside of the root, or boot it and use 'edgewright deploy'"
        )
    if wanted.online:
        return (
            "without a wheelhouse pip would choose wheels for this machine's C library, not for the root's; make one: "
            f"edgewright wheelhouse wheels --profile {wanted.profile} --python {python.short}  then --wheelhouse wheels"
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


def _read_only(facts: Facts) -> str | None:
    for place in facts.places:
        if "ro" in place.options:
            return (
                f"{place.mount} is mounted read-only; mount it writable (sudo mount -o remount,rw {place.mount}), or switch "
                f"the overlay off in raspi-config; when it became so by itself, the card is failing"
            )
    return None


def _rooms(facts: Facts, wanted: Wanted) -> str | None:
    if len(facts.places) != 2:
        return "it does not tell how much room its disk has; see that df and awk work there"
    read_only = _read_only(facts)
    if read_only is not None:
        return read_only
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
    if wanted.service and facts.is_folder and facts.values.get("programs") and not facts.has_systemd:
        return "there is no systemd in it, so nothing would start the service; say --service none"
    if wanted.service and not facts.has_systemd and not facts.is_folder:
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
