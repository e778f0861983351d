"""Integers chosen for a board by what it would answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgewright.device_profiles.profile import load_profile
from edgewright.optimize.errors import DataError
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.targets.advise import advise, preferred_scheme, removed_share
from edgewright.optimize.targets.predict import predict
from edgewright.runtime.backends.onnx import OnnxBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.targets.predict import Losses

    Make = Callable[..., QuantizedGraph]


@pytest.fixture
def losses(bright: bytes, pictures: list[dict[str, Any]]) -> Losses:
    """Mean square distance from the float network."""
    engine = OnnxBackend(bright)
    wanted = [engine.run(picture)["y"].copy() for picture in pictures]

    def measured(outputs: Sequence[Mapping[str, NDArray[Any]]]) -> NDArray[np.float64]:
        return np.array([np.square(seen["y"] - y).mean() for seen, y in zip(outputs, wanted, strict=True)])

    return measured


def test_a_board_that_saturates_is_predicted_to_lose(
    make: Make, pictures: list[dict[str, Any]], losses: Losses
) -> None:
    lost = predict(make(), lambda: iter(pictures), load_profile("generic-x86-avx2"), losses)
    assert lost.saturates
    assert lost.added_loss is not None
    assert lost.added_loss > 0
    assert "first" in lost.sentence or "last" in lost.sentence
    assert lost.output_snr_db["y"] < 40
    safe = predict(make(), lambda: iter(pictures), load_profile("generic-x86-vnni"), losses)
    assert (safe.saturates, safe.added_loss, safe.layers) == (False, 0.0, ())
    assert safe.output_snr_db["y"] == float("inf")


def test_seven_bits_are_chosen_where_eight_lose(make: Make, pictures: list[dict[str, Any]], losses: Losses) -> None:
    advice = advise(load_profile("generic-x86-avx2"), make, lambda: iter(pictures), losses)
    assert advice.scheme == Scheme(weight_bits=7)
    share = removed_share(advice.predictions["u8s8"], advice.predictions["u8s7"])
    assert share is not None
    assert share > 0.8
    assert any("removes" in reason for reason in advice.reasons)
    assert "u8u8" not in advice.predictions


@pytest.mark.parametrize("board", ["generic-x86-vnni", "raspberry-pi-4", "raspberry-pi-5", "jetson-orin-nano"])
def test_exact_boards_get_eight_bits_without_any_work(board: str, losses: Losses) -> None:
    def never(scheme: Scheme) -> QuantizedGraph:
        raise AssertionError(scheme)

    advice = advise(load_profile(board), never, lambda: iter(()), losses)
    assert advice.scheme == Scheme()
    assert "exact" in advice.reasons[0]


def test_eight_bits_stay_where_they_lose_nothing(make: Make, pictures: list[dict[str, Any]], losses: Losses) -> None:
    tried: list[Scheme] = []

    def dark(scheme: Scheme) -> QuantizedGraph:
        tried.append(scheme)
        return make(Scheme(weight_bits=7))

    advice = advise(load_profile("generic-x86-avx2"), dark, lambda: iter(pictures), losses)
    assert advice.scheme == Scheme()
    assert tried == [Scheme()]


def test_a_profile_says_what_its_engine_likes() -> None:
    assert preferred_scheme(load_profile("generic-x86-avx2")) == Scheme(weight_bits=7)
    assert preferred_scheme(load_profile("raspberry-pi-5"), backend="another") == Scheme()


def test_no_pictures_are_an_error(make: Make) -> None:
    with pytest.raises(DataError, match="no picture"):
        predict(make(), lambda: iter(()), load_profile("generic-x86-avx2"))
