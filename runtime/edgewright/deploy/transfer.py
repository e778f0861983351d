"""Sending a file over a channel that carries bytes: what both hosts do, so that both do it alike.

The file goes beside its place under a name made of its own SHA-256, so that a second try finds exactly what the first
left and goes on from there; it is checked by its SHA-256 and renamed only when it is whole.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path, PurePosixPath

    from edgewright.deploy.host import Done

__all__ = ["FINISH", "MEASURE", "Outgoing", "append_command", "chunks_of", "digest_of", "finished", "part_of"]

_CHUNK = 1 << 17
_MARK = 16

MEASURE = 'if [ -f "$1" ]; then wc -c < "$1"; else echo 0; fi'
"""Shell: how much of the file is there already."""
FINISH = (
    'seen=$(sha256sum < "$1" | cut -c1-64) || exit 9; '
    'if [ "$seen" != "$3" ]; then rm -f "$1"; echo "$seen"; exit 8; fi; '
    'if [ -d "$2" ]; then rm -f "$1"; echo "a folder lies there" >&2; exit 7; fi; '
    'sync "$1" 2>/dev/null || true; '
    # -T keeps a folder that comes into being meanwhile from swallowing the file; older busybox does not know it.
    '{ mv -fT "$1" "$2" 2>/dev/null || { [ ! -d "$2" ] && mv -f "$1" "$2"; }; } && '
    '{ sync "$(dirname "$2")" 2>/dev/null || true; }'
)
"""Shell: checks the part and renames it; 8 means that it is another file and was removed."""
DAMAGED = 8


@dataclass(frozen=True)
class Outgoing:
    """A file on its way.

    Attributes:
        local: Here.
        size: In bytes.
        sha256: In hex.
    """

    local: Path
    size: int
    sha256: str


def digest_of(local: Path) -> Outgoing:
    """Reads a file that is to be sent.

    Raises:
        DeployError: It cannot be read.
    """
    hasher = hashlib.sha256()
    size = 0
    try:
        with local.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                hasher.update(chunk)
                size += len(chunk)
    except OSError as error:
        msg = f"cannot read {local}: {error.strerror or error}"
        raise DeployError(msg) from error
    return Outgoing(local, size, hasher.hexdigest())


def part_of(remote: PurePosixPath, outgoing: Outgoing) -> PurePosixPath:
    """Where it lies until it is whole."""
    return remote.with_name(f".{remote.name[:100]}.{outgoing.sha256[:_MARK]}.part")


def append_command(part: PurePosixPath, offset: int) -> list[str]:
    """What reads the rest of the file from its standard input."""
    script = 'cat >> "$1"' if offset else 'cat > "$1"'
    return ["sh", "-c", script, "sh", str(part)]


def chunks_of(outgoing: Outgoing, offset: int, on_bytes: Callable[[int, int], None] | None) -> Iterator[bytes]:
    """The file from ``offset`` on.

    Raises:
        DeployError: It became shorter meanwhile, or cannot be read.
    """
    sent = offset
    if on_bytes is not None:
        on_bytes(sent, outgoing.size)
    try:
        with outgoing.local.open("rb") as stream:
            stream.seek(offset)
            while sent < outgoing.size and (chunk := stream.read(min(_CHUNK, outgoing.size - sent))):
                yield chunk
                sent += len(chunk)
                if on_bytes is not None:
                    on_bytes(sent, outgoing.size)
    except OSError as error:
        msg = f"cannot read {outgoing.local}: {error.strerror or error}"
        raise DeployError(msg) from error


def finished(run: Callable[[Sequence[str]], Done], part: PurePosixPath, remote: PurePosixPath, sha256: str) -> bool:
    """Checks and renames; False when what lies there is another file, which is removed then.

    Raises:
        DeployError: It cannot be renamed.
    """
    done = run(["sh", "-c", FINISH, "sh", str(part), str(remote), sha256])
    if done.code == DAMAGED:
        return False
    if not done.ok:
        msg = f"cannot write {remote}: {brief(done.err)}"
        raise DeployError(msg)
    return True
