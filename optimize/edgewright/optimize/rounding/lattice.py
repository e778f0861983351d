"""Integers nearest to given reals, where distance is measured by a second moment.

For reals ``t`` (weights in units of their step) and a moment ``M`` the best codes ``q`` make ``(q - t) M (q - t)`` least.
Rounding each number for itself is best only for a diagonal ``M``; pixels that lie side by side are nearly equal, so a
good ``q`` lets the errors of one filter cancel. This is the closest vector problem of lattices; three ways here:

- ``round_exactly`` tries every combination of rounding down and up: exact for up to ``EXACT_TAPS`` numbers (the rounding
  problem of Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization").
- ``round_by_search`` walks a tree from the last number to the first and keeps the best ``beam`` beginnings (the K-best
  variant of sphere decoding; Agrell et al. 2002, "Closest point search in lattices"). It is not bound to the two
  neighbours of each real and takes any number of taps.
- ``round_by_columns`` keeps one beginning only, which is Babai's nearest plane, but does whole matrices.
- ``descend`` improves codes by single steps of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "EXACT_TAPS",
    "descend",
    "moment_error",
    "round_by_columns",
    "round_by_search",
    "round_exactly",
    "round_plainly",
]

EXACT_TAPS = 10
"""Up to how many numbers all combinations are tried."""

_BLOCK = 64
_TINY = 1e-12
_LIFT = 1e-5


def moment_error(
    codes: NDArray[np.float64], reals: NDArray[np.float64], moment: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean squared output error in units of the weights' step.

    Args:
        codes: (groups, rows, taps).
        reals: Of the same shape.
        moment: (groups, taps, taps).

    Returns:
        (groups, rows).
    """
    off = codes - reals
    return np.asarray(np.einsum("grt,grt->gr", off @ moment, off))


def round_plainly(reals: NDArray[np.float64], limits: tuple[int, int]) -> NDArray[np.float64]:
    """Each number for itself."""
    return np.clip(np.rint(reals), *limits)


def round_exactly(
    reals: NDArray[np.float64], moment: NDArray[np.float64], limits: tuple[int, int]
) -> NDArray[np.float64]:
    """The best combination of rounding down and up.

    Args:
        reals: (channels, taps), at most ``EXACT_TAPS`` taps.
        moment: (channels, taps, taps).
        limits: Smallest and largest code.

    Returns:
        Codes of the shape of ``reals``.
    """
    taps = reals.shape[1]
    down = np.clip(np.floor(reals), *limits)
    up = np.clip(down + 1, *limits)
    choices = (np.arange(2**taps)[:, None] >> np.arange(taps) & 1).astype(np.float64)
    pairs = (choices[:, :, None] * choices[:, None, :]).reshape(len(choices), -1)
    off, width = down - reals, up - down
    # (off + width * choice) M (off + width * choice), less what no choice changes
    scaled = moment * width[:, :, None] * width[:, None, :]
    linear = 2 * width * np.einsum("ct,ctu->cu", off, moment)
    errors = scaled.reshape(len(reals), -1) @ pairs.T + linear @ choices.T
    return np.asarray(down + width * choices[np.argmin(errors, axis=1)])


