"""Everything random of a training as a function of the seed and the step, so that it can go on from any step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = ["Draws"]

_ORDER, _DISTORTION, _TORCH = 0, 1, 2  # streams that have nothing to do with one another


class Draws:
    """What is drawn at each step.

    The pictures are dealt like a pack of cards that is shuffled anew whenever it is used up: every picture comes once
    in each pass, all batches are full, and one may reach over the end of a pass.
    """

    def __init__(self, seed: int, pictures: int, batch: int) -> None:
        """Draws nothing yet.

        Args:
            seed: Of all of it.
            pictures: Of the training set, at least 1.
            batch: Pictures a step; no more than there are will be taken.
        """
        self._seed = seed
        self._pictures = pictures
        self.batch = min(batch, pictures)
        self._orders: dict[int, NDArray[np.int64]] = {}

    def rows(self, step: int) -> NDArray[np.int64]:
        """The pictures of a step, from 1: (batch,) int64."""
        first = (step - 1) * self.batch
        pieces, position = [], first
        while position < first + self.batch:
            epoch, start = divmod(position, self._pictures)
            piece = self._order(epoch)[start : start + first + self.batch - position]
            pieces.append(piece)
            position += len(piece)
        return np.concatenate(pieces)

    def distortions(self, step: int) -> np.random.Generator:
        """What the training set draws from at a step, from 1."""
        return np.random.default_rng([self._seed, _DISTORTION, step])

    def seed_torch(self, step: int, device: torch.device) -> None:
        """Sets PyTorch's generators, such as dropout draws from, to those of a step, from 1."""
        import torch

        seed = int(np.random.SeedSequence([self._seed, _TORCH, step]).generate_state(1, np.uint64)[0])
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            # A step needs the pass it is in, and the next one at its end.
            self._orders = {old: order for old, order in self._orders.items() if old == epoch - 1}
            rng = np.random.default_rng([self._seed, _ORDER, epoch])
            self._orders[epoch] = rng.permutation(self._pictures).astype(np.int64)
        return self._orders[epoch]
