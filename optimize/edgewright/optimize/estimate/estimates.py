"""What an estimate says, for machines and for people; each line says that it is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.device_profiles.profile import Known

__all__ = ["Estimates", "VariantEstimate"]

_MANY = 6
_ESTIMATE = "estimate, not measured"


@dataclass(frozen=True)
class VariantEstimate:
    """One run of a variant's network on a board, milliseconds; pictures and boxes are not in it.

    Attributes:
        variant: Its name.
        backend: The engine it is estimated for.
        low: At least.
        likely: Best guess.
        high: At most.
        compute_ms: Of the best guess, operators bound by their multiplications.
        other_ms: Of the best guess, operators bound by their bytes, and what every operator and every run costs.
        macs: Multiplications of all priced operators.
        operators: How many were priced.
        rests_on: The profile's figures that it rests on, by key.
        unpriced: Operators that could not be priced, by name, and why; the range is without them.
        analogies: Operators priced as another kind, by the reason: how many.
    """

    variant: str
    backend: str
    low: float
    likely: float
    high: float
    compute_ms: float
    other_ms: float
    macs: int
    operators: int
    rests_on: Mapping[str, Known[float]] = field(repr=False)
    unpriced: Mapping[str, str]
    analogies: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "variant": self.variant,
            "backend": self.backend,
            "low_ms": self.low,
            "likely_ms": self.likely,
            "high_ms": self.high,
            "compute_ms": self.compute_ms,
            "other_ms": self.other_ms,
            "macs": self.macs,
            "operators": self.operators,
            "complete": not self.unpriced,
            "unpriced": dict(self.unpriced),
            "analogies": dict(self.analogies),
            "rests_on": {
                key: {"value": known.value, "origin": known.origin.value, "source": known.source}
                for key, known in self.rests_on.items()
            },
        }


@dataclass(frozen=True)
class Estimates:
    """All variants of a bundle on one board.

    Attributes:
        bundle: Its name.
        profile: The board's.
        emulated: Whether the profile was probed on an emulated board, so that its figures say nothing of a real one.
        variants: Those that could be estimated.
        left_out: Variants that could not, and why.
    """

    bundle: str
    profile: str
    emulated: bool
    variants: tuple[VariantEstimate, ...]
    left_out: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values by name; ``estimate`` is always true, so that nobody takes them for measurements."""
        return {
            "estimate": True,
            "bundle": self.bundle,
            "profile": self.profile,
            "emulated": self.emulated,
            "variants": [variant.to_json() for variant in self.variants],
            "left_out": dict(self.left_out),
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.bundle} on {self.profile}: ESTIMATES from kernels in the profile; no variant was run there"
        if self.emulated:
            yield "the profile was probed on an EMULATED board: these times say nothing about a real one"
        for variant in self.variants:
            yield from _variant_lines(variant)
        for name, reason in self.left_out.items():
            yield f"{name} is not estimated: {reason}"
        yield "the network alone: add what the board takes for pictures, boxes and tracking, which the estimate leaves out"


def _variant_lines(found: VariantEstimate) -> Iterator[str]:
    yield (
        f"{found.variant} on {found.backend}: {_ms(found.low)} to {_ms(found.high)} ms, likely {_ms(found.likely)} ms "
        f"({_ESTIMATE})"
    )
    yield (
        f"  {found.operators} operators, {found.macs / 1e6:,.1f} million multiplications; {_ms(found.compute_ms)} ms bound by "
        f"them, {_ms(found.other_ms)} ms by memory and overhead"
    )
    origins: dict[str, int] = {}
    for known in found.rests_on.values():
        words = f"{known.origin.value} ({known.source})"
        origins[words] = origins.get(words, 0) + 1
    for words, count in origins.items():
        yield f"  rests on {count} figures of kernels.{found.backend}: {words}"
    for reason, count in found.analogies.items():
        yield f"  {count} operators: {reason}"
    names = list(found.unpriced)
    if names:
        more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
        told = ", ".join(f"{name} ({found.unpriced[name]})" for name in names[:_MANY])
        yield f"  NOT in the range, for they could not be priced: {told}{more}"


def _ms(value: float) -> str:
    return f"{value:.3g}"