def round_by_search(
    reals: NDArray[np.float64], moment: NDArray[np.float64], limits: tuple[int, int], beam: int = 64
) -> NDArray[np.float64]:
    """The best codes that a search of limited width finds.

    Args:
        reals: (channels, taps).
        moment: (channels, taps, taps).
        limits: Smallest and largest code.
        beam: Beginnings kept for each channel.

    Returns:
        Codes of the shape of ``reals``.
    """
    channels, taps = reals.shape
    # Taps are settled from the last to the first: those that weigh most first, while others can make good for them.
    order = np.argsort(np.einsum("ctt->ct", moment), axis=1)
    reals_ = np.take_along_axis(reals, order, axis=1)
    sorted_ = np.take_along_axis(np.take_along_axis(moment, order[:, :, None], axis=1), order[:, None, :], axis=2)
    factor = np.linalg.cholesky(_definite(sorted_)).transpose(0, 2, 1)  # upper: moment = factor^T factor
    codes = np.zeros((channels, 1, taps))
    costs = np.zeros((channels, 1))
    steps = np.array([0.0, -1.0, 1.0])
    for tap in range(taps - 1, -1, -1):
        known = np.einsum("cbt,ct->cb", codes[:, :, tap + 1 :] - reals_[:, None, tap + 1 :], factor[:, tap, tap + 1 :])
        pivot = factor[:, tap, tap][:, None]
        best = np.clip(np.rint(reals_[:, tap, None] - known / pivot), *limits)
        tried = np.clip(best[:, :, None] + steps, *limits)
        added = (known[:, :, None] + pivot[:, :, None] * (tried - reals_[:, tap, None, None])) ** 2
        # A step beyond the limits repeats a code that is there already.
        added[:, :, 1:] = np.where(tried[:, :, 1:] == tried[:, :, :1], np.inf, added[:, :, 1:])
        total = (costs[:, :, None] + added).reshape(channels, -1)
        keep = min(beam, total.shape[1])
        chosen = np.argpartition(total, keep - 1, axis=1)[:, :keep]
        codes = np.take_along_axis(codes, (chosen // 3)[:, :, None], axis=1)
        codes[:, :, tap] = np.take_along_axis(tried.reshape(channels, -1), chosen, axis=1)
        costs = np.take_along_axis(total, chosen, axis=1)
    winner = np.take_along_axis(codes, np.argmin(costs, axis=1)[:, None, None], axis=1)[:, 0]
    result = np.empty_like(winner)
    np.put_along_axis(result, order, winner, axis=1)
    return result


def round_by_columns(
    reals: NDArray[np.float64], moment: NDArray[np.float64], limits: tuple[int, int]
) -> NDArray[np.float64]:
    """Rounds input by input, and lets the inputs not yet rounded make good for the error.

    Args:
        reals: (rows, taps).
        moment: (taps, taps).
        limits: Smallest and largest code.

    Returns:
        Codes of the shape of ``reals``.
    """
    taps = len(moment)
    order = np.argsort(-np.diag(moment), kind="stable")
    damped = _definite(moment)[np.ix_(order, order)]
    left = reals[:, order].copy()
    codes = np.empty_like(left)
    spread = np.linalg.cholesky(np.linalg.inv(damped)).T
    for start in range(0, taps, _BLOCK):
        stop = min(start + _BLOCK, taps)
        errors = np.empty((len(left), stop - start))
        for tap in range(start, stop):
            codes[:, tap] = np.clip(np.rint(left[:, tap]), *limits)
            errors[:, tap - start] = (left[:, tap] - codes[:, tap]) / spread[tap, tap]
            left[:, tap:stop] -= np.outer(errors[:, tap - start], spread[tap, tap:stop])
        left[:, stop:] -= errors @ spread[start:stop, stop:]
    result = np.empty_like(codes)
    result[:, order] = codes
    return result


def descend(
    codes: NDArray[np.float64],
    reals: NDArray[np.float64],
    moment: NDArray[np.float64],
    limits: tuple[int, int],
    most: int,
) -> NDArray[np.float64]:
    """Takes, in each row, the step of one code that lowers the error most, until none does.

    Args:
        codes: (rows, taps), where to start.
        reals: (rows, taps).
        moment: (taps, taps).
        limits: Smallest and largest code.
        most: Steps a row at most.

    Returns:
        Codes of the shape of ``codes``.
    """
    codes = codes.copy()
    slope = (codes - reals) @ moment
    diagonal = np.diag(moment)
    active = np.arange(len(codes))
    for _ in range(most):
        step = np.where(slope[active] > 0, -1.0, 1.0)
        gain = 2 * np.abs(slope[active]) - diagonal
        moved = codes[active] + step
        gain[(moved < limits[0]) | (moved > limits[1])] = -np.inf
        best = np.argmax(gain, axis=1)
        useful = gain[np.arange(len(active)), best] > _TINY
        active, best, step = active[useful], best[useful], step[useful]
        if not len(active):
            break
        taken = step[np.arange(len(active)), best]
        codes[active, best] += taken
        slope[active] += taken[:, None] * moment[best]
    return codes


def _definite(moment: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lifts the diagonal a hair, so that inputs that are always zero or equal leave the factor in being.

    More than the noise of moments that were summed up in single precision.
    """
    taps = moment.shape[-1]
    size = np.trace(moment, axis1=-2, axis2=-1) / taps
    return np.asarray(moment + np.eye(taps) * (size * _LIFT + _TINY)[..., None, None])
