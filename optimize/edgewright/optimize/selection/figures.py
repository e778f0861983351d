"""Readable figures of a candidate on the selection pictures, summed up picture by picture."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.manifest import TensorSpec
from edgewright.optimize.errors import JudgeError
from edgewright.optimize.evaluate.agreement import match_frame
from edgewright.runtime.decode import make_decoder
from edgewright.runtime.preprocess import Placement
from edgewright.runtime.types import Detections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgewright.optimize.selection.losses import HeadLoss
    from edgewright.optimize.spec import ModelSpec
    from edgewright.runtime.decode import Decoder

__all__ = ["Fidelity", "Figures", "decoder_of", "placement_of"]

_MOST_DB = 200.0
_TINY = 1e-12


@dataclass(frozen=True)
class Fidelity:
    """A candidate in readable figures, over all selection pictures.

    Attributes:
        loss: Mean of the losses that candidates are chosen by.
        pictures: How many.
        sqnr_db: Signal over noise of each raw output, by its name, at most 200.
        cosine: Mean cosine between both models' raw outputs, by output name.
        score_rmse: Root mean square difference of scores: of the boxes both models have, or of float's best class;
            None for heads of unknown meaning, and where nothing was seen.
        same_top: Share of pictures with the same best class; None unless it is a classifier.
        float_boxes: Boxes of the float model above the score threshold; None unless it is a detector.
        kept_boxes: How many of those the candidate has too, at IoU 0.5.
        extra_boxes: Boxes that only the candidate has.
    """

    loss: float
    pictures: int
    sqnr_db: Mapping[str, float] = field(default_factory=dict)
    cosine: Mapping[str, float] = field(default_factory=dict)
    score_rmse: float | None = None
    same_top: float | None = None
    float_boxes: int | None = None
    kept_boxes: int | None = None
    extra_boxes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**vars(self), "sqnr_db": dict(self.sqnr_db), "cosine": dict(self.cosine)}

    @property
    def sentence(self) -> str:
        """One line for the report."""
        parts = [f"loss {self.loss:.4g}"]
        if self.float_boxes is not None:
            parts.append(f"{self.kept_boxes} of {self.float_boxes} boxes kept, {self.extra_boxes} extra")
        if self.same_top is not None:
            parts.append(f"same class in {100 * self.same_top:.1f} % of the pictures")
        if self.score_rmse is not None:
            parts.append(f"score RMSE {self.score_rmse:.4f}")
        parts += [f"{name} {decibel:.1f} dB" for name, decibel in self.sqnr_db.items()]
        return f"{', '.join(parts)} ({self.pictures} pictures)"


class Figures:
    """Running sums of everything that ``Fidelity`` tells."""

    def __init__(self, loss: HeadLoss, spec: ModelSpec | None) -> None:
        """Begins with nothing seen.

        Args:
            loss: The distance that candidates are chosen by.
            spec: How outputs are read; None where nobody knows.
        """
        self._loss, self._spec = loss, spec
        self._decoder: Decoder | None = None
        self._losses: list[float] = []
        self._sums = {kind: Counter[str]() for kind in ("signal", "noise", "cosine")}
        self._counts: Counter[str] = Counter()
        self._squares = 0.0

    def add(self, before: Mapping[str, NDArray[Any]], after: Mapping[str, NDArray[Any]]) -> None:
        """Takes in one picture: float's outputs, then the candidate's."""
        self._losses.append(self._loss(before, after))
        for name, value in before.items():
            a, b = value.astype(np.float64).ravel(), after[name].astype(np.float64).ravel()
            size = float(np.linalg.norm(a) * np.linalg.norm(b))
            row = {"signal": a @ a, "noise": (b - a) @ (b - a), "cosine": a @ b / max(size, _TINY)}
            for kind, number in row.items():
                self._sums[kind][name] += float(number)  # type: ignore[assignment]
        if self._spec is not None:
            self._add_meaning(self._spec, before, after)

    def _add_meaning(
        self, spec: ModelSpec, before: Mapping[str, NDArray[Any]], after: Mapping[str, NDArray[Any]]
    ) -> None:
        if self._decoder is None:
            self._decoder = decoder_of(spec, before)
        place = placement_of(spec)
        ours, theirs = self._decoder(before, place), self._decoder(after, place)
        if isinstance(ours, Detections) and isinstance(theirs, Detections):
            match = match_frame(ours, theirs, self._decoder.score_threshold)
            self._counts.update(float=match.float_boxes, kept=match.kept, extra=match.int8_boxes - match.kept)
            self._squares += float(np.square(match.score_errors).sum())
            self._counts["scores"] += match.kept
        elif not isinstance(ours, Detections) and not isinstance(theirs, Detections):
            best = int(ours.class_ids[0])
            self._counts["same"] += int(best == int(theirs.class_ids[0]))
            said = float(theirs.scores[theirs.class_ids == best].sum())
            self._squares += (said - float(ours.scores[0])) ** 2
            self._counts["scores"] += 1

    def fidelity(self) -> Fidelity:
        """The figures of all pictures taken in; at least one."""
        pictures = len(self._losses)
        signal, noise, cosine = (self._sums[kind] for kind in ("signal", "noise", "cosine"))
        detects = "float" in self._counts
        classifies = self._decoder is not None and not detects
        scores = self._counts["scores"]
        return Fidelity(
            loss=float(np.mean(self._losses)),
            pictures=pictures,
            sqnr_db={name: _decibel(signal[name], noise[name]) for name in signal},
            cosine={name: total / pictures for name, total in cosine.items()},
            score_rmse=math.sqrt(self._squares / scores) if scores else None,
            same_top=self._counts["same"] / pictures if classifies else None,
            float_boxes=self._counts["float"] if detects else None,
            kept_boxes=self._counts["kept"] if detects else None,
            extra_boxes=self._counts["extra"] if detects else None,
        )


def decoder_of(spec: ModelSpec | None, outputs: Mapping[str, NDArray[Any]]) -> Decoder:
    """What reads a model's raw outputs.

    Args:
        spec: How they are read.
        outputs: Of one picture, for their shapes.

    Raises:
        JudgeError: Nobody knows how they are read.
    """
    if spec is None:
        msg = "the model's outputs have no meaning that is known"
        raise JudgeError(msg)
    tensors = {name: TensorSpec(name, value.shape, "float32") for name, value in outputs.items()}
    return make_decoder(spec.decode, spec.preprocess, spec.arrays, tensors)


def placement_of(spec: ModelSpec | None) -> Placement:
    """Boxes stay in the network's picture: overlaps are what counts here."""
    width, height = (1, 1) if spec is None else (spec.preprocess.width, spec.preprocess.height)
    return Placement(1.0, 1.0, 0.0, 0.0, width, height)


def _decibel(signal: float, noise: float) -> float:
    if not math.isfinite(noise):
        return -_MOST_DB
    if noise == 0:
        return _MOST_DB
    return max(-_MOST_DB, min(_MOST_DB, 10.0 * math.log10(max(signal, _TINY) / noise)))
