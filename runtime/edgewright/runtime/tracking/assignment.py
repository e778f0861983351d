"""Best pairing of tracks and boxes: gated, optimal, NumPy and plain Python only.

``assign`` solves a dense cost matrix exactly by shortest augmenting paths (Jonker and Volgenant 1987; the rectangular
form as in Crouse 2016). ``assign_gated`` is what a tracker asks: pair as cheaply as possible, where leaving a pair
apart costs ``limit``. In a camera picture nearly every box has one candidate and is its only candidate; those pairs
are taken at once and only the entangled rest is solved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["assign", "assign_gated"]


def assign(cost: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of smallest total cost.

    Args:
        cost: (n, m) finite costs.

    Returns:
        Row and column indices, min(n, m) pairs, rows ascending.

    Raises:
        ValueError: A cost is not finite.
    """
    costs: NDArray[np.float64] = np.asarray(cost, dtype=np.float64)
    if not np.isfinite(costs).all():
        message = "assignment costs must be finite; use assign_gated to forbid pairs"
        raise ValueError(message)
    if costs.shape[0] > costs.shape[1]:
        columns, rows = _shortest_paths(costs.T)
        order = np.argsort(rows, kind="stable")
        return rows[order], columns[order]
    return _shortest_paths(costs)


def assign_gated(cost: NDArray[np.floating], limit: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs that make the sum of ``cost - limit`` smallest; only pairs below ``limit`` are ever made.

    Args:
        cost: (n, m); infinite means never.
        limit: What leaving one pair apart costs.

    Returns:
        Row and column indices of the pairs, rows ascending.
    """
    gain = np.asarray(cost, dtype=np.float64) - limit  # negative is good
    open_pairs = gain < 0.0
    if not open_pairs.any():
        none = np.zeros(0, np.intp)
        return none, none
    row_choices, column_choices = open_pairs.sum(axis=1), open_pairs.sum(axis=0)
    lonely = open_pairs & (row_choices == 1)[:, None] & (column_choices == 1)[None, :]
    rows, columns = np.nonzero(lonely)
    entangled = open_pairs & ~lonely
    left = np.nonzero(entangled.any(axis=1))[0]
    if len(left):
        right = np.nonzero(entangled.any(axis=0))[0]
        # A pair above the limit is worth exactly as much as none, so it may be "chosen" and thrown away.
        part = np.minimum(gain[np.ix_(left, right)], 0.0)
        chosen_left, chosen_right = assign(part)
        real = part[chosen_left, chosen_right] < 0.0
        rows = np.concatenate([rows, left[chosen_left[real]]])
        columns = np.concatenate([columns, right[chosen_right[real]]])
    order = np.argsort(rows, kind="stable")
    return rows[order], columns[order]


def _shortest_paths(cost: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """``assign`` for at least as many columns as rows."""
    count_rows, count_columns = cost.shape
    row_price = cost.min(axis=1) if count_columns else np.zeros(count_rows)
    column_price = np.zeros(count_columns)
    row_of = np.full(count_columns, -1, np.intp)
    column_of = np.full(count_rows, -1, np.intp)
    # Prices start at the rows' cheapest columns; whoever finds that column free takes it.
    for row, column in enumerate(cost.argmin(axis=1) if count_columns else ()):
        if row_of[column] < 0:
            row_of[column], column_of[row] = row, column
    for free in np.nonzero(column_of < 0)[0]:
        _augment(int(free), cost, (row_price, column_price), (row_of, column_of))
    return np.arange(count_rows), column_of


def _augment(
    start: int,
    cost: NDArray[np.float64],
    prices: tuple[NDArray[np.float64], NDArray[np.float64]],
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
) -> None:
    """Finds the cheapest alternating path from a free row to a free column (Dijkstra) and flips it."""
    row_price, column_price = prices
    row_of, column_of = pairs
    distance = np.full(cost.shape[1], np.inf)
    came_from = np.full(cost.shape[1], start, np.intp)
    open_distance = distance.copy()  # infinite for columns that are settled
    settled = np.zeros(cost.shape[1], bool)
    row, reached = start, 0.0
    tree = [start]
    while True:
        through = reached + cost[row] - row_price[row] - column_price
        better = (through < distance) & ~settled
        distance[better] = open_distance[better] = through[better]
        came_from[better] = row
        column = int(open_distance.argmin())
        reached = float(open_distance[column])
        settled[column] = True
        open_distance[column] = np.inf
        if row_of[column] < 0:
            break
        row = int(row_of[column])
        tree.append(row)
    row_price[start] += reached
    for row in tree[1:]:
        row_price[row] += reached - distance[column_of[row]]
    column_price[settled] -= reached - distance[settled]
    while True:
        row = int(came_from[column])
        row_of[column] = row
        column, column_of[row] = int(column_of[row]), column
        if row == start:
            return
