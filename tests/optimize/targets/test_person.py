"""The real detector: what an AVX2 board loses, and its form that takes camera frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
import pytest

from edgewright.device_profiles.profile import load_profile
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.optimize.selection.losses import loss_for
from edgewright.optimize.targets.predict import predict
from edgewright.optimize.variants.uint8_input import uint8_input_form
from edgewright.runtime.backends.onnx import OnnxBackend
from edgewright.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.sources import FloatModel
    from edgewright.optimize.types import Ranges

FRAMES = (3, 300)


@pytest.fixture(scope="module")
def frames(clip: str) -> list[NDArray[np.uint8]]:
    video = cv2.VideoCapture(clip)
    found = [video.read()[1] for _ in range(max(FRAMES) + 1)]
    return [np.asarray(found[index], np.uint8) for index in FRAMES]


@pytest.fixture(scope="module")
def prepared(person: FloatModel) -> bytes:
    return prepare_graph(person.model, person.feeds).model


@pytest.fixture(scope="module")
def feeds(person: FloatModel, frames: list[NDArray[np.uint8]]) -> list[dict[str, NDArray[Any]]]:
    fit = Preprocessor(person.spec.preprocess, person.inputs[0])
    return [{person.inputs[0].name: fit(frame)[0].copy()} for frame in frames]


@pytest.fixture(scope="module")
def ranges(prepared: bytes, feeds: list[dict[str, NDArray[Any]]]) -> Ranges:
    """Extremes of every tensor over the very frames that are looked at: enough to compare integers with integers."""
    model = onnx.load_model_from_string(prepared)
    named = {output.name for output in model.graph.output}
    model.graph.output.extend(value for value in model.graph.value_info if value.name not in named)
    engine = OnnxBackend(model.SerializeToString())
    found: dict[str, tuple[float, float]] = {}
    for feed in feeds:
        for name, value in (*engine.run(feed).items(), *feed.items()):
            low, high = found.get(name, (np.inf, -np.inf))
            found[name] = (min(low, float(value.min())), max(high, float(value.max())))
    return found


def test_an_avx2_board_is_predicted_to_lose_boxes_and_seven_bits_are_not(
    person: FloatModel, prepared: bytes, feeds: list[dict[str, NDArray[Any]]], ranges: Ranges
) -> None:
    engine, loss = OnnxBackend(prepared), loss_for(person.spec)
    wanted = [{name: value.copy() for name, value in engine.run(feed).items()} for feed in feeds]

    def losses(outputs: Sequence[Mapping[str, NDArray[Any]]]) -> NDArray[np.float64]:
        return np.array([loss(before, after) for before, after in zip(wanted, outputs, strict=True)])

    board = load_profile("generic-x86-avx2")
    eight = predict(quantize_graph(prepared, ranges), lambda: iter(feeds), board, losses)
    seven = predict(quantize_graph(prepared, ranges, scheme=Scheme(weight_bits=7)), lambda: iter(feeds), board, losses)
    assert eight.added_loss is not None
    assert eight.exact_losses is not None
    assert eight.added_loss > eight.exact_losses.mean()  # it more than doubles
    assert len(eight.layers) > 30
    assert min(layer.snr_db for layer in eight.layers if layer.snr_db is not None) < 20
    assert (seven.saturates, seven.added_loss) == (False, 0.0)


def test_frames_go_in_without_a_float_pass(
    person: FloatModel,
    prepared: bytes,
    frames: list[NDArray[np.uint8]],
    feeds: list[dict[str, NDArray[Any]]],
    ranges: Ranges,
) -> None:
    # Seven bits, for this machine may be one that saturates.
    graph = quantize_graph(prepared, ranges, scheme=Scheme(weight_bits=7))
    form = uint8_input_form(graph, person.spec.preprocess)
    assert form.inputs is not None
    fit, engine, before = (
        Preprocessor(person.spec.preprocess, form.inputs[0]),
        OnnxBackend(form.model),
        OnnxBackend(graph.model),
    )
    for frame, feed in zip(frames, feeds, strict=True):
        tensor, _ = fit(frame)
        assert tensor.dtype == np.uint8
        np.testing.assert_array_equal(tensor[0], cv2.resize(frame, (300, 300)))
        wanted = before.run(feed)["class_logits"]
        noise = engine.run({form.inputs[0].name: tensor})["class_logits"] - wanted
        assert np.linalg.norm(noise) < 0.05 * np.linalg.norm(wanted)
