"""A content-addressed cache of finished steps: a run that was interrupted goes on where it was.

Invariants:

- An entry lies under the whole SHA-256 of its key; it is written beside and renamed, so it is there whole or not at all.
- What is read back is checked by digest. A damaged entry is said to be damaged, recomputed and replaced.
- All entries together stay within a bound; the least recently used go first.
- Two processes may use one folder: the worst that happens is that both compute the same step.
- A folder that cannot be written (full, read-only) costs one note; the run goes on without caching.

Example:
    >>> cache = StepCache(None)                                              # doctest: +SKIP
    >>> key = StepKey("calibrate", params={"method": "minmax"}, inputs={"model": input_of(model)})  # doctest: +SKIP
    >>> ranges = cache.step(key, lambda: StepOutput({"ranges": npz_bytes(collect())}))  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.arrays import read_npz
from edgewright.bundle.atomic import write_bytes
from edgewright.bundle.errors import IntegrityError, OutputError
from edgewright.optimize.sizes import format_bytes
from edgewright.optimize.steps.entry import Entry, StepCost, pack_entry, read_cost, unpack_entry
from edgewright.optimize.steps.explain import Explanation, explain
from edgewright.optimize.steps.key import StepInput, input_of
from edgewright.optimize.steps.record import StepRecord, read_run, write_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from edgewright.optimize.steps.entry import StepOutput
    from edgewright.optimize.steps.key import StepKey

__all__ = ["DEFAULT_MAX_BYTES", "StepCache", "StepResult", "default_folder"]

DEFAULT_MAX_BYTES = 2 * 10**9
_ENTRIES = "entries"
_SUFFIX = ".step"
_STALE_S = 24 * 3600.0  # a temporary file of this age belongs to a process that was killed


@dataclass(frozen=True, eq=False)
class StepResult:
    """What a step gave, now or earlier.

    Attributes:
        artefacts: Name to content.
        facts: What there is to tell about it.
        hit: It came from the cache.
        seconds: What it took this time.
        cost_seconds: What computing it took, this time or when it was cached.
    """

    name: str
    artefacts: Mapping[str, bytes]
    facts: Mapping[str, Any]
    hit: bool
    seconds: float
    cost_seconds: float

    def arrays(self, artefact: str) -> dict[str, NDArray[Any]]:
        """An artefact that was written by ``npz_bytes``.

        Raises:
            IntegrityError: It holds something else.
        """
        return read_npz(self.artefacts[artefact], f"{artefact} of step {self.name}")

    def as_input(self, artefact: str, label: str = "") -> StepInput:
        """An artefact as another step's input, with where it came from."""
        return input_of(self.artefacts[artefact], label, self.name)


@dataclass
class _Notes:
    """Says each thing once."""

    say: Callable[[str], None]
    said: set[str] = field(default_factory=set)

    def once(self, kind: str, text: str) -> None:
        if kind not in self.said:
            self.said.add(kind)
            self.say(text)


