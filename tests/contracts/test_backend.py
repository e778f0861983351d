"""What every backend promises, the shipped stand-in included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bundles import GRID, SIDE, detector_onnx
from tflite_models import IMAGE_SCALE, SCORE_SCALE, detector_tflite, int8_detector_tflite

from edgewright.bundle.manifest import Format, Precision, TensorSpec
from edgewright.runtime.backends.opening import open_backend
from edgewright.runtime.errors import BackendError
from edgewright.runtime.testing import FunctionBackend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgewright.runtime.backends.base import Backend

CELLS = GRID * GRID


def bright(feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    """The tiny detector in NumPy, NCHW."""
    cells = feeds["image"].reshape(1, 3, GRID, 2, GRID, 2).mean(axis=(1, 3, 5)).reshape(1, CELLS, 1)
    return {"boxes": np.zeros((1, CELLS, 4)), "scores": np.concatenate([-10 * cells, 10 * cells], axis=2)}


@dataclass(frozen=True)
class Case:
    """A way to run the tiny detector: how to open it, and how its tensors stand for numbers."""

    name: str
    nhwc: bool = False
    image_scale: float | None = None
    score_scale: float | None = None
    tolerance: float = 1e-5

    def open(self, threads: int = 1) -> Backend:
        if self.name == "function":
            return FunctionBackend(
                [TensorSpec("image", (1, 3, SIDE, SIDE), "float32")],
                [TensorSpec("boxes", (1, CELLS, 4), "float32"), TensorSpec("scores", (1, CELLS, 2), "float32")],
                bright,
            )
        if self.name == "onnx":
            return open_backend(Format.ONNX, detector_onnx(), threads=threads)
        if self.name == "tflite-int8":
            return open_backend(Format.TFLITE, int8_detector_tflite(), threads=threads, precision=Precision.INT8)
        return open_backend(Format.TFLITE, detector_tflite(signature="signature" in self.name), threads=threads)

    def feed(self, image: NDArray[np.float32]) -> NDArray[Any]:
        """The input tensor for an image (3, H, W) of values from -1 to 1."""
        tensor = image[None].transpose(0, 2, 3, 1) if self.nhwc else image[None]
        if self.image_scale is not None:
            tensor = np.clip(np.rint(tensor / self.image_scale), -128, 127).astype(np.int8)
        return np.ascontiguousarray(tensor)

    def scores(self, answer: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        return answer["scores"].astype(np.float64) * (self.score_scale or 1.0)


CASES = [
    Case("function"),
    Case("onnx"),
    Case("tflite", nhwc=True),
    Case("tflite-signature", nhwc=True),
    # Half a step of the input averages out; half a step of the output stays.
    Case("tflite-int8", True, IMAGE_SCALE, SCORE_SCALE, tolerance=1.5 * SCORE_SCALE),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def image(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (3, SIDE, SIDE)).astype(np.float32)


@each_case
def test_tensors_are_described(case: Case) -> None:
    backend = case.open()
    (spec,) = backend.inputs
    assert spec.name == "image"
    assert spec.shape == case.feed(image()).shape
    assert spec.dtype == case.feed(image()).dtype.name
    assert (spec.scale is None) == (case.image_scale is None)
    outputs = {output.name: output for output in backend.outputs}
    assert outputs["boxes"].shape == (1, CELLS, 4)
    assert outputs["scores"].shape == (1, CELLS, 2)
    if case.score_scale is not None:
        assert outputs["scores"].scale == pytest.approx(case.score_scale)
        assert outputs["scores"].zero_point == 0
    assert backend.engine


@each_case
def test_all_say_the_same(case: Case) -> None:
    backend = case.open()
    for seed in range(5):
        answer = backend.run({"image": case.feed(image(seed))})
        wanted = bright({"image": image(seed)[None]})["scores"]
        np.testing.assert_allclose(case.scores(answer), wanted, atol=case.tolerance)
        assert not answer["boxes"].any()


@each_case
def test_what_run_returns_lives_until_the_next_run(case: Case) -> None:
    backend = case.open()
    first, second = case.feed(image(1)), case.feed(image(2))
    answer = backend.run({"image": first})
    kept = {name: value.copy() for name, value in answer.items()}
    held = answer["scores"]  # held over the next run, which must not fail for it
    other = backend.run({"image": second})
    assert (other["scores"] != kept["scores"]).any()
    again = backend.run({"image": first})
    np.testing.assert_array_equal(again["scores"], kept["scores"])
    assert held.shape == kept["scores"].shape


@each_case
def test_a_feed_may_be_overwritten_after_the_run(case: Case) -> None:
    backend = case.open()
    feed = case.feed(image(1))
    answer = backend.run({"image": feed})
    kept = answer["scores"].copy()
    feed[...] = 0
    np.testing.assert_array_equal(answer["scores"], kept)


@each_case
def test_a_feed_that_is_not_contiguous_is_fine(case: Case) -> None:
    backend = case.open()
    feed = case.feed(image(3))
    wanted = backend.run({"image": feed})["scores"].copy()
    wide = np.zeros((*feed.shape[:-1], 2 * feed.shape[-1]), feed.dtype)
    wide[..., ::2] = feed
    np.testing.assert_array_equal(backend.run({"image": wide[..., ::2]})["scores"], wanted)


@each_case
def test_wrong_feeds_are_refused_and_do_no_harm(case: Case) -> None:
    backend = case.open()
    feed = case.feed(image())
    wanted = backend.run({"image": feed})["scores"].copy()
    wrong = [
        ({}, "'image' takes .* got nothing"),
        ({"picture": feed}, "got nothing"),
        ({"image": feed[:, :2]}, r"got \(1, 2, "),
        ({"image": feed[0]}, "got"),
        ({"image": feed.astype(np.float64)}, "got .* float64"),
    ]
    for feeds, message in wrong:
        with pytest.raises(BackendError, match=message):
            backend.run(feeds)
    np.testing.assert_array_equal(backend.run({"image": feed})["scores"], wanted)


@each_case
def test_two_backends_share_nothing(case: Case) -> None:
    one, two = case.open(), case.open()
    first = one.run({"image": case.feed(image(1))})["scores"]
    kept = first.copy()
    two.run({"image": case.feed(image(2))})
    np.testing.assert_array_equal(first, kept)


@each_case
def test_threads_change_nothing_but_the_time(case: Case) -> None:
    feed = {"image": case.feed(image(4))}
    one, two = case.open(threads=1).run(feed), case.open(threads=2).run(feed)
    np.testing.assert_allclose(case.scores(one), case.scores(two), atol=1e-5)


@each_case
def test_a_closed_backend_says_so(case: Case) -> None:
    backend = case.open()
    feed = {"image": case.feed(image(5))}
    answer = backend.run(feed)["scores"]
    kept = answer.copy()
    backend.close()
    backend.close()
    np.testing.assert_array_equal(answer, kept)
    with pytest.raises(BackendError, match="closed"):
        backend.run(feed)


MALFORMED = {"empty": b"", "noise": b"not a model at all", "zeros": bytes(256)}


@pytest.mark.parametrize("form", list(Format), ids=lambda form: form.value)
@pytest.mark.parametrize("model", list(MALFORMED.values()), ids=list(MALFORMED))
def test_what_is_no_model_is_refused(form: Format, model: bytes) -> None:
    with pytest.raises(BackendError):
        open_backend(form, model)


@pytest.mark.parametrize(
    ("form", "model"), [(Format.ONNX, detector_onnx()), (Format.TFLITE, detector_tflite())], ids=["onnx", "tflite"]
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_half_a_model_is_refused(form: Format, model: bytes, share: float) -> None:
    with pytest.raises(BackendError):
        open_backend(form, model[: int(len(model) * share)])


@pytest.mark.parametrize(
    ("form", "model"), [(Format.ONNX, detector_onnx()), (Format.TFLITE, detector_tflite())], ids=["onnx", "tflite"]
)
def test_options_that_a_bundle_may_not_give(form: Format, model: bytes) -> None:
    for key in ("custom_op_library", "delegate", "providers", "trt_engine_cache_path"):
        with pytest.raises(BackendError, match=f"engine option '{key}', which this version does not know"):
            open_backend(form, model, engine={key: "/tmp/evil.so"})


def test_a_file_of_the_other_format_is_refused() -> None:
    with pytest.raises(BackendError, match="refuses the model"):
        open_backend(Format.ONNX, detector_tflite())
    with pytest.raises(BackendError, match="not a TFLite file"):
        open_backend(Format.TFLITE, detector_onnx())
