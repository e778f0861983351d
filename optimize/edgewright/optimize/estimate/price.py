"""What one operator takes, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.optimize.estimate.operators import Kind, Operator

if TYPE_CHECKING:
    from edgewright.optimize.estimate.rates import Rate, Rates

__all__ = ["Price", "price"]

# How far a single operator may be off, as factors on its time. That an operator of the probed kind is this near was seen on
# the machines of docs/reference/estimates.md; the page says how often the ranges held.
_PROBED = (0.75, 1.35)
_BEYOND = (0.6, 1.8)  # the kind was probed, in other sizes
_LIKE = (0.4, 2.5)  # priced as another kind
_US = 1e-3  # microseconds of one unit of work at 1e9 units a second
_NAMES = {Kind.POINTWISE: "pointwise", Kind.DENSE: "dense3", Kind.STEM: "stem", Kind.CONNECTED: "connected"}
_WIDE_WINDOW = 4


@dataclass(frozen=True)
class Price:
    """What an operator takes, microseconds.

    Attributes:
        operator: Which.
        likely: Best guess.
        compute: Of that, what its multiplications take; 0 where its bytes take longer.
        low: At least.
        high: At most.
        keys: The probed figures that it rests on.
    """

    operator: Operator
    likely: float
    compute: float
    low: float
    high: float
    keys: tuple[str, ...]


def price(operator: Operator, rates: Rates) -> Price | None:
    """The price of an operator; None where the profile holds no figure for its kind.

    Args:
        operator: Of a known kind.
        rates: Of the engine, in the operator's precision.
    """
    if operator.kind is Kind.FREE:
        return Price(operator, 0.0, 0.0, 0.0, 0.0, ())
    found = _moving(operator, rates) if operator.kind in {Kind.MOVING, Kind.ACTIVATION} else _weighted(operator, rates)
    if found is None:
        return None
    compute, traffic, used = found
    overhead = rates.plain("operator")
    each = 0.0 if overhead is None else overhead.value
    keys = tuple(dict.fromkeys(key for rate in (*used, *([overhead] if overhead else [])) for key in rate.keys))
    likely = max(compute, traffic) + each
    low, high = _LIKE if operator.like else _PROBED if all(rate.probed for rate in used) else _BEYOND
    return Price(operator, likely, compute if compute >= traffic else 0.0, likely * low, likely * high, keys)


def _weighted(operator: Operator, rates: Rates) -> tuple[float, float, list[Rate]] | None:
    """Microseconds of the multiplications and of the bytes, and the rates they rest on."""
    rate = _compute_rate(operator, rates)
    if rate is None:
        return None
    used = [rate]
    compute = operator.macs / rate.value * _US
    traffic = 0.0
    reading = rates.plain("connected")
    if reading is not None and operator.kind is not Kind.CONNECTED:
        # A fully connected layer reads every weight for one multiplication.
        width = 1 if operator.precision == "int8" else 4
        weights = operator.weight_bytes / (reading.value * width) * _US
        traffic = max(traffic, weights)
    moving = rates.at("add", operator.numbers / 3)
    if moving is not None:
        traffic = max(traffic, operator.moved_bytes / moving.value * _US)
    return compute, traffic, used


def _compute_rate(operator: Operator, rates: Rates) -> Rate | None:
    if operator.kind is Kind.DEPTHWISE:
        narrow = operator.window < _WIDE_WINDOW
        return rates.at("depthwise3" if narrow else "depthwise5", operator.made)
    name = _NAMES[operator.kind]
    if operator.kind in {Kind.STEM, Kind.CONNECTED}:
        return rates.plain(name)
    # The time for one multiplication falls with both widths alike; so their harmonic mean decides.
    return rates.at(name, 2 / (1 / max(operator.source, 1) + 1 / max(operator.made, 1)))


def _moving(operator: Operator, rates: Rates) -> tuple[float, float, list[Rate]] | None:
    activation = operator.kind is Kind.ACTIVATION
    rate = rates.plain("leaky") if activation else rates.at("add", operator.numbers / 3)
    return None if rate is None else (0.0, operator.moved_bytes / rate.value * _US, [rate])
