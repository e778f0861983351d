"""Choosing what runs a bundle here: as asked, else by measurement where one was made, else by the bundle's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.errors import EdgewrightError
from edgewright.runtime.backends.choice import NO_WISHES, why_not
from edgewright.runtime.candidates import read_candidate
from edgewright.runtime.picks import find_pick, picks_path, read_picks
from edgewright.runtime.session import first_runnable, pick_variant

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.bundle.reader import Bundle
    from edgewright.runtime.backends.choice import BackendName, EngineOptions

__all__ = ["Choice", "choose"]


@dataclass(frozen=True)
class Choice:
    """What will run, and why.

    Attributes:
        variant: Name of the variant.
        backend: What it runs on; None for the processor, or what ``EngineOptions`` prefers.
        why: In words.
        notes: What else the owner should know, such as a pick that no longer holds.
    """

    variant: str
    backend: BackendName | None
    why: str
    notes: tuple[str, ...] = ()


def choose(
    bundle: Bundle,
    variant: str | None = None,
    threads: int = 1,
    *,
    backend: BackendName | None = None,
    options: EngineOptions = NO_WISHES,
    picks: Path | None = None,
) -> Choice:
    """What to run: as asked, else as picked for this machine, else the first that an installed engine runs.

    A file of picks that cannot be read is a note and not an error, for a camera can run without it.

    Args:
        bundle: Opened.
        variant: Asked for by name.
        threads: That the engine will get.
        backend: Asked for by name.
        options: What the owner of the machine says of its engines.
        picks: The file of picks; None takes the user's own.

    Raises:
        ModelMismatchError: There is no variant of that name.
    """
    notes = _missing_wishes(options)
    if variant is not None:
        return Choice(pick_variant(bundle, variant).name, backend, "as asked", notes)
    if backend is None:
        try:
            pick, note = find_pick(read_picks(picks or picks_path()), bundle, threads, options)
        except EdgewrightError as error:
            pick, note = None, str(error)
        if pick is not None:
            chosen = read_candidate(pick.candidate)
            return Choice(chosen.variant, chosen.backend, f"picked on {pick.made[:10]}: {pick.reason}", notes)
        notes = notes if note is None else (*notes, note)
        found = first_runnable(bundle)
    else:
        fitting = [each for each in bundle.manifest.variants if each.format is backend.file_format]
        found = fitting[0] if fitting else bundle.manifest.variants[0]
    first = bundle.manifest.variants[0]
    why = "the bundle's first variant" if found is first else f"the first that runs here; {first.name} does not"
    return Choice(found.name, backend, why, notes)


def _missing_wishes(options: EngineOptions) -> tuple[str, ...]:
    """Preferred backends that cannot run here, up to the first of each format that can."""
    reasons = []
    served = set()
    for name in options.backends:
        reason = None if name.file_format in served else why_not(name, options)
        if reason is None:
            served.add(name.file_format)
        else:
            reasons.append(f"{name.value} is preferred and cannot run: {reason}")
    return tuple(reasons)
