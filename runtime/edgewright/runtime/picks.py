"""What ``edgewright bench --pick`` found to be fastest here, kept where ``edgewright run`` finds it.

A pick belongs to a machine, a bundle is signed and belongs to everybody: so picks lie in a small JSON file in the user's
state folder. ``EDGEWRIGHT_PICKS`` names another file. A pick counts only while bundle, machine, engine versions and
number of threads are those it was made with; ``find_pick`` says what changed.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.atomic import write_text
from edgewright.runtime.backends.choice import NO_WISHES, engine_version, why_not
from edgewright.runtime.candidates import read_candidate
from edgewright.runtime.errors import BackendError, RuntimeFailure
from edgewright.runtime.machine import describe_machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgewright.bundle.reader import Bundle
    from edgewright.runtime.backends.choice import EngineOptions

__all__ = ["Pick", "PicksError", "engines_of", "find_pick", "picks_path", "read_picks", "store_pick"]

_SCHEMA = 1
_MOST_BYTES = 1 << 20
_MOST_PICKS = 100
_VARIABLE = "EDGEWRIGHT_PICKS"


class PicksError(RuntimeFailure):
    """The file of picks cannot be read, or is none."""


@dataclass(frozen=True)
class Pick:
    """The fastest of a bundle on this machine.

    Attributes:
        digest: SHA-256 of the bundle's manifest.
        name: Of the bundle.
        machine: Its processor, in words.
        threads: Given to the engines.
        candidate: The winner, ``VARIANT@BACKEND``.
        p50_ms: Median time of a frame of each candidate, milliseconds.
        engines: Engine and version of each candidate.
        made: UTC time, ISO 8601.
        reason: Why the winner won, in words.
    """

    digest: str
    name: str
    machine: str
    threads: int
    candidate: str
    p50_ms: Mapping[str, float]
    engines: Mapping[str, str]
    made: str
    reason: str


def picks_path() -> Path:
    """The file that holds the picks of this user."""
    told = os.environ.get(_VARIABLE)
    if told:
        return Path(told)
    state = os.environ.get("XDG_STATE_HOME")
    root = Path(state) if state else Path.home() / ".local" / "state"
    return root / "edgewright" / "picks.json"


def read_picks(path: Path) -> tuple[Pick, ...]:
    """Every pick in a file, oldest first; none when there is no file.

    Raises:
        PicksError: It cannot be read, is too large, is no file of picks, or was written by a newer edgewright.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        msg = f"cannot read the picks in {path}: {error.strerror or error}"
        raise PicksError(msg) from error
    if len(data) > _MOST_BYTES:
        msg = f"{path} is larger than {_MOST_BYTES} bytes and no file of picks; name another one"
        raise PicksError(msg)
    try:
        told = json.loads(data)
        schema = told["schema"]
        picks = tuple(_pick(row) for row in told["picks"]) if schema == _SCHEMA else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        msg = f"{path} is no file of picks, or is damaged; remove it, or name another one"
        raise PicksError(msg) from error
    if picks is None:
        msg = f"{path} was written for another version of edgewright (schema {str(schema)[:20]}); name another file"
        raise PicksError(msg)
    return picks


def store_pick(path: Path, pick: Pick) -> None:
    """Adds a pick to a file, whole or not at all; it replaces the one for the same bundle, machine and threads.

    Raises:
        PicksError: The file is there and is no file of picks.
        OutputError: It cannot be written.
    """
    key = (pick.digest, pick.machine, pick.threads)
    others = [old for old in read_picks(path) if (old.digest, old.machine, old.threads) != key]
    rows = [asdict(each) for each in (*others, pick)[-_MOST_PICKS:]]
    write_text(path, json.dumps({"schema": _SCHEMA, "picks": rows}, indent=1) + "\n")


def find_pick(
    picks: Sequence[Pick], bundle: Bundle, threads: int, options: EngineOptions = NO_WISHES
) -> tuple[Pick | None, str | None]:
    """The pick that holds for a bundle now.

    Args:
        picks: From ``read_picks``.
        bundle: Opened.
        threads: That the engine will get.
        options: What the owner of the machine says of its engines.

    Returns:
        The pick, or None; and why one that was made does not hold, or None.
    """
    machine = str(describe_machine())
    own = [pick for pick in picks if pick.digest == bundle.digest]
    if not own:
        same = [pick for pick in picks if pick.name == bundle.manifest.name]
        return None, _note(same[-1], "the bundle changed since") if same else None
    here = [pick for pick in own if pick.machine == machine]
    if not here:
        return None, _note(own[-1], f"it was made on another machine, {own[-1].machine}")
    fitting = [pick for pick in here if pick.threads == threads]
    if not fitting:
        return None, _note(here[-1], f"it was made for {here[-1].threads} thread(s), not for {threads}")
    pick = fitting[-1]
    problem = _changed_engine(pick) or _unusable(pick, bundle, options)
    return (pick, None) if problem is None else (None, _note(pick, problem))


def engines_of(candidates: Sequence[str]) -> dict[str, str]:
    """Engine and version of each candidate as they are installed now.

    Raises:
        BackendError: One names a backend that there is not.
    """
    backends = {name: read_candidate(name).backend for name in candidates}
    return {
        name: (engine_version(backend) if backend is not None else None) or "not installed"
        for name, backend in backends.items()
    }


def _note(pick: Pick, why: str) -> str:
    return f"the pick of {pick.made[:10]} ({pick.candidate}) is not used: {why}; run 'edgewright bench BUNDLE --pick' again"


def _changed_engine(pick: Pick) -> str | None:
    try:
        now = engines_of(list(pick.engines))
    except BackendError as error:
        return str(error)
    changed = next((name for name in pick.engines if now[name] != pick.engines[name]), None)
    return None if changed is None else f"its {pick.engines[changed]} is now {now[changed]}"


def _unusable(pick: Pick, bundle: Bundle, options: EngineOptions) -> str | None:
    chosen = read_candidate(pick.candidate)
    if chosen.variant not in {variant.name for variant in bundle.manifest.variants} or chosen.backend is None:
        return "it names nothing that this bundle has"
    return why_not(chosen.backend, options)


def _pick(row: Any) -> Pick:
    if set(row) != {entry.name for entry in fields(Pick)}:
        raise ValueError(sorted(row))
    for name in ("digest", "name", "machine", "candidate", "made", "reason"):
        if not isinstance(row[name], str):
            raise TypeError(name)
    if type(row["threads"]) is not int:
        raise TypeError(row["threads"])
    times = {str(name): float(value) for name, value in row["p50_ms"].items()}
    engines = {str(name): str(value) for name, value in row["engines"].items()}
    if not all(math.isfinite(value) for value in times.values()) or row["candidate"] not in times:
        raise ValueError(times)
    return Pick(**{**row, "p50_ms": times, "engines": engines})
