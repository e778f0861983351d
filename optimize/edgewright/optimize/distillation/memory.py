"""What a teacher said, by picture and view, within a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch

__all__ = ["AnswerMemory"]

_FIRST_SLOTS = 256


class AnswerMemory:
    """Rows of tensors under (picture, view); what does not fit any more is not kept, what is kept stays.

    Nothing is thrown out for something newer: epochs come by in turn, and a memory that forgets the oldest would have
    forgotten every picture by the time it comes again.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Starts empty.

        Args:
            limit_bytes: Most memory for answers.
        """
        self._limit = limit_bytes
        self._places: dict[tuple[int, int], int] = {}
        self._tensors: list[torch.Tensor] = []
        self._most = 0

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._places)

    def place(self, key: tuple[int, int]) -> int | None:
        """Where the answer is, None where it is not kept."""
        return self._places.get(key)

    def keep(self, keys: Iterable[tuple[int, int]], tensors: Sequence[torch.Tensor]) -> None:
        """Keeps answers as far as they fit.

        Args:
            keys: Of each row.
            tensors: (n, ...) each, the same ones every time.
        """
        import torch

        if not self._tensors:
            each = sum(tensor[0].numel() for tensor in tensors) * torch.float32.itemsize
            self._most = self._limit // max(each, 1)
            slots = min(self._most, _FIRST_SLOTS)
            self._tensors = [torch.empty((slots, *tensor.shape[1:]), dtype=torch.float32) for tensor in tensors]
        for row, key in enumerate(keys):
            if key in self._places or len(self._places) >= self._most:
                continue
            place = len(self._places)
            if place == len(self._tensors[0]):
                self._grow()
            for kept, tensor in zip(self._tensors, tensors, strict=True):
                kept[place] = tensor[row]
            self._places[key] = place

    def take(self, places: Sequence[int]) -> tuple[torch.Tensor, ...]:
        """The answers there, float32 on the processor."""
        import torch

        index = torch.tensor(places, dtype=torch.long)
        return tuple(tensor[index] for tensor in self._tensors)

    def _grow(self) -> None:
        slots = min(self._most, 2 * len(self._tensors[0]))
        for number, tensor in enumerate(self._tensors):
            wider = tensor.new_empty((slots, *tensor.shape[1:]))
            wider[: len(tensor)] = tensor
            self._tensors[number] = wider
