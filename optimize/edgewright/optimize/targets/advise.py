"""Which integers suit a board: the fastest that keep the network's answers there.

Where sums are exact, that is what the profile's engine runs best. Where two products are summed in sixteen bits, eight
bits of weights may lose what seven keep; what is lost is emulated, not guessed. Unsigned weights are exact everywhere,
at the price of a kernel that was measured slower than float, and so come last. Signed activations are no remedy: on
x86, ONNX Runtime rewrites them to unsigned ones, whose sums saturate as well (``scripts/saturation``).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgewright.optimize.quantization.scheme import IntegerType, Scheme
from edgewright.optimize.targets.predict import TargetPrediction, predict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgewright.device_profiles.profile import DeviceProfile
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.targets.predict import Losses
    from edgewright.optimize.types import FeedSource

__all__ = ["ENOUGH", "Advice", "advise", "candidate_schemes", "preferred_scheme", "removed_share"]

_BACKEND = "onnxruntime-cpu"
ENOUGH = 0.8
"""Share of the loss by saturation that a fast remedy must remove; else a slower one is tried."""
_NOTHING = 0.02
# Losses this close are one: the faster scheme wins, then the one with more bits and finer scales.
_CLOSE = 0.05


@dataclass(frozen=True, eq=False)
class Advice:
    """The scheme chosen for a board.

    Attributes:
        profile: The board.
        scheme: What to quantize to.
        reasons: Why, in sentences.
        predictions: What was emulated, by the scheme's name; empty where nothing needed to be.
    """

    profile: str
    scheme: Scheme
    reasons: tuple[str, ...]
    predictions: Mapping[str, TargetPrediction] = field(default_factory=dict)


def preferred_scheme(profile: DeviceProfile, backend: str = _BACKEND) -> Scheme:
    """What the profile says its engine runs best; the default where it says nothing."""
    form = profile.formats.get(backend)
    if form is None:
        return Scheme()
    given: dict[str, Any] = {name: known.value for name, known in form.known().items()}
    for name in ("activations", "weights"):
        if name in given:
            given[name] = IntegerType(given[name])
    return dataclasses.replace(Scheme(), **given)


def candidate_schemes(profile: DeviceProfile, backend: str = _BACKEND) -> tuple[Scheme, ...]:
    """What is worth emulating for a board whose sums saturate; the fast ones first, plain eight bits at the head."""
    base = dataclasses.replace(preferred_scheme(profile, backend), weight_bits=8)
    seven = dataclasses.replace(base, weight_bits=7)
    tensor = dataclasses.replace(base, per_channel=not base.per_channel)
    unsigned = Scheme(IntegerType.UINT8, IntegerType.UINT8, per_channel=base.per_channel)
    return tuple(dict.fromkeys((base, seven, tensor, unsigned)))


def advise(
    profile: DeviceProfile,
    make: Callable[[Scheme], QuantizedGraph],
    feeds: FeedSource,
    losses: Losses,
    backend: str = _BACKEND,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Advice:
    """Chooses the integers for a board.

    Args:
        profile: The board.
        make: Quantizes to a scheme, with all the rounding passes that the candidate would get.
        feeds: Pictures to emulate on; a few dozen.
        losses: What outputs are worth.
        backend: The engine.
        stop: Asked before each emulation whether time is up; then the best of what was emulated is taken.

    Raises:
        JudgeError: A candidate cannot be quantized or emulated.
        DataError: There are no pictures.
    """
    if not profile.saturates:
        known = "exact" if profile.integer_dot is not None else "not known to saturate"
        origin = f" ({profile.integer_dot.origin.value})" if profile.integer_dot is not None else ""
        reason = f"sums of products on {profile.name} are {known}{origin}: the engine's preferred integers are taken"
        return Advice(profile.name, preferred_scheme(profile, backend), (reason,))
    schemes = candidate_schemes(profile, backend)
    if stop():
        reason = (
            f"the time budget was spent before the sums of {profile.name} could be emulated: {schemes[0].name} is taken"
        )
        return Advice(profile.name, schemes[0], (reason,))
    predictions: dict[Scheme, TargetPrediction] = {}

    def emulate(scheme: Scheme) -> TargetPrediction | None:
        if predictions and stop():
            return None
        predictions[scheme] = predict(make(scheme), feeds, profile, losses)
        return predictions[scheme]

    return _emulated(profile, emulate, predictions, schemes)


def removed_share(plain: TargetPrediction, remedy: TargetPrediction) -> float | None:
    """Share of the loss that saturation adds to ``plain`` which ``remedy`` does without, on the board.

    1 means as good as plain with exact sums, more means better than that, below 0 means worse than doing nothing.
    None where saturation added nothing, or no losses were asked for.
    """
    if plain.exact_losses is None or plain.target_losses is None or remedy.target_losses is None:
        return None
    exact, lost = float(plain.exact_losses.mean()), float(plain.target_losses.mean())
    return (lost - float(remedy.target_losses.mean())) / (lost - exact) if lost > exact else None


def _emulated(
    profile: DeviceProfile,
    emulate: Callable[[Scheme], TargetPrediction | None],
    predictions: Mapping[Scheme, TargetPrediction],
    schemes: tuple[Scheme, ...],
) -> Advice:
    """Emulates one scheme after the other, which fills ``predictions``, and chooses."""
    plain = schemes[0]
    reasons = []
    for scheme in schemes:
        if _slow(scheme, plain) and _settled(predictions, plain):
            reasons.append(f"{scheme.name} was not tried: its kernel is slow and a faster scheme keeps the answers")
            continue
        if emulate(scheme) is None:
            reasons.append(f"{scheme.name} was not tried: the time budget was spent")
            continue
        if scheme is plain and _harmless(predictions[plain]):
            reason = f"{predictions[plain].sentence}: eight bits keep the answers, nothing is to be mended"
            return Advice(profile.name, plain, (reason,), {plain.name: predictions[plain]})
    best = min(_loss(prediction) for prediction in predictions.values())
    # The order of schemes is that of speed, so the first that is close enough to the best is taken.
    chosen = next(scheme for scheme, seen in predictions.items() if _loss(seen) <= best * (1 + _CLOSE))
    reasons = [predictions[plain].sentence, *reasons]
    share = removed_share(predictions[plain], predictions[chosen])
    if share is not None and chosen is not plain:
        # Rounding can make up for more than the saturation took.
        part = "all" if share >= 1 else f"{share:.0%}"
        reasons.append(
            f"{chosen.name} removes {part} of that loss: {_loss(predictions[chosen]):.4g} instead of "
            f"{_loss(predictions[plain]):.4g} a picture"
        )
    return Advice(profile.name, chosen, tuple(reasons), {scheme.name: seen for scheme, seen in predictions.items()})


def _slow(scheme: Scheme, plain: Scheme) -> bool:
    return (scheme.activations, scheme.weights) != (plain.activations, plain.weights)


def _harmless(plain: TargetPrediction) -> bool:
    added = plain.added_loss
    return not plain.saturates or (added is not None and added <= _NOTHING * _loss(plain))


def _settled(predictions: Mapping[Scheme, TargetPrediction], plain: Scheme) -> bool:
    shares = (removed_share(predictions[plain], seen) for seen in predictions.values())
    return any(share is not None and share >= ENOUGH for share in shares)


def _loss(prediction: TargetPrediction) -> float:
    return float("inf") if prediction.target_losses is None else float(prediction.target_losses.mean())
