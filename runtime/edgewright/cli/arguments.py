"""Types of command-line arguments that several verbs take."""

from __future__ import annotations

import argparse

from edgewright.runtime.threads import most_threads

__all__ = ["threads_argument"]

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
