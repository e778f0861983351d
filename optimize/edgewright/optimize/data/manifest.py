"""The record of the pictures that a role used: enough to prove later that the same pictures came in the same order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.optimize.data.digest import DatasetDigest
from edgewright.optimize.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgewright.optimize.data.source import SampleSource

__all__ = ["SOURCE_ORDER", "SampleManifest", "manifest_of"]

SOURCE_ORDER = "source"
"""As the source gives them: files by name, frames by number."""
_DIGEST_LENGTH = 64  # hex digits of SHA-256


@dataclass(frozen=True)
class SampleManifest:
    """Which pictures were used.

    Attributes:
        source: Where they came from, without the folders before it.
        digests: SHA-256 over shape and pixels of each picture (``frame_digest``), hex, in the order of use.
        order: How that order came about.
        seed: Of the random draw, None where no draw was made.
    """

    source: str
    digests: tuple[str, ...]
    order: str = SOURCE_ORDER
    seed: int | None = None

    @property
    def count(self) -> int:
        """How many pictures."""
        return len(self.digests)

    @property
    def digest(self) -> str:
        """SHA-256 over all of them in order, hex; equal to ``DatasetDigest`` of the same pictures."""
        whole = DatasetDigest()
        for digest in self.digests:
            whole.add(bytes.fromhex(digest))
        return whole.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "source": self.source,
            "count": self.count,
            "order": self.order,
            "seed": self.seed,
            "digest": self.digest,
            "digests": list(self.digests),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SampleManifest:
        """Reads what ``to_json`` wrote.

        Args:
            values: JSON values.

        Raises:
            DataError: They are no such record, or were changed: count or digest do not fit the list.
        """
        try:
            digests = tuple(_hex(digest) for digest in values["digests"])
            seed = None if values["seed"] is None else int(values["seed"])
            found = cls(str(values["source"]), digests, str(values["order"]), seed)
            said = (int(values["count"]), str(values["digest"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = f"this is no record of pictures ({type(error).__name__}: {error}); calibrate again"
            raise DataError(msg) from error
        if said != (found.count, found.digest):
            msg = (
                f"the record of pictures from {found.source} does not fit its own digest: it says {said[0]} pictures "
                f"and {said[1][:12]}, its list gives {found.count} and {found.digest[:12]}; calibrate again"
            )
            raise DataError(msg)
        return found


def manifest_of(source: SampleSource, digests: Iterable[bytes]) -> SampleManifest:
    """The record of a walk.

    Args:
        source: That was walked.
        digests: Of the pictures taken, in order.

    Returns:
        The record.
    """
    return SampleManifest(source.title, tuple(digest.hex() for digest in digests), SOURCE_ORDER, source.seed)


def _hex(text: str) -> str:
    if len(text) != _DIGEST_LENGTH or text != bytes.fromhex(text).hex():
        msg = f"{text!r} is no SHA-256"
        raise ValueError(msg)
    return text
