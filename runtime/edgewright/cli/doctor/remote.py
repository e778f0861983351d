"""The board's own doctor, run over SSH: what it finds is shown here, together with what only two machines can tell."""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from edgewright.cli.doctor.findings import BAD, MISSING, OK, WARN, Finding, read_findings
from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.layout import Layout

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from edgewright.deploy.host import Host

__all__ = ["board_findings", "diagnose_remote", "words_for_board"]

_LONGEST_S = 420.0
_SHORT_S = 20.0
_MOST_TEXT = 4 << 20
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
    root = _is_root(host)
    if not root:
        seen = "no superuser there (sudo -n): what only root may read is left out"
        yield Finding("board", "rights", WARN, seen, "let that user run sudo without a password, or log in as root")
    done = host.run([program, *words], stdin=secrets, timeout_s=_LONGEST_S, root=root)
    try:
        found = read_findings(json.loads(done.out[:_MOST_TEXT]))
    except (ValueError, RecursionError):
        said = (done.err.strip() or done.out.strip()).splitlines()
        seen = f"its doctor gave no findings (status {done.code}): {said[-1][:200] if said else 'it said nothing'}"
        yield Finding("board", "edgewright", BAD, seen, f"install it again: {_INSTALL}")
        return
    yield from _versions(found)
    yield from found


def _clock(said: str, began: float, ended: float) -> Finding:
    try:
        there = float(said.strip().removesuffix("N").removesuffix("%").rstrip("."))
    except ValueError:
        return Finding("board", "clock", WARN, "it did not tell its time", "look: date")
    off = there - ended if there > ended else min(0.0, there - began)  # in between there is nothing to see
    if abs(off) > _FAR_OFF_S:
        seen = f"its clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this one"
        return Finding("board", "clock", WARN, seen, "see the findings on its clock; one of the two is wrong")
    return Finding("board", "clock", OK, f"within {max(abs(off), ended - began):.1f} s of this one")


def _program(host: Host) -> str | None:
    installed = str(Layout.current / "bin" / "edgewright")
    if host.run(["test", "-x", installed], timeout_s=_SHORT_S).ok:
        return installed
    found = host.run(["sh", "-c", "command -v edgewright"], timeout_s=_SHORT_S)
    words = found.out.strip().splitlines()
    return words[0] if found.ok and words else None


def _is_root(host: Host) -> bool:
    try:
        return host.run(["true"], timeout_s=_SHORT_S, root=True).ok
    except HostUnreachable:
        raise
    except DeployError:  # sudo waits, or is not there
        return False


def _versions(found: tuple[Finding, ...]) -> Iterator[Finding]:
    here = version("edgewright")
    there = next(
        (one.text for one in found if (one.group, one.name) == ("packages", "edgewright")), "an unknown version"
    )
    if there == here:
        yield Finding("board", "edgewright", OK, f"{there}, as here")
    else:
        yield Finding("board", "edgewright", WARN, f"{there} there, {here} here", f"upgrade one of them: {_INSTALL}")
