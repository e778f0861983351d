"""The words of the page of boards: how many there are, what each should run, and what became of the promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.optimize.contract import Status
from edgewright.optimize.report.words import METRIC_TITLES
from edgewright.optimize.sizes import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["board_lines", "counted", "headline", "metric_name", "promise_words"]


def counted(number: int, noun: str) -> str:
    """``1 board``, ``2 boards``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def headline(data: Mapping[str, Any]) -> str:
    """Bundles and machines: ``person on 2 boards``, ``2 measurements of person on 1 board``.

    Args:
        data: Of ``merge``.
    """
    names = ", ".join(dict.fromkeys(bundle["name"] for bundle in data["bundles"]))
    files, machines = len(data["boards"]), data["machines"]
    many = f"{counted(files, 'measurement')} of " if files != machines else ""
    return f"{many}{names} on {counted(machines, 'board')}"


def board_lines(data: Mapping[str, Any]) -> Iterator[str]:
    """For a terminal: what each board should run and why; with promises the verdict before all.

    Args:
        data: Of ``merge``.
    """
    if data["verdict"] != Status.UNJUDGED.value:
        yield f"{data['verdict']}  {headline(data)}"
    notes = [board["choice"]["cautions"] for board in data["boards"] if not board["emulated"]]
    said_of_all = [line for line in notes[0] if all(line in others for others in notes)] if notes else []
    for board in data["boards"]:
        choice = board["choice"]
        yield f"{board['title']}: {choice['candidate'] or 'no choice'}, {choice['why']}"
        for status, sentence in choice["clauses"]:
            yield f"  {status:<13}{sentence}"
        for name, why in choice["out"]:
            yield f"  {name} is out: {why}"
        for line in choice["cautions"]:
            if line not in said_of_all:
                yield f"  note: {line}"
    yield from (f"note: {line}" for line in said_of_all)


def promise_words(promises: Mapping[str, Any]) -> list[str]:
    """The promises as they are given.

    Args:
        promises: Of ``merge``, by name.
    """
    return [
        f"--{name.replace('_', '-')} {format_bytes(value) if name == 'max_size' else f'{value:g}'}"
        for name, value in promises.items()
    ]


def metric_name(name: str) -> str:
    """A metric as people call it; the name of one that is not known here as it stands."""
    return METRIC_TITLES[name][0] if name in METRIC_TITLES else name