class StepCache:
    """Runs steps, or takes from the cache what they gave before; keeps the record of a run.

    Attributes:
        unit_seconds: What one float inference of this run's model takes (``Probe.inference_seconds``), once that is
            known; kept beside the cost of a step, so that it tells something about other models, too.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        on_note: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Opens the cache; nothing is read or written yet.

        Args:
            folder: Where entries lie, see ``default_folder``; None caches nothing.
            max_bytes: Of all entries together.
            on_note: Told what the user should know: damaged entries, a folder that cannot be written.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._notes = _Notes(on_note)
        self._records: list[StepRecord] = []
        self._writing = folder is not None
        self.unit_seconds = 0.0

    @property
    def records(self) -> tuple[StepRecord, ...]:
        """The steps so far, in order."""
        return tuple(self._records)

    def step(self, key: StepKey, compute: Callable[[], StepOutput]) -> StepResult:
        """Gives what the step gives, from the cache where it is known.

        Args:
            key: Everything that determines it.
            compute: Runs it. Whatever it raises passes through, and nothing is cached.
        """
        started = time.monotonic()
        entry, damaged = self._read(key)
        self._records.append(StepRecord.of(key, hit=entry is not None, damaged=damaged))
        if entry is not None:
            output, cost = entry.output, entry.cost.seconds
        else:
            output = compute()
            cost = time.monotonic() - started
            self._write(key, output, cost)
        seconds = time.monotonic() - started
        return StepResult(key.name, dict(output.artefacts), dict(output.facts), entry is not None, seconds, cost)

    def has(self, key: StepKey) -> bool:
        """Whether there is an entry; it is not checked, so ``step`` may compute all the same."""
        path = self._path(key)
        return path is not None and path.is_file()

    def costs(self, name: str) -> tuple[StepCost, ...]:
        """What steps of this name took in earlier runs, as far as they are still cached."""
        if self._folder is None:
            return ()
        found = []
        for path in _files(self._folder / _ENTRIES / name):
            with contextlib.suppress(OSError, IntegrityError), path.open("rb") as stream:
                found.append(read_cost(stream))
        return tuple(found)

    def finish(self, output: str) -> tuple[Explanation, ...]:
        """Explains the run by the last one for the same output, and takes its place.

        Args:
            output: What the run was for, such as the path of its bundle.
        """
        previous = None if self._folder is None else read_run(self._folder, output)
        explanations = explain(previous, self._records)
        if self._folder is not None and self._writing:
            try:
                write_run(self._folder, output, self._records)
            except OutputError as error:
                self._give_up(error)
        return explanations

    def _path(self, key: StepKey) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / _ENTRIES / key.name / f"{key.digest}{_SUFFIX}"

    def _read(self, key: StepKey) -> tuple[Entry | None, bool]:
        """The entry, and whether there was one that cannot be trusted."""
        path = self._path(key)
        if path is None:
            return None, False
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > self._max_bytes:
                return None, False
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None, False
        except OSError as error:
            reason = error.strerror or str(error)
            self._notes.once("read", f"the step cache {self._folder} cannot be read ({reason}); steps are computed")
            return None, False
        try:
            entry = unpack_entry(data, key.digest)
        except IntegrityError as error:
            self._notes.say(f"the cached result of step {key.name} is damaged ({error}); it is computed again")
            with contextlib.suppress(OSError):
                path.unlink()
            return None, True
        with contextlib.suppress(OSError):  # in a read-only folder nothing is ever evicted either
            os.utime(path)
        return entry, False

    def _write(self, key: StepKey, output: StepOutput, seconds: float) -> None:
        path = self._path(key)
        if path is None or not self._writing:
            return
        data = pack_entry(key.digest, output, seconds, self.unit_seconds)
        if len(data) > self._max_bytes:
            size, bound = format_bytes(len(data)), format_bytes(self._max_bytes)
            self._notes.once(
                key.name, f"step {key.name} gave {size}, more than the whole step cache may hold ({bound})"
            )
            return
        try:
            self._evict(len(data))
            write_bytes(path, data)
        except OutputError as error:
            self._give_up(error)

    def _give_up(self, error: OutputError) -> None:
        self._writing = False
        reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
        text = getattr(reason, "strerror", None) or str(reason)
        self._notes.once(
            "write", f"the step cache {self._folder} cannot be written ({text}); this run goes on without it"
        )

    def _evict(self, coming: int) -> None:
        """Makes room for ``coming`` bytes: what was used longest ago goes first."""
        if self._folder is None:
            return
        known = []
        now = time.time()
        for path in (path for folder in _folders(self._folder / _ENTRIES) for path in _files(folder, hidden=True)):
            with contextlib.suppress(OSError):
                status = path.stat()
                if not path.name.startswith("."):
                    known.append((status.st_mtime, status.st_size, path))
                elif now - status.st_mtime > _STALE_S:
                    path.unlink()
        total = coming + sum(size for _, size, _ in known)
        for _, size, path in sorted(known, key=lambda item: item[0]):
            if total <= self._max_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            total -= size


def default_folder() -> Path:
    """``$EDGEWRIGHT_CACHE``, else ``edgewright/steps`` in the user's cache folder."""
    chosen = os.environ.get("EDGEWRIGHT_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edgewright" / "steps"


def _folders(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from sorted(path for path in folder.iterdir() if path.is_dir())


def _files(folder: Path, *, hidden: bool = False) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from sorted(p for p in folder.iterdir() if p.suffix == _SUFFIX and (hidden or not p.name.startswith(".")))
