"""The board's own doctor, run over SSH: what it finds is shown here, together with what only two machines can tell."""

from __future__ import annotations

import json
import math
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from edgewright.cli.doctor.findings import BAD, MISSING, OK, UNKNOWN, WARN, Finding, read_findings
from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.layout import Layout

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from edgewright.deploy.host import Done, Host

__all__ = ["INSTALLED", "board_findings", "diagnose_remote", "words_for_board"]

INSTALLED = str(Layout.current / "bin" / "edgewright")
"""Where a deployment puts the program."""

_LONGEST_S = 420.0
_START_S = 60.0  # Python on a small board whose card is slow
_SHORT_S = 20.0
_MOST_TEXT = 4 << 20
_LONGEST_VERSION = 40
_FAR_OFF_S = 5.0
_INSTALL = "edgewright deploy USER@HOST BUNDLE"


def diagnose_remote(args: argparse.Namespace, given: tuple[str | None, tuple[str, ...]]) -> tuple[Finding, ...]:
    """What the board at ``args.remote`` finds out about itself.

    Args:
        args: The command line; files that it names are the board's.
        given: Broker URL and cameras, which go through standard input.

    Raises:
        DeployError: The board cannot be talked to.
    """
    from edgewright.deploy.ssh import SshHost

    host = SshHost(args.remote, port=args.port, identity=args.identity, options=args.ssh_option or ())
    try:
        words, secrets = words_for_board(args, given)
        return tuple(board_findings(host, words, secrets))
    finally:
        host.close()


def words_for_board(args: argparse.Namespace, given: tuple[str | None, tuple[str, ...]]) -> tuple[list[str], bytes]:
    """Arguments for the doctor over there, and what it reads: URLs may hold passwords, and a process list is public."""
    url, uris = given
    words = ["doctor", "--json"]
    lines = []
    if url is not None:
        words += ["--broker", "-"]
        lines.append(url)
    for uri in uris:
        words += ["--camera", "-"]
        lines.append(uri)
    for name in ("device", "ca", "cert", "key", "config"):
        value = getattr(args, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    return words, "".join(f"{line}\n" for line in lines).encode()


def board_findings(host: Host, words: list[str], secrets: bytes) -> Iterator[Finding]:
    """Reaches the board, compares clocks and versions, and gives what its own doctor finds.

    Only the program that ``edgewright deploy`` has installed is run as the superuser: one that happens to be in a search
    path may be anybody's.

    Raises:
        HostUnreachable: The board cannot be talked to.
    """
    began = time.time()
    clock = host.run(["date", "+%s.%N"], timeout_s=_SHORT_S)
    ended = time.time()
    yield Finding("board", "reach", OK, f"{host.name} answers within {1000 * (ended - began):.0f} ms")
    yield _clock(clock.out, began, ended)
    program = _program(host)
    if program is None:
        yield Finding("board", "edgewright", MISSING, "no edgewright is installed there", _INSTALL)
        return
    there = _version(host, program, root=True) if program == INSTALLED else None
    root = there is not None
    if not root:
        there = _version(host, program, root=False)
        if there is not None or program != INSTALLED:  # else it does not even start, and its doctor will say why
            yield _no_rights(program)
    yield from _findings(host, [program, *words], secrets, root=root, there=there or "")


def _findings(host: Host, argv: list[str], secrets: bytes, *, root: bool, there: str) -> Iterator[Finding]:
    """What the board's doctor finds, after a word on its version; or why that cannot be had."""
    here = version("edgewright")
    try:
        done = host.run(argv, stdin=secrets, timeout_s=_LONGEST_S, root=root)
    except HostUnreachable:
        raise
    except DeployError as error:  # it hangs, or prints without end
        remedy = f"run it there by hand: {argv[0]} doctor"
        yield Finding("board", "edgewright", BAD, f"its doctor gave no findings: {error}", remedy)
        return
    try:
        found = read_findings(json.loads(done.out[:_MOST_TEXT]))
    except (ValueError, RecursionError) as error:
        yield _unreadable(done, error, there, here)
        return
    if not there:
        there = next((one.text for one in found if (one.group, one.name) == ("packages", "edgewright")), "")
    if there == here:
        yield Finding("board", "edgewright", OK, f"{there}, as here")
    else:
        seen = f"{there or 'an unknown version'} there, {here} here"
        yield Finding("board", "edgewright", WARN, seen, f"upgrade the older one: {_INSTALL}")
    yield from found


def _unreadable(done: Done, error: Exception, there: str, here: str) -> Finding:
    """No findings came, or in the form of another release."""
    if there and there != here:
        seen = f"edgewright {there} is there, {here} is here, and its doctor's findings cannot be read"
        remedy = f"upgrade the older one: {_INSTALL}; or run the doctor there by hand"
    else:
        seen, remedy = "its doctor's findings cannot be read", f"install it again: {_INSTALL}"
    said = (done.err.strip() or done.out.strip()).splitlines()
    why = "it printed no JSON" if isinstance(error, (json.JSONDecodeError, RecursionError)) else str(error)
    last = f"; it said: {said[-1][:200]}" if said and why.startswith("it printed") else ""
    return Finding("board", "edgewright", BAD, f"{seen} (status {done.code}): {why}{last}", remedy)


def _no_rights(program: str) -> Finding:
    if program == INSTALLED:
        seen = "no superuser there (sudo -n): what only root may read is left out"
        remedy = f"let that user run {INSTALLED} by sudo without a password, or log in as root"
    else:
        seen = f"{program} was not installed by deploy, so it is not run as the superuser: what only root may read is left out"
        remedy = _INSTALL
    return Finding("board", "rights", WARN, seen, remedy)


def _clock(said: str, began: float, ended: float) -> Finding:
    try:
        there = float(said.strip().removesuffix("N").removesuffix("%").rstrip("."))
    except ValueError:
        there = math.nan
    if not math.isfinite(there):
        return Finding("board", "clock", UNKNOWN, "it did not tell its time", "look there: date")
    off = there - ended if there > ended else min(0.0, there - began)  # in between there is nothing to see
    if abs(off) > _FAR_OFF_S:
        seen = f"its clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this one"
        return Finding("board", "clock", WARN, seen, "see the findings on its clock; one of the two is wrong")
    return Finding("board", "clock", OK, f"within {max(abs(off), ended - began):.1f} s of this one")


def _program(host: Host) -> str | None:
    """The program that a deployment has put there, else one in the search path of the user there."""
    if host.run(["test", "-x", INSTALLED], timeout_s=_SHORT_S).ok:
        return INSTALLED
    found = host.run(["sh", "-c", "command -v edgewright"], timeout_s=_SHORT_S)
    words = found.out.strip().splitlines()
    return words[0] if found.ok and words and words[0].startswith("/") else None


def _version(host: Host, program: str, *, root: bool) -> str | None:
    """The version that a program there gives, None when it may not be run so."""
    try:
        done = host.run([program, "--version"], timeout_s=_START_S, root=root)
    except HostUnreachable:
        raise
    except DeployError:  # sudo waits, or is not there
        return None
    words = done.out.split()
    return words[-1][:_LONGEST_VERSION] if done.ok and words else None
