"""From a bundle and a board's profile to a range for every variant."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from edgewright.bundle.errors import MissingExtraError
from edgewright.bundle.manifest import Format
from edgewright.bundle.reader import open_bundle
from edgewright.optimize.errors import ModelError
from edgewright.optimize.estimate.errors import EstimateError
from edgewright.optimize.estimate.estimates import Estimates, VariantEstimate
from edgewright.optimize.estimate.onnx_operators import onnx_operators
from edgewright.optimize.estimate.operators import Kind
from edgewright.optimize.estimate.price import price
from edgewright.optimize.estimate.rates import read_rates
from edgewright.optimize.estimate.tflite_operators import tflite_operators
from edgewright.runtime.backends.choice import PROCESSOR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgewright.bundle.manifest import Variant
    from edgewright.device_profiles.profile import DeviceProfile, Known
    from edgewright.optimize.estimate.operators import Operator
    from edgewright.optimize.estimate.price import Price
    from edgewright.optimize.estimate.rates import Rates

__all__ = ["estimate_bundle", "estimate_operators"]

_DOUBTFUL = 2.0  # figures that nobody measured widen the range by so much to either side
_RUN_SPREAD = 2.0


def estimate_bundle(path: Path, profile: DeviceProfile) -> Estimates:
    """Estimates every variant on the board's processor, with as many threads as its kernels were probed with.

    Args:
        path: Bundle directory or ``.edge`` file.
        profile: The board, with measured kernels (``edgewright profiles probe`` on such a board).

    Returns:
        Ranges; variants that cannot be estimated are named with the reason.

    Raises:
        BundleError: The bundle is not right.
        EstimateError: The profile holds no kernels for any variant: a guess would look like a figure, so none is made.
    """
    if not profile.kernels:
        raise EstimateError(_no_kernels(profile))
    found, left_out = [], {}
    with open_bundle(path) as bundle:
        name = bundle.manifest.name
        for variant in bundle.manifest.variants:
            backend = PROCESSOR[variant.format].value
            kernels = profile.kernels.get(backend)
            if not kernels:
                left_out[variant.name] = f"the profile holds no kernels of {backend}"
                continue
            try:
                operators = _operators(variant, bundle.read(variant.file))
                found.append(estimate_operators(variant.name, backend, operators, kernels))
            except (ModelError, EstimateError, MissingExtraError) as error:
                left_out[variant.name] = str(error)
    if not found:
        reasons = "; ".join(f"{key}: {reason}" for key, reason in left_out.items())
        msg = f"no variant of {path} can be estimated for {profile.name}: {reasons}"
        raise EstimateError(msg)
    emulated = profile.emulated is not None and bool(profile.emulated.value)
    return Estimates(name, profile.name, emulated, tuple(found), left_out)


def estimate_operators(
    variant: str, backend: str, operators: Sequence[Operator], kernels: Mapping[str, Known[float]]
) -> VariantEstimate:
    """Adds up operators.

    Args:
        variant: Name of the variant.
        backend: Name of the engine.
        operators: What it runs.
        kernels: The engine's kernels in the profile.

    Raises:
        EstimateError: None of the kernels is known to this version, or no operator could be priced.
    """
    rates, doubtful = read_rates(kernels)
    if not rates:
        msg = f"no kernel of {backend} in the profile is known to this version; probe the board again"
        raise EstimateError(msg)
    prices, unpriced = _priced(operators, rates)
    if not prices:
        msg = "none of its operators could be priced: " + ", ".join(f"{key} ({why})" for key, why in unpriced.items())
        raise EstimateError(msg[:400])
    used = {key for each in prices for key in each.keys}
    run = 0.0
    for precision in dict.fromkeys(each.operator.precision for each in prices):
        entered = rates[precision].plain("run")
        if entered is not None and entered.value > run:
            run = entered.value
            used |= set(entered.keys)
    widen = _DOUBTFUL if used & set(doubtful) else 1.0
    likely = sum(each.likely for each in prices)
    compute = sum(each.compute for each in prices)
    return VariantEstimate(
        variant,
        backend,
        low=(sum(each.low for each in prices) + run / _RUN_SPREAD) / widen / 1000,
        likely=(likely + run) / 1000,
        high=(sum(each.high for each in prices) + run * _RUN_SPREAD) * widen / 1000,
        compute_ms=compute / 1000,
        other_ms=(likely + run - compute) / 1000,
        macs=sum(each.operator.macs for each in prices),
        operators=len(prices),
        rests_on={key: known for key, known in kernels.items() if key in used},
        unpriced=unpriced,
        analogies=dict(Counter(each.operator.like for each in prices if each.operator.like)),
    )


def _priced(operators: Sequence[Operator], rates: Mapping[str, Rates]) -> tuple[list[Price], dict[str, str]]:
    prices: list[Price] = []
    unpriced: dict[str, str] = {}
    for operator in operators:
        if operator.kind is Kind.UNKNOWN:
            unpriced[operator.name] = f"{operator.type}: the estimator does not know the operator"
            continue
        if operator.kind is Kind.FREE:
            continue
        own = rates.get(operator.precision)
        found = None if own is None else price(operator, own)
        if found is None:
            unpriced[operator.name] = f"{operator.type}: no {operator.precision} kernel like it in the profile"
        else:
            prices.append(found)
    return prices, unpriced


def _operators(variant: Variant, model: bytes) -> tuple[Operator, ...]:
    return onnx_operators(model) if variant.format is Format.ONNX else tflite_operators(model)


def _no_kernels(profile: DeviceProfile) -> str:
    return (
        f"profile {profile.name} holds no measured kernels, and without them there is nothing to estimate from; run "
        "'edgewright profiles probe -o board.toml' on such a board and give that file instead"
    )
