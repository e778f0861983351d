"""Measured figures as people read them."""

from __future__ import annotations

__all__ = ["fixed", "milliseconds", "signed"]

_FINEST = 1e-3  # milliseconds; below it three digits would need an exponent


def fixed(value: float, decimals: int) -> str:
    """A number with so many decimals, and never a zero with a minus sign.

    Args:
        value: The number.
        decimals: Digits behind the point.
    """
    # A tiny negative number rounds to -0.0, and adding zero takes the sign off.
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def signed(value: float, decimals: int) -> str:
    """A difference with its sign; what rounds to zero has none.

    Args:
        value: The number.
        decimals: Digits behind the point.
    """
    shown = fixed(value, decimals)
    return shown if float(shown) <= 0 else f"+{shown}"


def milliseconds(value: float, decimals: int = 2) -> str:
    """A time: below one millisecond with three significant digits, for 0.0 would tell nothing of a small network.

    Args:
        value: Milliseconds.
        decimals: Digits behind the point from one millisecond on.

    Returns:
        Without the unit.
    """
    if not _FINEST <= value < 1:
        return fixed(value, decimals)
    return f"{value:#.3g}"
