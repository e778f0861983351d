"""The interpreter, the processor, and the packages with their versions."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

from edgewright.cli.doctor.extras import SUBSTITUTES, installed_version, read_extras
from edgewright.cli.doctor.findings import MISSING, OK, UNKNOWN, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.cli.doctor.extras import Extra
    from edgewright.cli.doctor.look import Look

__all__ = ["SEVEN_BITS", "packages", "processor", "python"]

SEVEN_BITS = "give optimize the profile generic-x86-avx2, or weights of 7 bits, for such machines"
_MAKERS = frozenset(name for names in SUBSTITUTES.values() for name in names)
_VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")


def python(_look: Look) -> Iterator[Finding]:
    """The interpreter and the system."""
    yield Finding("machine", "python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    if sys.maxsize < 2**32:
        yield Finding("machine", "64 bit", MISSING, "this Python is a 32-bit one", "install a 64-bit system")


def processor(_look: Look) -> Iterator[Finding]:
    """Instruction sets that decide whether 8-bit arithmetic is fast and exact."""
    from edgewright.runtime.machine import describe_machine

    machine = describe_machine()
    flags = set(machine.instructions)
    yield Finding("machine", "processor", OK, str(machine))
    vnni = [flag for flag in _VNNI if flag in flags]
    if vnni or "asimddp" in flags:
        yield Finding("machine", "int8", OK, f"8-bit dot products in hardware ({', '.join(vnni) or 'asimddp'})")
    elif "avx2" in flags:
        seen = "AVX2 without VNNI: 8-bit products are added in pairs of 16 bits, which overflow"
        yield Finding("machine", "int8", WARN, seen, SEVEN_BITS)
    elif not flags:
        seen = "this system does not tell the processor's instruction sets"
        yield Finding("machine", "int8", UNKNOWN, seen, "measure it: edgewright bench BUNDLE")
    else:
        seen = "no 8-bit dot products are known here: INT8 may not be faster than float"
        yield Finding("machine", "int8", WARN, seen, "measure it: edgewright bench BUNDLE")


def packages(_look: Look) -> Iterator[Finding]:
    """Every extra that is installed: what it lacks, and what is there in a version that was not asked for."""
    own = installed_version("edgewright")
    if own is None:
        seen = "run from files that were never installed: what it needs is not known"
        yield Finding("packages", "edgewright", UNKNOWN, seen, "pip install edgewright, or pip install -e .")
    else:
        yield Finding("packages", "edgewright", OK, own)
    absent = []
    for extra in read_extras():
        if extra.wanted:
            yield from _extra(extra)
        else:
            absent.append(extra.name)
    if absent:
        seen = f"extras that are not installed: {', '.join(absent)}"
        yield Finding("packages", "others", OK, seen, f"pip install 'edgewright[{absent[0]}]' when you need it")


def _extra(extra: Extra) -> Iterator[Finding]:
    versions = ", ".join(f"{package} {version}" for package, version in extra.versions.items())
    name, target = extra.name or "base", f"edgewright[{extra.name}]" if extra.name else "edgewright"
    if extra.missing:
        seen = f"lacks {', '.join(extra.missing)}" + (f"; has {versions}" if versions else "")
        yield Finding("packages", name, MISSING, seen, f"pip install '{target}'")
    elif not extra.outside:
        yield Finding("packages", name, OK, versions)
    for package, asked in extra.outside.items():
        # A maker's own build of another name is often older than what is asked for, and often works.
        state = WARN if package in _MAKERS else MISSING
        seen = f"version {extra.versions[package]} is outside of {asked}, which {target} asks for"
        yield Finding("packages", package, state, seen, f"pip install '{package}{asked}'")
    for package, asked in extra.unjudged.items():
        seen = f"version {extra.versions[package]} beside {asked}, which {target} asks for: not understood"
        yield Finding("packages", package, UNKNOWN, seen, f"compare them; pip install '{package}{asked}' is safe")
