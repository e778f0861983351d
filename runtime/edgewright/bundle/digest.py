"""SHA-256 as lower-case hex, the only digest in a bundle."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["is_sha256_hex", "sha256_hex", "sha256_stream"]

_CHUNK_BYTES = 1 << 20
_HEX_LENGTH = 64


def sha256_hex(data: bytes | memoryview) -> str:
    """Digest of ``data``, lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_stream(stream: BinaryIO, limit: int) -> tuple[str, int]:
    """Digest and length of a stream, reading at most ``limit`` + 1 bytes.

    Args:
        stream: Opened for reading bytes.
        limit: Bytes the caller is willing to read; one more is read to notice that there is more.

    Returns:
        The digest in hex and the number of bytes read.
    """
    hasher = hashlib.sha256()
    total = 0
    while total <= limit:
        chunk = stream.read(min(_CHUNK_BYTES, limit + 1 - total))
        if not chunk:
            break
        hasher.update(chunk)
        total += len(chunk)
    return hasher.hexdigest(), total


def is_sha256_hex(text: str) -> bool:
    """Whether ``text`` could be such a digest."""
    return len(text) == _HEX_LENGTH and all(c in "0123456789abcdef" for c in text)
