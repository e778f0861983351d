"""What a board said, made fit for a message: one line, bounded, nothing in it that controls a terminal."""

from __future__ import annotations

from edgewright.bundle.text import plain

__all__ = ["brief", "lines_of"]

_LONGEST = 300


def brief(text: str, longest: int = _LONGEST) -> str:
    """``text`` on one line of at most ``longest`` characters; its end is kept, for that is where errors stand."""
    line = " ".join(plain(text[-8 * longest :]).split())
    return line if len(line) <= longest else f"...{line[-longest:]}"


def lines_of(text: str, most: int = 20, longest: int = 200) -> list[str]:
    """The last ``most`` lines that say something, each cut at ``longest`` characters."""
    kept = [plain(line.rstrip("\r"))[:longest] for line in text[-most * longest * 4 :].splitlines() if line.strip()]
    return kept[-most:]
