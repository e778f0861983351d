"""Both models over the same pictures, through the device's own ``Session``, one picture at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.manifest import SsdDecode
from edgewright.optimize.data.digest import DatasetDigest, frame_digest
from edgewright.optimize.evaluate.intervals import block_of
from edgewright.runtime.session import open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edgewright.bundle.reader import Bundle
    from edgewright.optimize.data.samples import Sample
    from edgewright.runtime.session import Session
    from edgewright.runtime.types import Classification, Detections

__all__ = ["CURVE_THRESHOLD", "Observation", "Seen", "SessionPair", "observe", "open_pair"]

#: AP needs the weak boxes as well: the whole score list, nearly.
CURVE_THRESHOLD = 0.01


@dataclass(frozen=True, eq=False)
class SessionPair:
    """The two models that are compared.

    Attributes:
        float_: The float model.
        int8: The INT8 model.
        score_threshold: Score from which a box counts on the device; None for classifiers, whose best class counts.
    """

    float_: Session
    int8: Session
    score_threshold: float | None

    @property
    def curve_threshold(self) -> float | None:
        """Score from which answers are wanted."""
        return None if self.score_threshold is None else CURVE_THRESHOLD


@dataclass(frozen=True, eq=False)
class Seen:
    """What both said about one picture.

    Attributes:
        index: Of the sample.
        name: Of the sample.
        float_: The float model's answer.
        int8: The INT8 model's answer.
    """

    index: int
    name: str
    float_: Detections | Classification
    int8: Detections | Classification


@dataclass(frozen=True, eq=False)
class Observation:
    """Both models' answers over a source.

    Attributes:
        seen: In the order of the pictures.
        digest: SHA-256 over pixels and labels in that order.
        spacing_s: Seconds from one ``Seen.index`` to the next, None for unrelated pictures.
        source: Where the pictures came from, as the user wrote it.
    """

    seen: tuple[Seen, ...]
    digest: str
    spacing_s: float | None
    source: str

    @property
    def block(self) -> int:
        """Pictures that intervals must take together: as many as ever lie within two seconds."""
        return block_of([row.index for row in self.seen], self.spacing_s)


def open_pair(bundle: Bundle, float_: str, int8: str, threads: int) -> SessionPair:
    """Loads two variants of a bundle.

    Args:
        bundle: The candidate's.
        float_: Name of the float variant.
        int8: Name of the INT8 variant.
        threads: For the engine.
    """
    decode = bundle.manifest.decode
    threshold = decode.score_threshold if isinstance(decode, SsdDecode) else None
    return SessionPair(open_session(bundle, float_, threads), open_session(bundle, int8, threads), threshold)


def observe(
    pictures: Iterable[tuple[Sample, bytes]],
    pair: SessionPair,
    on_sample: Callable[[int], None],
    *,
    source: str,
    spacing_s: float | None,
) -> Observation:
    """Runs both models over pictures.

    Args:
        pictures: Each with the bytes of its labels (empty without).
        pair: The models.
        on_sample: Called with the number of pictures done.
        source: For the record.
        spacing_s: Seconds from one ``Sample.index`` to the next, None for unrelated pictures.

    Returns:
        All answers; pictures are not kept.
    """
    digest = DatasetDigest()
    seen = []
    for sample, labels in pictures:
        digest.add(frame_digest(sample.image), labels)
        said = [
            session.infer(sample.image, score_threshold=pair.curve_threshold) for session in (pair.float_, pair.int8)
        ]
        seen.append(Seen(sample.index, sample.name, said[0], said[1]))
        on_sample(len(seen))
    return Observation(tuple(seen), digest.hexdigest(), spacing_s, source)
