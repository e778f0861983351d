"""Types of command-line arguments that several verbs take."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgewright.runtime.threads import most_threads

__all__ = ["add_engine_arguments", "threads_argument"]

_LONGEST = 9


def threads_argument(text: str) -> int:
    """Reads a number of engine threads; an argparse ``type``.

    Raises:
        argparse.ArgumentTypeError: Not a whole number from 1 to four for each core of this machine.
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST else 0
    if not 1 <= number <= most_threads():
        message = f"{text[:40]!r} is no number of threads; give 1 to {most_threads()} (four for each core here)"
        raise argparse.ArgumentTypeError(message)
    return number


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the owner of a machine says of its engines."""
    group = parser.add_argument_group("engines")
    group.add_argument(
        "--profile", metavar="NAME", help="the board, by name or as a .toml; its backends are preferred in its order"
    )
    group.add_argument("--delegate", type=Path, metavar="LIBRARY", help="accelerator library for TFLite variants")
    group.add_argument(
        "--delegate-option", action="append", metavar="KEY=VALUE", help="told to that library; may be given often"
    )
    group.add_argument(
        "--engine-cache", type=Path, metavar="DIR", help="compiled engines (default: ~/.cache/edgewright/engines)"
    )
    group.add_argument(
        "--picks",
        type=Path,
        metavar="FILE",
        help="what bench --pick found (default: ~/.local/state/edgewright/picks.json)",
    )
