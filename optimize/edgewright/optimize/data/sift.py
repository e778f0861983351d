"""A source without copies, and without what another role has used."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from edgewright.optimize.data.digest import frame_digest
from edgewright.optimize.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edgewright.optimize.data.source import Sample, SampleSource

__all__ = ["CALIBRATED", "LABELLED", "SELECTED", "pictures", "sifted"]

LABELLED = "they are labelled ones"
CALIBRATED = "calibration used them"
SELECTED = "selection used them"


def sifted(
    source: SampleSource, role: str, used: Mapping[str, frozenset[bytes]], note: Callable[[str], None]
) -> Iterator[tuple[Sample, bytes]]:
    """Walks a source without copies and without what was used before.

    Args:
        source: To walk.
        role: What the pictures are for.
        used: Digests of pictures to leave out, by the reason that is told.
        note: Told how many were left out, at the end.

    Yields:
        Pictures with their digests.

    Raises:
        DataError: Nothing is left, or calibration and selection used most of it.
    """
    seen, left_out, examples = set[bytes](), Counter[str](), dict[str, str]()
    for sample in source:
        digest = frame_digest(sample.image)
        reason = next((words for words, digests in used.items() if digest in digests), None)
        if reason is None and digest in seen:
            reason = "copies of others"
        if reason is None:
            seen.add(digest)
            yield sample, digest
            continue
        left_out[reason] += 1
        examples.setdefault(reason, sample.name)
    _check_rest(source, role, len(seen), left_out, examples)
    for reason, count in left_out.items():
        note(f"{pictures(count)} of {source.title} left out of {role}: {reason}")


def _check_rest(
    source: SampleSource, role: str, kept: int, left_out: Mapping[str, int], examples: Mapping[str, str]
) -> None:
    """Labelled frames within a slice are expected; pictures that calibration or selection used are somebody's copy."""
    overlapping = sum(left_out.get(reason, 0) for reason in (CALIBRATED, SELECTED))
    if kept and overlapping <= kept:
        return
    told = ", ".join(f"{count} because {reason} (such as {examples[reason]})" for reason, count in left_out.items())
    msg = (
        f"{pictures(kept)} of {source.expression} left for {role}; left out: {told}; name other pictures, for example "
        "by slices such as clip.avi#1::8, clip.avi#5::8 and clip.avi#3::4"
    )
    raise DataError(msg)


def pictures(count: int) -> str:
    """``1 picture``, ``2 pictures``."""
    return "1 picture" if count == 1 else f"{count} pictures"
