"""Finds ``package.module:factory`` of a training set and calls it. The user's code runs here and in its items."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray  # noqa: TC002 - a dataclass reads it

from edgewright.bundle.errors import EdgewrightError
from edgewright.optimize.errors import DataError, LabelsError
from edgewright.optimize.sources.user_code import UserFunction
from edgewright.optimize.training.types import Boxes

__all__ = ["Item", "call_data_factory", "items"]

_PAIR = 2
_GREY_AXES = 2
_COLOR_AXES = 3


@dataclass(frozen=True, eq=False)
class Item:
    """One picture of a user's data set.

    Attributes:
        name: For people.
        image: (H, W, 3) uint8 BGR.
        label: A class, its name, the boxes (parts of the picture's width and height), or None.
    """

    name: str
    image: NDArray[np.uint8]
    label: int | str | Boxes | None


def call_data_factory(reference: str) -> Any:
    """What the user's factory returns; the current folder can be imported from while it is called.

    Args:
        reference: ``package.module:factory``, called without arguments.

    Raises:
        DataError: It cannot be found, imported or called.
    """
    return UserFunction(reference, "data factory", "training set", DataError).call()


def items(made: Any, reference: str) -> Iterator[Item]:
    """The pictures of a sequence or of a PyTorch ``Dataset``, checked.

    Args:
        made: What the factory returned.
        reference: What to call it in errors.

    Raises:
        DataError: It is no sequence, or an item is no picture with a label.
    """
    if not isinstance(made, Sized) or not hasattr(made, "__getitem__"):
        msg = (
            f"{reference} returned {type(made).__name__}, which cannot be asked for by number; return a TrainingSet, or "
            "a sequence of (image, label): image uint8 (H, W, 3) in BGR order, label a class, Boxes or None"
        )
        raise DataError(msg)
    for row in range(len(made)):
        where = f"{reference} row {row}"
        try:
            item = made[row]
        except EdgewrightError:
            raise
        except Exception as error:
            # The user's code may raise anything.
            msg = f"{where} cannot be read: {type(error).__name__}: {error}"
            raise DataError(msg) from error
        yield _item(item, where)


def _item(item: object, where: str) -> Item:
    if isinstance(item, np.ndarray):
        return Item(where, _image(item, where), None)
    if not isinstance(item, (tuple, list)) or len(item) != _PAIR:
        size = f" of {len(item)}" if isinstance(item, (tuple, list)) else ""
        msg = f"{where} is {type(item).__name__}{size}; it must be (image, label)"
        raise DataError(msg)
    image, label = item
    if isinstance(label, np.ndarray) and label.ndim == 0:
        label = label.item()
    if isinstance(label, np.integer):
        label = int(label)
    known = label is None or isinstance(label, (int, str, Boxes))
    if not known or isinstance(label, bool):
        msg = f"{where} has a label of type {type(label).__name__}; give a class number, a class name, Boxes or None"
        raise LabelsError(msg)
    return Item(where, _image(image, where), label)


def _image(image: object, where: str) -> NDArray[np.uint8]:
    if not isinstance(image, np.ndarray):
        msg = f"{where} has a picture of type {type(image).__name__}; give a NumPy array, uint8 (H, W, 3) in BGR order"
        raise DataError(msg)
    if image.ndim == _GREY_AXES and image.dtype == np.uint8 and image.size:
        return np.repeat(image[..., None], 3, axis=2)
    if image.dtype != np.uint8 or image.ndim != _COLOR_AXES or image.shape[2] != _COLOR_AXES or not image.size:
        msg = f"{where} has a picture of {image.dtype} {image.shape}; give uint8 (H, W, 3) in BGR order, undistorted"
        raise DataError(msg)
    return np.ascontiguousarray(image)
