"""Why a step ran again: the ingredients of its key now against those of the last run. No input, no output, only rules."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgewright.optimize.steps.key import StepInput
    from edgewright.optimize.steps.record import StepRecord

__all__ = ["Explanation", "explain"]

_LONGEST_VALUE = 60
_SHORT_DIGEST = 8


@dataclass(frozen=True)
class Explanation:
    """What became of one step, and why.

    Attributes:
        step: Its name.
        hit: It came from the cache.
        reasons: Why it ran; empty for a hit.
        changed: The last run had it, and something it depends on is different now.
    """

    step: str
    hit: bool
    reasons: tuple[str, ...] = ()
    changed: bool = False

    def __str__(self) -> str:
        """One line."""
        if self.hit:
            return f"{self.step}: from the cache"
        why = "re-ran because " if self.changed else ""
        return f"{self.step}: {why}{'; '.join(self.reasons)}"


def explain(previous: Sequence[StepRecord] | None, current: Sequence[StepRecord]) -> tuple[Explanation, ...]:
    """Compares two runs.

    Steps are matched by name, and by their order among steps of the same name.

    Args:
        previous: The last run's steps, None where there was none.
        current: This run's steps.

    Returns:
        One explanation for each of this run's steps, in order.
    """
    before = dict(_numbered(previous or ()))
    found = []
    for place, now in _numbered(current):
        then = before.get(place)
        if now.hit:
            found.append(Explanation(now.name, hit=True))
        elif then is None or then.digest == now.digest:
            found.append(Explanation(now.name, hit=False, reasons=(_unchanged(now, then, previous),)))
        else:
            found.append(Explanation(now.name, hit=False, reasons=tuple(_changes(then, now)), changed=True))
    return tuple(found)


def _numbered(records: Sequence[StepRecord]) -> Iterator[tuple[tuple[str, int], StepRecord]]:
    seen: Counter[str] = Counter()
    for record in records:
        yield (record.name, seen[record.name]), record
        seen[record.name] += 1


def _unchanged(now: StepRecord, then: StepRecord | None, previous: Sequence[StepRecord] | None) -> str:
    """Why a step ran that did not change."""
    if now.damaged:
        return "its cache entry was damaged"
    if previous is None:
        return "first run"
    return "the last run had no such step" if then is None else "cache entry evicted"


def _changes(then: StepRecord, now: StepRecord) -> Iterator[str]:
    yield from _input_changes(then.inputs, now.inputs)
    for key in _differing(then.params, now.params):
        yield f"its setting {key} changed ({_value(then.params, key)} -> {_value(now.params, key)})"
    if then.version != now.version:
        yield f"the step's own version changed ({then.version} -> {now.version})"
    for tool in _differing(then.tools, now.tools):
        old, new = then.tools.get(tool, "none"), now.tools.get(tool, "none")
        if old.partition("+")[0] == new.partition("+")[0]:  # the same release, other code
            yield f"the code of {tool} changed"
        else:
            yield f"the version of {tool} changed ({old.partition('+')[0]} -> {new.partition('+')[0]})"


def _input_changes(then: Mapping[str, StepInput], now: Mapping[str, StepInput]) -> Iterator[str]:
    for name in (*now, *(name for name in then if name not in now)):
        old, new = then.get(name), now.get(name)
        if old is None and new is not None:
            yield f"its inputs changed (`{name}` is new)"
        elif new is None:
            yield f"its inputs changed (`{name}` is gone)"
        elif old is not None and old.digest != new.digest:
            if new.source:
                yield f"its input `{name}` changed, which came from {new.source}"
            else:
                yield f"its input `{name}` changed ({_label(old, new)} -> {_label(new, old)})"


def _label(given: StepInput, other: StepInput) -> str:
    """What the user called it; with the start of its digest where that would not tell the two apart."""
    digest = given.digest[:_SHORT_DIGEST]
    return given.label if given.label and given.label != other.label else f"{given.label} {digest}".strip()


def _differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    absent = object()
    return sorted(key for key in {*then, *now} if then.get(key, absent) != now.get(key, absent))


def _value(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "none"
    text = json.dumps(values[key], ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
