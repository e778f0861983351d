"""Sums of two products in sixteen bits, as x86 processors without VNNI compute them.

``vpmaddubsw`` multiplies unsigned with signed bytes, adds neighbouring products and cuts the sum at -32768 and 32767
before it goes into 32 bits. Two rows ``2k`` and ``2k + 1`` of the weight matrix make a pair; a last row without
neighbour is paired with zeros. Raw activation codes take part: their zero point is taken off afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["TOP_CODE", "capable_pairs", "paired_excess", "saturated_product"]

_LOW, _HIGH = -32768, 32767
TOP_CODE = 255
"""Largest uint8 code."""


def capable_pairs(weights: NDArray[Any], top: int = TOP_CODE) -> NDArray[np.bool_]:
    """Which pairs of weights could overflow for some activation codes from 0 to ``top``.

    Args:
        weights: Signed codes, (k, n).
        top: Largest activation code that occurs.

    Returns:
        (ceil(k / 2), n).
    """
    first, second = _halves(weights)
    highest = top * (np.maximum(first, 0) + np.maximum(second, 0))
    lowest = top * (np.minimum(first, 0) + np.minimum(second, 0))
    return np.asarray((highest > _HIGH) | (lowest < _LOW))


def paired_excess(
    column: Callable[[int], NDArray[Any]], positions: int, weights: NDArray[Any], capable: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """What saturation adds to an integer matrix product: the sum over pairs of (cut sum - true sum).

    Only pairs that can overflow are looked at, so that the rest of the product costs nothing.

    Args:
        column: Gives the activation codes (positions,) that meet row k of ``weights``.
        positions: How many rows the product has.
        weights: Signed codes, (k, n).
        capable: As ``capable_pairs`` says.

    Returns:
        (positions, n).
    """
    rows, outputs = weights.shape
    excess = np.zeros((positions, outputs), np.int64)
    first, second = _halves(weights)
    for pair in np.flatnonzero(capable.any(axis=1)):
        chosen = np.flatnonzero(capable[pair])
        left = column(2 * int(pair)).astype(np.int32)
        right = column(2 * int(pair) + 1).astype(np.int32) if 2 * pair + 1 < rows else np.zeros_like(left)
        if not capable_pairs(weights[2 * pair : 2 * pair + 2, chosen], int(max(left.max(), right.max()))).any():
            continue
        sums = left[:, None] * first[pair, chosen] + right[:, None] * second[pair, chosen]
        excess[:, chosen] += np.clip(sums, _LOW, _HIGH) - sums
    return excess


def saturated_product(codes: NDArray[np.uint8], weights: NDArray[np.int8]) -> NDArray[np.int64]:
    """The product of raw codes (m, k) and weights (k, n) with saturating pairs."""
    exact: NDArray[np.int64] = codes.astype(np.int64) @ weights.astype(np.int64)
    return exact + paired_excess(lambda row: codes[:, row], len(codes), weights, capable_pairs(weights))


def _halves(weights: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Even and odd rows, the odd ones filled up with zeros."""
    wide = weights.astype(np.int32)
    first, second = wide[0::2], wide[1::2]
    if len(second) < len(first):
        second = np.concatenate([second, np.zeros((1, wide.shape[1]), np.int32)])
    return first, second
