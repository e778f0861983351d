"""From raw outputs to detections or classes, exactly as the bundle says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgewright.bundle.manifest import Box, ClassifyDecode, ScoreActivation, SsdDecode
from edgewright.runtime.errors import ModelMismatchError
from edgewright.runtime.nms import suppress
from edgewright.runtime.types import Classification, Detections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Decode, Preprocess, TensorSpec
    from edgewright.runtime.preprocess import Placement

__all__ = ["ClassifyDecoder", "Decoder", "SsdDecoder", "dequantized", "make_decoder"]

# Suppression takes time in the square of this; a crowd has hundreds of boxes, not thousands.
_MAX_CANDIDATES = 3000
_LOGIT_LIMIT = 80.0


class Decoder(Protocol):
    """Turns the raw outputs of one frame into what they mean."""

    @property
    def score_threshold(self) -> float:
        """What counts as seen unless the caller says otherwise."""

    def __call__(
        self, outputs: Mapping[str, NDArray[Any]], placement: Placement, score_threshold: float | None = None
    ) -> Detections | Classification:
        """Decodes one frame's outputs into frame pixels."""


def make_decoder(
    decode: Decode, preprocess: Preprocess, arrays: Mapping[str, NDArray[Any]], outputs: Mapping[str, TensorSpec]
) -> Decoder:
    """The decoder a manifest asks for.

    Args:
        decode: Head and constants.
        preprocess: Gives the network's picture size.
        arrays: The named array files that ``decode`` points to.
        outputs: The variant's outputs by name, for shapes and quantization.

    Raises:
        ModelMismatchError: Outputs, anchors and head do not belong together.
    """
    if isinstance(decode, SsdDecode):
        return SsdDecoder(decode, preprocess, arrays, outputs)
    return ClassifyDecoder(decode, outputs)


def dequantized(values: NDArray[Any], spec: TensorSpec) -> NDArray[np.float32]:
    """What a tensor's integers stand for; float tensors as they are.

    Args:
        values: Of an output.
        spec: Its description.
    """
    if spec.scale is None or spec.zero_point is None:
        return values.astype(np.float32, copy=False)
    return (values.astype(np.float32) - np.float32(spec.zero_point)) * np.float32(spec.scale)


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    limited = np.clip(values, -_LOGIT_LIMIT, _LOGIT_LIMIT)
    return (1.0 / (1.0 + np.exp(-limited))).astype(np.float32)


