"""Whether a sample is what the graph takes, said in words before the engine says it in its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.errors import DataError

if TYPE_CHECKING:
    from edgewright.optimize.types import Feeds

__all__ = ["FeedCheck"]


class FeedCheck:
    """Knows the inputs of one graph."""

    def __init__(self, model: bytes) -> None:
        """Reads them.

        Args:
            model: An ONNX file.
        """
        import onnx

        graph = onnx.load_model_from_string(model).graph
        constants = {tensor.name for tensor in graph.initializer}
        self._expected = {
            value.name: (
                np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
                tuple(axis.dim_value or None for axis in value.type.tensor_type.shape.dim),
            )
            for value in graph.input
            if value.name not in constants
        }

    def __call__(self, index: int, feeds: Feeds) -> None:
        """Checks one picture.

        Args:
            index: Which one, from 0, for the message.
            feeds: Inputs by name.

        Raises:
            DataError: A name, type or shape is wrong.
        """
        if feeds.keys() != self._expected.keys():
            takes, seen = ", ".join(sorted(self._expected)), ", ".join(sorted(feeds)) or "nothing"
            msg = f"picture {index} gives {seen}; the model takes {takes}: name the arrays as the model's inputs"
            raise DataError(msg)
        for name, (dtype, shape) in self._expected.items():
            value = feeds[name]
            fits = len(value.shape) == len(shape) and all(
                want is None or want == have for want, have in zip(shape, value.shape, strict=True)
            )
            if value.dtype != dtype or not fits:
                wanted = f"{dtype} {_written(shape)}"
                msg = (
                    f"picture {index}: input {name!r} is {value.dtype} {_written(value.shape)}, the model takes "
                    f"{wanted}; prepare samples with the model's own preprocessing"
                )
                raise DataError(msg)


def _written(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"
