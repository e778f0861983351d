"""Frames fitted into tensors: values, placement and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.bundle.manifest import ColorOrder, Layout, Preprocess, ResizeMode, TensorSpec
from edgewright.runtime.errors import ModelMismatchError
from edgewright.runtime.preprocess import Preprocessor

SIZES = st.integers(1, 60)
MODES = st.sampled_from(list(ResizeMode))


def spec(mode: ResizeMode, width: int = 16, height: int = 12) -> Preprocess:
    return Preprocess(mode, width, height, crop_from=20 if mode is ResizeMode.CROP else None)


def tensor(pre: Preprocess, layout: Layout = Layout.NCHW, dtype: str = "float32", **quant: float) -> TensorSpec:
    shape = (1, 3, pre.height, pre.width) if layout is Layout.NCHW else (1, pre.height, pre.width, 3)
    return TensorSpec("x", shape, dtype, layout, **quant)  # type: ignore[arg-type]


@given(MODES, SIZES, SIZES, st.integers(0, 2**32 - 1))
def test_boxes_go_to_the_network_and_back(mode: ResizeMode, width: int, height: int, seed: int) -> None:
    pre = spec(mode)
    _, place = Preprocessor(pre, tensor(pre))(np.zeros((height, width, 3), np.uint8))
    corners = np.sort(np.random.default_rng(seed).random((5, 2, 2)), axis=1).reshape(5, 4)
    boxes = (corners * [width, height, width, height]).astype(np.float32)
    np.testing.assert_allclose(place.to_frame(place.to_network(boxes)), boxes, atol=1e-2)


@given(MODES, SIZES, SIZES)
def test_any_frame_gives_the_tensor_asked_for(mode: ResizeMode, width: int, height: int) -> None:
    pre = spec(mode)
    grey = np.full((height, width, 3), 255, np.uint8)
    out, _ = Preprocessor(pre, tensor(pre))(grey)
    assert out.shape == (1, 3, 12, 16)
    assert out.max() == pytest.approx(1.0)
    if mode is not ResizeMode.LETTERBOX:
        assert out.min() == pytest.approx(1.0)


def formula(image: np.ndarray, pre: Preprocess) -> np.ndarray:
    pixels = image[..., ::-1] if pre.color is ColorOrder.RGB else image
    return (pixels * pre.scale - np.array(pre.mean)) / np.array(pre.std)


@pytest.mark.parametrize("color", list(ColorOrder))
@pytest.mark.parametrize("layout", list(Layout))
def test_values_follow_the_formula(color: ColorOrder, layout: Layout) -> None:
    pre = Preprocess(ResizeMode.STRETCH, 7, 5, color, 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    out, _ = Preprocessor(pre, tensor(pre, layout))(image)
    seen = out[0].transpose(1, 2, 0) if layout is Layout.NCHW else out[0]
    np.testing.assert_allclose(seen, formula(image, pre), atol=1e-6)


@pytest.mark.parametrize("layout", list(Layout))
def test_quantized_inputs_get_the_nearest_code(layout: Layout) -> None:
    pre = Preprocess(ResizeMode.STRETCH, 7, 5, scale=2 / 255, mean=(1.0, 1.0, 1.0))
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    out, _ = Preprocessor(pre, tensor(pre, layout, "int8", scale=0.01, zero_point=3))(image)
    seen = out[0].transpose(1, 2, 0) if layout is Layout.NCHW else out[0]
    wanted = np.clip(np.rint(formula(image, pre) / 0.01) + 3, -128, 127)
    assert out.dtype == np.int8
    assert np.abs(seen - wanted).max() <= 1  # halves may round either way
    assert (seen == wanted).mean() > 0.98


@pytest.mark.parametrize("zero_point", [0, -1, 7])
@pytest.mark.parametrize("step", [2 / 255, 1 / 127.5, 0.0078431377, 0.0186, 0.0123])
def test_quantized_inputs_are_what_an_engine_makes_of_the_float_ones(step: float, zero_point: int) -> None:
    """On a grid of -1 .. 1 every level is a tie, and float64 would round a quarter of them to the other side."""
    import onnxruntime
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])
    y = helper.make_tensor_value_info("y", TensorProto.INT8, [1, 3, 16, 16])
    constants = [
        helper.make_tensor("s", TensorProto.FLOAT, [], [step]),
        helper.make_tensor("z", TensorProto.INT8, [], [zero_point]),
    ]
    graph = helper.make_graph([helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])], "q", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    engine = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    pre = Preprocess(ResizeMode.STRETCH, 16, 16, scale=2 / 255, mean=(1.0, 1.0, 1.0))
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)  # every level there is
    floats, _ = Preprocessor(pre, tensor(pre))(image)
    (wanted,) = engine.run(None, {"x": floats})
    seen, _ = Preprocessor(pre, tensor(pre, dtype="int8", scale=step, zero_point=zero_point))(image)
    np.testing.assert_array_equal(seen, wanted)


def test_a_network_that_takes_plain_pixels_gets_them() -> None:
    pre = Preprocess(ResizeMode.STRETCH, 7, 5, ColorOrder.BGR)
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    out, _ = Preprocessor(pre, tensor(pre, Layout.NHWC, "uint8"))(image)
    np.testing.assert_array_equal(out[0], image)


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("bundle", list(ColorOrder))
@pytest.mark.parametrize("own", list(ColorOrder))
@pytest.mark.parametrize("mode", list(ResizeMode))
def test_a_tensor_may_have_a_colour_order_of_its_own(
    layout: Layout, bundle: ColorOrder, own: ColorOrder, mode: ResizeMode
) -> None:
    pre = replace(spec(mode), color=bundle)
    raw = replace(tensor(pre, layout, "uint8"), color=own)
    image = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    fit, bgr = (
        Preprocessor(pre, raw),
        Preprocessor(replace(pre, color=ColorOrder.BGR), tensor(pre, Layout.NHWC, "uint8")),
    )
    for frame in (image, image[:12, :16], image[::-1]):  # the second is of the network's size
        wanted = bgr(frame)[0][0] if own is ColorOrder.BGR else bgr(frame)[0][0, ..., ::-1]
        seen = fit(frame)[0][0]
        np.testing.assert_array_equal(seen.transpose(1, 2, 0) if layout is Layout.NCHW else seen, wanted)


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("own", list(ColorOrder))
@pytest.mark.parametrize("mode", list(ResizeMode))
@pytest.mark.parametrize("grid", [None, (1.0, -128)])
def test_signed_pixels_are_the_unsigned_ones_less_128(
    layout: Layout, own: ColorOrder, mode: ResizeMode, grid: tuple[float, int] | None
) -> None:
    pre = spec(mode) if grid is None else replace(spec(mode), scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
    told = {} if grid is None else {"scale": grid[0], "zero_point": grid[1]}
    signed = Preprocessor(pre, replace(tensor(pre, layout, "int8", **told), color=own))
    unsigned = Preprocessor(pre, replace(tensor(pre, layout, "uint8"), color=own))
    image = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    for frame in (image, image[:12, :16], image[::-1]):  # the second is of the network's size
        kept = frame.copy()
        seen, place = signed(frame)
        wanted, same_place = unsigned(frame)
        assert seen.dtype == np.int8
        np.testing.assert_array_equal(seen.astype(np.int16) + 128, wanted)
        assert place == same_place
        np.testing.assert_array_equal(frame, kept)  # the camera's frame is not ours to change


def test_a_colour_order_of_its_own_keeps_each_channels_mean() -> None:
    pre = Preprocess(ResizeMode.STRETCH, 7, 5, ColorOrder.RGB, 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    plain, _ = Preprocessor(pre, tensor(pre))(image)
    turned, _ = Preprocessor(pre, replace(tensor(pre), color=ColorOrder.BGR))(image)
    np.testing.assert_array_equal(turned[:, ::-1], plain)


def test_a_frame_of_the_networks_size_is_copied_not_kept() -> None:
    pre = Preprocess(ResizeMode.STRETCH, 7, 5, ColorOrder.BGR)
    image = np.zeros((5, 7, 3), np.uint8)
    out, _ = Preprocessor(pre, tensor(pre, Layout.NHWC, "uint8"))(image)
    image[...] = 9
    assert not out.any()


def test_letterbox_keeps_the_shape_and_pads_with_grey() -> None:
    pre = Preprocess(ResizeMode.LETTERBOX, 20, 20, scale=1.0, pad_value=114)
    fit = Preprocessor(pre, tensor(pre))
    out, place = fit(np.full((10, 20, 3), 255, np.uint8))
    assert (place.scale_x, place.scale_y, place.offset_x, place.offset_y) == (1, 1, 0, 5)
    assert np.unique(out[0, :, :5]).tolist() == [114]
    assert np.unique(out[0, :, 5:15]).tolist() == [255]
    out, _ = fit(np.full((20, 10, 3), 255, np.uint8))  # bars of the frame before must not show through
    assert np.unique(out[0, :, :, :5]).tolist() == [114]


def test_crop_takes_the_middle() -> None:
    pre = Preprocess(ResizeMode.CROP, 4, 4, scale=1.0, crop_from=8)
    image = np.zeros((8, 16, 3), np.uint8)
    image[2:6, 6:10] = 255
    out, _ = Preprocessor(pre, tensor(pre))(image)
    assert out.min() == 255


@given(st.integers(20, 300), st.integers(20, 300))
def test_crop_shows_what_resizing_the_whole_would_show(width: int, height: int) -> None:
    pre = Preprocess(ResizeMode.CROP, 16, 16, scale=1.0, crop_from=20)
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([x * 255 / width, y * 255 / height, x * 0], axis=-1).astype(np.uint8)
    out, place = Preprocessor(pre, tensor(pre))(ramp)
    factor = 20 / min(width, height)
    wanted = np.array([(width - 16 / factor) / 2, (height - 16 / factor) / 2])
    corner = place.to_frame(np.array([[0, 0, 16, 16]], np.float32))[0]
    assert np.abs(corner[:2] - wanted).max() <= 1.0
    # The ramps' middle lies in the middle: RGB planes, so x is the last and y the second.
    assert abs(out[0, 2].mean() - 127) <= 4 + 255 / width
    assert abs(out[0, 1].mean() - 127) <= 4 + 255 / height


def test_crop_of_a_very_long_picture_takes_little_memory() -> None:
    pre = Preprocess(ResizeMode.CROP, 224, 224, scale=1.0, crop_from=256)
    out, _ = Preprocessor(pre, tensor(pre))(np.full((1, 50_000, 3), 7, np.uint8))
    assert np.unique(out).tolist() == [7]


def test_integers_without_scale_are_refused() -> None:
    pre = spec(ResizeMode.STRETCH)
    with pytest.raises(ModelMismatchError, match="needs scale"):
        Preprocessor(pre, tensor(pre, dtype="int16"))