def _softmax(values: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: NDArray[np.float32] = (shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float32)
    return shares


_ACTIVATIONS = {ScoreActivation.SIGMOID: _sigmoid, ScoreActivation.SOFTMAX: _softmax}


def _activate(values: NDArray[np.float32], activation: ScoreActivation) -> NDArray[np.float32]:
    function = _ACTIVATIONS.get(activation)
    return function(values) if function else values


class SsdDecoder:
    """Anchors plus codes to boxes; see ``SsdDecode`` for the formula and its source."""

    def __init__(
        self,
        decode: SsdDecode,
        preprocess: Preprocess,
        arrays: Mapping[str, NDArray[Any]],
        outputs: Mapping[str, TensorSpec],
    ) -> None:
        """Checks that anchors and outputs have the same length and keeps the constants.

        Raises:
            ModelMismatchError: They do not.
        """
        self._decode = decode
        self._boxes, self._scores = outputs[decode.boxes], outputs[decode.scores]
        anchors = arrays[decode.anchors]
        count = len(anchors)
        # An empty array, a wrong width or outputs of another length would decode to nonsense, not to an error.
        fits = (
            anchors.shape == (count, 4)
            and count > 0
            and np.prod(self._boxes.shape) == count * 4
            and np.prod(self._scores.shape) % count == 0
        )
        if not fits:
            msg = (
                f"anchors {decode.anchors} have shape {anchors.shape}, output {decode.boxes!r} {self._boxes.shape} and "
                f"{decode.scores!r} {self._scores.shape}: they need (n, 4), n*4 and n*classes values"
            )
            raise ModelMismatchError(msg)
        self._classes = int(np.prod(self._scores.shape)) // count
        if decode.background is not None and not 0 <= decode.background < self._classes:
            msg = f"decode.background {decode.background} is not one of the {self._classes} score columns"
            raise ModelMismatchError(msg)
        self._foreground = np.array([c for c in range(self._classes) if c != decode.background], np.intp)
        self._anchors = anchors.astype(np.float32)
        self._net_size = np.array([preprocess.width, preprocess.height] * 2, np.float32)

    @property
    def score_threshold(self) -> float:
        """The bundle's threshold."""
        return self._decode.score_threshold

    def __call__(
        self, outputs: Mapping[str, NDArray[Any]], placement: Placement, score_threshold: float | None = None
    ) -> Detections:
        """Decodes one frame.

        Args:
            outputs: Raw outputs by name.
            placement: Where the frame lies in the network's picture.
            score_threshold: Overrides the bundle's.

        Returns:
            Boxes in frame pixels, suppressed, best first; class 0 is the first that is not background.
        """
        threshold = self.score_threshold if score_threshold is None else score_threshold
        scores = self._foreground_scores(outputs)
        rows, classes = np.nonzero(scores >= threshold)
        kept = scores[rows, classes]
        if len(kept) > _MAX_CANDIDATES:
            best = np.argpartition(-kept, _MAX_CANDIDATES)[:_MAX_CANDIDATES]
            rows, classes, kept = rows[best], classes[best], kept[best]
        codes = dequantized(outputs[self._decode.boxes].reshape(-1, 4)[rows], self._boxes)
        boxes = placement.to_frame(self._corners(codes, self._anchors[rows]) * self._net_size)
        # Outside the frame nothing is left of a box; NaN codes compare false and go the same way.
        visible = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        found = Detections(boxes, kept.astype(np.float32), classes.astype(np.int64)).select(visible)
        return suppress(found, self._decode.iou_threshold, self._decode.max_detections)

    def _foreground_scores(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        raw = dequantized(outputs[self._decode.scores].reshape(-1, self._classes), self._scores)
        if self._decode.activation is ScoreActivation.SOFTMAX:
            return _softmax(raw)[:, self._foreground]
        return _activate(raw[:, self._foreground], self._decode.activation)

    def _corners(self, codes: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._decode.order is Box.YXHW:
            codes = codes[:, [1, 0, 3, 2]]
        centre = codes[:, :2] * np.float32(self._decode.variance_xy) * anchors[:, 2:] + anchors[:, :2]
        limited = np.clip(codes[:, 2:] * np.float32(self._decode.variance_wh), -_LOGIT_LIMIT, _LOGIT_LIMIT)
        half = np.exp(limited) * anchors[:, 2:] / 2
        return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


class ClassifyDecoder:
    """Scores to the best classes."""

    def __init__(self, decode: ClassifyDecode, outputs: Mapping[str, TensorSpec]) -> None:
        """Keeps the constants."""
        self._decode = decode
        self._spec = outputs[decode.scores]

    @property
    def score_threshold(self) -> float:
        """A classifier always answers."""
        return 0.0

    def __call__(
        self,
        outputs: Mapping[str, NDArray[Any]],
        placement: Placement,  # noqa: ARG002 - classes have no place
        score_threshold: float | None = None,
    ) -> Classification:
        """The ``top_k`` best classes, of those at or above ``score_threshold`` when one is given."""
        raw = dequantized(outputs[self._decode.scores].reshape(-1), self._spec)
        scores = _activate(raw, self._decode.activation)
        best = np.argsort(-scores, kind="stable")[: self._decode.top_k]
        if score_threshold is not None:
            best = best[scores[best] >= score_threshold]
        return Classification(best.astype(np.int64), scores[best].astype(np.float32))
