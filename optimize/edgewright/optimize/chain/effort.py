"""Which passes a chain tries: by effort, or by name.

A chain is a list of names, in the order in which they run:

- a range method (``minmax``, ``mean-minmax``, ``percentile:99.99``, ``entropy``, ``mse``): how activation ranges are set;
- ``mend-heads``: boxes and scores that share a grid get one each;
- ``fold-dead-channels``, ``equalize``, ``smooth``: scale passes, which change the float graph and not what it computes;
- ``round-depthwise``, ``round-second-moment``, ``correct-bias``: rounding passes, which change integers;
- ``mixed-precision``: a search for the regions that are worth their bytes in float;
- ``uint8-input``, ``dynamic``, ``weight-only``, ``float16``: further forms of the model, compared at the end.

By effort each pass is tried and kept only when the selection split improves. Named by hand (``--passes``, or ``passes``
in a recipe) each is applied without being asked, so that a recipe reproduces a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgewright.optimize.calibration.choice import RangeChoice
from edgewright.optimize.errors import SpecError

__all__ = ["FORMS", "MEND_HEADS", "MIXED_PRECISION", "PASSES", "Chain", "Effort", "chain_for", "parse_chain"]

RANGES = ("minmax", "mean-minmax", "percentile", "entropy", "mse")
SCALING = ("fold-dead-channels", "equalize", "smooth")
ROUNDING = ("round-depthwise", "round-second-moment", "correct-bias")
MEND_HEADS = "mend-heads"
MIXED_PRECISION = "mixed-precision"
FORMS = ("uint8-input", "dynamic", "weight-only", "float16")
PASSES = (*RANGES, MEND_HEADS, *SCALING, *ROUNDING, MIXED_PRECISION, *FORMS)
"""Every name a chain may hold; ``percentile`` may carry a share, as in ``percentile:99.99``."""


class Effort(str, Enum):
    """How much time the optimizer may spend on accuracy."""

    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"


@dataclass(frozen=True)
class Chain:
    """What is tried, in order.

    Attributes:
        ranges: Range methods; the first is the plain one that all else is held against.
        mend_heads: Look for shared grids in detection heads.
        scaling: Scale passes.
        rounding: Rounding passes.
        mixed_precision: Search for regions to keep in float, whatever the contract says.
        rescue: Search for them when the rest of the chain falls short of what the contract says of accuracy.
        forms: Further forms of the model.
        brief: Leave out of the report what is slow to measure and changes nothing.
        forced: Apply all without asking the selection split; then ``ranges`` holds one method.
    """

    ranges: tuple[str, ...]
    mend_heads: bool = True
    scaling: tuple[str, ...] = ()
    rounding: tuple[str, ...] = ()
    mixed_precision: bool = False
    rescue: bool = False
    forms: tuple[str, ...] = ()
    brief: bool = False
    forced: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All of it as ``parse_chain`` reads it."""
        heads = (MEND_HEADS,) if self.mend_heads else ()
        search = (MIXED_PRECISION,) if self.mixed_precision else ()
        return (*self.ranges, *heads, *self.scaling, *self.rounding, *search, *self.forms)


def chain_for(effort: Effort) -> Chain:
    """The passes that an effort tries."""
    plain = ("minmax", "mean-minmax")
    if effort is Effort.FAST:
        return Chain(plain, scaling=SCALING[:1], rounding=("round-depthwise",), forms=("uint8-input",), brief=True)
    if effort is Effort.BALANCED:
        return Chain(plain, scaling=SCALING[:1], rounding=ROUNDING, rescue=True, forms=FORMS)
    return Chain(
        (*plain, "percentile:99.99", "entropy", "mse"),
        scaling=SCALING,
        rounding=ROUNDING,
        mixed_precision=True,
        forms=FORMS,
    )


def parse_chain(names: tuple[str, ...]) -> Chain:
    """A chain named by hand.

    Args:
        names: Of ``PASSES``; the order within a kind is kept, kinds run in the order of the module's list.

    Raises:
        SpecError: A name is unknown or given twice, or there are two range methods.
    """
    for name in names:
        kind, mark, _ = name.partition(":")
        if kind not in PASSES or (mark and kind != "percentile"):
            msg = f"there is no pass {name!r}; a chain may hold {', '.join(PASSES)} (percentile as percentile:99.99)"
            raise SpecError(msg)
        if kind in RANGES:
            RangeChoice.parse(name)
        if names.count(name) > 1:
            msg = f"the pass {name!r} is named twice"
            raise SpecError(msg)
    ranges = tuple(name for name in names if name.partition(":")[0] in RANGES)
    if len(ranges) > 1:
        msg = f"a chain named by hand has one range method, not {' and '.join(ranges)}; use --effort to try several"
        raise SpecError(msg)
    return Chain(
        ranges or ("minmax",),
        mend_heads=MEND_HEADS in names,
        scaling=tuple(name for name in names if name in SCALING),
        rounding=tuple(name for name in names if name in ROUNDING),
        mixed_precision=MIXED_PRECISION in names,
        forms=tuple(name for name in names if name in FORMS),
        brief=True,
        forced=True,
    )
