"""The loss of SSD-type detectors: classes of anchors and codes of those that answer for an object (Liu et al. 2016).

Nearly all anchors see nothing. Either only the hardest of those count, so many for each that sees something
(Liu et al. 2016), or all count and easy ones hardly (focal loss, Lin et al. 2017).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import ScoreActivation, SsdDecode
from edgewright.optimize.errors import LabelsError, SpecError
from edgewright.optimize.training.losses.anchors import Matcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from edgewright.optimize.training.losses.outputs import Reading
    from edgewright.optimize.training.types import Boxes

__all__ = ["Multibox", "MultiboxSettings"]

_LEAST_SHARE = 1e-6


@dataclass(frozen=True)
class MultiboxSettings:
    """How a detector learns from boxes.

    Attributes:
        match_iou: An anchor that overlaps an object by this much answers for it.
        negatives: Anchors that see nothing and count, for each that sees something.
        least_negatives: So many count in every labelled picture, empty ones too.
        focal: The focal loss instead of choosing negatives.
        gamma: Of the focal loss: how much less the easy ones count.
        alpha: Of the focal loss: weight of objects, against 1 - alpha of the rest.
        boxes: Weight of the codes against the classes.
    """

    match_iou: float = 0.5
    negatives: float = 3.0
    least_negatives: int = 8
    focal: bool = False
    gamma: float = 2.0
    alpha: float = 0.25
    boxes: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


class Multibox:
    """Compares a detector's raw outputs with labelled boxes."""

    def __init__(self, reading: Reading, settings: MultiboxSettings) -> None:
        """Prepares the matching.

        Args:
            reading: Where the outputs are.
            settings: How it learns.

        Raises:
            SpecError: The head cannot say "nothing": softmax without a background column.
        """
        decode = reading.decode
        if not isinstance(decode, SsdDecode):
            msg = f"{reading.spec.name} is no SSD-type detector"
            raise SpecError(msg)
        if decode.activation is ScoreActivation.SOFTMAX and decode.background is None:
            msg = (
                f"{reading.spec.name}: a softmax over classes without a background column cannot learn what is nothing"
            )
            raise SpecError(msg)
        self._reading, self._settings, self._decode = reading, settings, decode
        self._match = Matcher(decode, reading.spec.arrays[decode.anchors], settings.match_iou)

    def __call__(
        self, scores: torch.Tensor, codes: torch.Tensor, boxes: Sequence[Boxes | None] | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses of classes and of codes, for each object on average.

        Args:
            scores: (n, anchors, columns), raw.
            codes: (n, anchors, 4), raw.
            boxes: Of each picture; pictures without labels count nothing.

        Raises:
            LabelsError: An object's class has no score column.
        """
        from torch.nn import functional

        rows = [row for row, known in enumerate(boxes or ()) if known is not None]
        if not rows or boxes is None:
            return scores[:0].sum(), codes[:0].sum()
        wanted = _Wanted(scores.shape[1], scores)
        for row in rows:
            wanted.add(self._match(boxes[row]))  # type: ignore[arg-type]  # those without labels are not in rows
        targets, weights, sides, where = wanted.tensors()
        each = self._class_losses(scores[rows], targets)
        counted = self._counted(each, targets, weights)
        objects = weights[targets >= 0].sum().clamp_min(1.0)
        picked = codes[rows].reshape(-1, 4)[where]
        apart = functional.smooth_l1_loss(picked, sides, reduction="none").sum(-1)
        of_boxes = (apart * weights.reshape(-1)[where]).sum() / objects
        return (each * counted).sum() / objects, self._settings.boxes * of_boxes

    def _class_losses(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(n, anchors): how wrong the classes of each anchor are."""
        import torch
        from torch.nn import functional

        columns = scores.shape[-1]
        foreground = self._reading.foreground(columns)
        highest = int(targets.max())
        if highest >= len(foreground):
            msg = f"a labelled object is of class {highest}, the detector has scores for {len(foreground)} classes"
            raise LabelsError(msg)
        activation = self._decode.activation
        if activation is ScoreActivation.SOFTMAX and self._decode.background is not None:
            column = torch.tensor([*foreground, self._decode.background], device=scores.device)
            shares = scores.log_softmax(-1)
            chosen = shares.gather(-1, column[targets][..., None])[..., 0]  # -1 is the last: the background
            return self._softened(-chosen, chosen.exp(), targets >= 0)
        there = functional.one_hot(targets + 1, len(foreground) + 1)[..., 1:].to(scores.dtype)
        seen = scores[..., foreground]
        if activation is ScoreActivation.NONE:
            share = seen.clamp(_LEAST_SHARE, 1.0 - _LEAST_SHARE)
            each = functional.binary_cross_entropy(share, there, reduction="none")
        else:
            share = seen.sigmoid()
            each = functional.binary_cross_entropy_with_logits(seen, there, reduction="none")
        right = there * share + (1.0 - there) * (1.0 - share)
        return self._softened(each, right, there > 0).sum(-1)

    def _softened(self, losses: torch.Tensor, right: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """With the focal loss, what is nearly right hardly counts."""
        import torch

        if not self._settings.focal:
            return losses
        alpha = self._settings.alpha
        return losses * (1.0 - right) ** self._settings.gamma * torch.where(there, alpha, 1.0 - alpha)

    def _counted(self, losses: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """(n, anchors): how much each anchor counts; ignored ones have weight 0 and never do."""
        import torch

        if self._settings.focal:
            return weights
        objects = targets >= 0
        least = self._settings.least_negatives
        most = (objects.sum(-1) * self._settings.negatives).ceil().long().clamp_min(least)
        hard = losses.detach().masked_fill(objects | (weights <= 0), -1.0)
        order = hard.argsort(dim=-1, descending=True, stable=True)
        rank = order.argsort(dim=-1, stable=True)
        chosen = (rank < most[:, None]) & (hard >= 0)
        return torch.where(objects, weights, chosen.to(weights.dtype))


class _Wanted:
    """Collects what the anchors of a batch should say."""

    def __init__(self, anchors: int, like: torch.Tensor) -> None:
        self._anchors, self._device = anchors, like.device
        self._rows: list[Any] = []

    def add(self, matches: Any) -> None:
        self._rows.append(matches)

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Targets (n, anchors), -1 for nothing; weights (n, anchors); codes (k, 4) and their flat places (k,)."""
        import numpy as np
        import torch

        targets = np.full((len(self._rows), self._anchors), -1, np.int64)
        weights = np.ones((len(self._rows), self._anchors), np.float32)
        for row, matches in enumerate(self._rows):
            targets[row, matches.objects] = matches.classes
            weights[row, matches.objects] = matches.weights
            weights[row, matches.ignored] = 0.0
        codes = np.concatenate([matches.codes for matches in self._rows])
        where = np.concatenate([matches.objects + row * self._anchors for row, matches in enumerate(self._rows)])
        arrays = (targets, weights, codes, where.astype(np.int64))
        made = [torch.from_numpy(array).to(self._device) for array in arrays]
        return made[0], made[1], made[2], made[3]
