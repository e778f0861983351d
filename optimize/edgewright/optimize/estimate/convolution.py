"""Which kind of work a convolution or a matrix product is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.estimate.operators import Kind, Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["convolution", "product"]

_PICTURE_CHANNELS = 4


def convolution(
    name: str,
    kind: str,
    precision: str,
    *,
    window: Sequence[int],
    channels: tuple[int, int],
    groups: int,
    macs: int,
    numbers: int,
    weight_bytes: int,
    like: str = "",
) -> Operator:
    """A convolution.

    Args:
        name: As messages call it.
        kind: Operator, in the words of the format.
        precision: What it computes in.
        window: Sides of the window.
        channels: Read and made.
        groups: Of channels.
        macs: Multiplications.
        numbers: Numbers read and written, without weights.
        weight_bytes: Of its weights.
        like: Why it is not quite a convolution.
    """
    read, made = channels
    side = max(window)
    if groups == read and groups > 1:
        work, why = Kind.DEPTHWISE, "" if made == read else "several outputs a channel, priced as one"
    elif groups > 1:
        work, why = Kind.DENSE, "grouped, priced as a dense one of a group's width"
    elif side == 1:
        work, why = Kind.POINTWISE, ""
    elif read <= _PICTURE_CHANNELS:
        work, why = Kind.STEM, "" if side == 3 else f"window of {side}, priced as one of 3"
    else:
        work, why = Kind.DENSE, "" if side == 3 else f"window of {side}, priced as one of 3"
    if work is Kind.DEPTHWISE and side not in {3, 5}:
        why = why or f"window of {side}, priced as one of {3 if side < 4 else 5}"
    width = (read, made) if work is Kind.DEPTHWISE else (read // groups, made // groups)
    return Operator(
        name, kind, work, precision, macs, *width, side, weight_bytes=weight_bytes, numbers=numbers, like=like or why
    )


def product(
    name: str, kind: str, precision: str, *, rows: int, sizes: tuple[int, int], weight_bytes: int, like: str = ""
) -> Operator:
    """A matrix product.

    Args:
        name: As messages call it.
        kind: Operator, in the words of the format.
        precision: What it computes in.
        rows: Of the left matrix.
        sizes: Length of a sum, and columns made.
        weight_bytes: Of the right matrix.
        like: Why it is not quite a fully connected layer.
    """
    read, made = sizes
    work = Kind.CONNECTED if rows == 1 else Kind.POINTWISE
    macs, numbers = rows * read * made, rows * (read + made)
    return Operator(
        name, kind, work, precision, macs, read, made, weight_bytes=weight_bytes, numbers=numbers, like=like
    )
