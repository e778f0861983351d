"""Ranges: how they follow the operators and the profile, and what they say of themselves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from bundles import write_detector
from hypothesis import given
from hypothesis import strategies as st

from edgewright.bundle.errors import ExitCode
from edgewright.device_profiles.profile import DeviceProfile, Known, Origin
from edgewright.optimize.estimate import EstimateError, estimate_bundle
from edgewright.optimize.estimate.bundle import estimate_operators
from edgewright.optimize.estimate.convolution import convolution
from edgewright.optimize.estimate.operators import Kind, Operator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.optimize.estimate.estimates import VariantEstimate

RATES = {
    "pointwise_16_gmacs": 30.0,
    "pointwise_64_gmacs": 80.0,
    "pointwise_256_gmacs": 100.0,
    "dense3_16_gmacs": 40.0,
    "dense3_64_gmacs": 90.0,
    "stem_gmacs": 20.0,
    "depthwise3_32_gmacs": 15.0,
    "depthwise3_256_gmacs": 25.0,
    "depthwise5_192_gmacs": 20.0,
    "connected_1024_gmacs": 3.0,
    "add_25k_gbs": 60.0,
    "add_800k_gbs": 20.0,
    "leaky_25k_gbs": 40.0,
    "operator_us": 0.5,
    "run_us": 5.0,
}
sizes = st.integers(1, 512)


def kernels(origin: Origin = Origin.MEASURED, faster: float = 1.0) -> Mapping[str, Known[float]]:
    return {
        f"{precision}_{key}": Known(value / faster if key.endswith("_us") else value * faster, origin, "a test")
        for precision in ("float32", "int8")
        for key, value in RATES.items()
    }


def conv(channels: tuple[int, int], side: int, window: int = 1, groups: int = 1) -> Operator:
    read, made = channels
    weights = made * (read // groups) * window**2
    return convolution(
        "conv",
        "Conv",
        "float32",
        window=(window, window),
        channels=channels,
        groups=groups,
        macs=weights * side**2,
        numbers=(read + made) * side**2,
        weight_bytes=weights * 4,
    )


def said(*operators: Operator, origin: Origin = Origin.MEASURED, faster: float = 1.0) -> VariantEstimate:
    return estimate_operators("float", "onnxruntime-cpu", operators, kernels(origin, faster))


@given(sizes, sizes, st.integers(1, 112), st.sampled_from([1, 3, 5]))
def test_the_likely_time_lies_in_its_range(read: int, made: int, side: int, window: int) -> None:
    found = said(conv((read, made), side, window))
    assert 0 < found.low < found.likely < found.high


@given(sizes, sizes, st.integers(1, 100), st.sampled_from([1, 3]))
def test_a_larger_picture_is_never_faster(read: int, made: int, side: int, window: int) -> None:
    small, large = (said(conv((read, made), s, window)) for s in (side, side + 1))
    assert large.macs > small.macs
    assert large.likely >= small.likely


@given(sizes, sizes, st.integers(1, 112), st.integers(1, 64))
def test_more_channels_are_never_faster(read: int, made: int, side: int, more: int) -> None:
    few, many = (said(conv((read, each), side)) for each in (made, made + more))
    assert many.likely >= few.likely * (1 - 1e-9)


@given(st.lists(st.tuples(sizes, sizes, st.integers(1, 56)), min_size=1, max_size=6))
def test_twice_the_rates_take_half_the_time(layers: list[tuple[int, int, int]]) -> None:
    operators = [conv((read, made), side) for read, made, side in layers]
    slow, fast = said(*operators), said(*operators, faster=2.0)
    assert fast.compute_ms == pytest.approx(slow.compute_ms / 2)
    assert fast.likely == pytest.approx(slow.likely / 2)


def test_an_operator_more_is_never_faster() -> None:
    layer = conv((32, 64), 28)
    assert said(layer, layer).likely > said(layer).likely


def test_rates_between_widths_lie_between_their_rates() -> None:
    times = [said(conv((width, width), 28)) for width in (16, 32, 64)]
    rates = [found.macs / found.compute_ms for found in times]
    assert rates == sorted(rates)


def test_an_unknown_operator_is_named_and_not_counted() -> None:
    layer = conv((32, 64), 28)
    found = said(layer, Operator("strange", "NonMaxSuppression", Kind.UNKNOWN))
    assert list(found.unpriced) == ["strange"]
    assert "NonMaxSuppression" in found.unpriced["strange"]
    assert found.likely == said(layer).likely
    assert not found.to_json()["complete"]


def test_a_kind_that_was_not_probed_is_named() -> None:
    layer = dataclasses.replace(conv((32, 64), 28), precision="int8")
    only_float = {key: known for key, known in kernels().items() if key.startswith("float32")}
    found = estimate_operators("int8", "onnxruntime-cpu", [layer, conv((32, 64), 28)], only_float)
    assert "no int8 kernel" in found.unpriced["conv"]


def test_what_is_priced_as_something_else_is_less_sure() -> None:
    plain, seven = said(conv((64, 64), 28, 3)), said(conv((64, 64), 28, 7))
    assert seven.high / seven.likely > plain.high / plain.likely
    assert not plain.analogies
    assert list(seven.analogies.values()) == [1]


def test_figures_that_nobody_measured_widen_the_range() -> None:
    layer = conv((64, 64), 28)
    sure, guessed = said(layer), said(layer, origin=Origin.ASSUMED)
    assert guessed.low < sure.low
    assert guessed.high > sure.high
    assert guessed.likely == sure.likely


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_detector(tmp_path_factory.mktemp("estimate") / "bundle.edge")


def test_every_line_and_the_json_say_that_it_is_an_estimate(bundle: Path) -> None:
    found = estimate_bundle(bundle, DeviceProfile("board", "one", kernels={"onnxruntime-cpu": kernels()}))
    lines = list(found.lines())
    assert "ESTIMATES" in lines[0]
    assert all("estimate" in line for line in lines if " to " in line and " ms" in line)
    assert any("measured (a test)" in line for line in lines)
    told = found.to_json()
    assert told["estimate"] is True
    (variant,) = told["variants"]
    assert variant["low_ms"] <= variant["likely_ms"] <= variant["high_ms"]
    assert all(row["origin"] == "measured" for row in variant["rests_on"].values())


def test_a_profile_without_kernels_is_refused_with_the_remedy(bundle: Path) -> None:
    with pytest.raises(EstimateError, match="profiles probe") as refused:
        estimate_bundle(bundle, DeviceProfile("board", "one"))
    assert refused.value.exit_code is ExitCode.BAD_INPUT


def test_kernels_of_another_engine_are_no_help(bundle: Path) -> None:
    with pytest.raises(EstimateError, match="no kernels of onnxruntime-cpu"):
        estimate_bundle(bundle, DeviceProfile("board", "one", kernels={"litert-xnnpack": kernels()}))


def test_kernels_of_a_version_to_come_are_no_help(bundle: Path) -> None:
    odd = {"onnxruntime-cpu": {"int4_pointwise_gmacs": Known(1.0, Origin.MEASURED, "a test")}}
    with pytest.raises(EstimateError, match="known to this version"):
        estimate_bundle(bundle, DeviceProfile("board", "one", kernels=odd))


def test_an_emulated_board_is_said_to_be_one(bundle: Path) -> None:
    emulated = Known(value=True, origin=Origin.MEASURED, source="a test")
    profile = DeviceProfile("board", "one", kernels={"onnxruntime-cpu": kernels()}, emulated=emulated)
    found = estimate_bundle(bundle, profile)
    assert found.to_json()["emulated"] is True
    assert any("EMULATED" in line for line in found.lines())
