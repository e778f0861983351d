"""A quantized network that takes frames gives the answers of the one that takes normalised floats."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.support.bundles import classifier_parts

from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.manifest import (
    ClassifyDecode,
    Layout,
    Preprocess,
    ResizeMode,
    ScoreActivation,
    TensorSpec,
)
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.optimize.errors import ModelError
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.quantization.writer import QuantizedGraph, quantize_graph
from edgewright.optimize.variants.uint8_input import uint8_input_form
from edgewright.runtime.backends.onnx import OnnxBackend
from edgewright.runtime.preprocess import Preprocessor
from edgewright.runtime.session import open_session

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 16
PERSON = {"scale": 2 / 255, "mean": (1.0, 1.0, 1.0)}
IMAGENET = {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def float_model(*, first: str = "Conv", stems: int = 1) -> bytes:
    random = np.random.default_rng(1)
    constants = {
        "w": random.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32),
        "b": random.normal(0, 0.2, 8).astype(np.float32),
        "v": random.normal(0, 0.2, (4, 8, 1, 1)).astype(np.float32),
    }
    source = "x" if first == "Conv" else "x2"
    nodes = [] if first == "Conv" else [helper.make_node(first, ["x", "x"], ["x2"], name="odd")]
    nodes += [helper.make_node("Conv", [source, "w", "b"], ["h"], name="stem", pads=[1, 1, 1, 1], strides=[2, 2])]
    if stems > 1:
        constants["w2"] = random.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32)
        nodes.append(helper.make_node("Conv", ["x", "w2"], ["h2"], name="stem2", pads=[1, 1, 1, 1], strides=[2, 2]))
        nodes.append(helper.make_node("Add", ["h", "h2"], ["g"], name="add"))
    nodes.append(helper.make_node("Conv", ["g" if stems > 1 else "h", "v"], ["y"], name="head"))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, SIDE // 2, SIDE // 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


def quantized(model: bytes, top: float, scheme: Scheme | None = None) -> QuantizedGraph:
    ranges = dict.fromkeys(("h", "h2", "g"), (-3.0 * top, 3.0 * top)) | {"y": (-3.0 * top, 3.0 * top)}
    return quantize_graph(model, ranges | {"x": (-top, top), "x2": (0.0, top * top)}, scheme=scheme)


def answers(model: bytes, spec: Preprocess, tensor: TensorSpec, frames: list[NDArray[Any]]) -> NDArray[Any]:
    engine, fit = OnnxBackend(model), Preprocessor(spec, tensor)
    return np.stack([engine.run({tensor.name: fit(frame)[0]})["y"].copy() for frame in frames])


@pytest.fixture
def frames() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(4)]


@pytest.mark.parametrize("stems", [1, 2])
@pytest.mark.parametrize(("given", "top", "steps"), [(PERSON, 1.0, 1.01), (IMAGENET, 2.7, 2.5)])
@pytest.mark.parametrize("scheme", [Scheme(weight_bits=7), Scheme(weight_bits=7, per_channel=False)])
def test_frames_give_the_answers_of_normalised_floats(
    given: dict[str, Any], top: float, steps: float, frames: list[NDArray[np.uint8]], scheme: Scheme, stems: int
) -> None:
    spec = Preprocess(ResizeMode.STRETCH, SIDE, SIDE, **given)
    model = float_model(stems=stems)
    graph = quantized(model, top, scheme)
    form = uint8_input_form(graph, spec)
    assert form.inputs is not None
    (tensor,) = form.inputs
    assert (tensor.dtype, tensor.shape) == ("uint8", (1, SIDE, SIDE, 3))
    plain = TensorSpec("x", (1, 3, SIDE, SIDE), "float32")
    wanted, before = answers(model, spec, plain, frames), answers(graph.model, spec, plain, frames)
    seen = answers(form.model, spec, tensor, frames)
    # Not further from float than the file it was made of, rounding of a few sums aside.
    step = 6 * top / 255
    errors = [np.sqrt(np.square(values - wanted).mean()) for values in (before, seen)]
    assert errors[1] <= errors[0] * 1.2 + step / 4
    assert np.abs(seen - before).max() <= steps * 2 * step * stems
    # Edges are as right as the middle.
    edge = np.abs(seen - wanted)[..., 0, :].mean()
    assert edge <= 2 * np.abs(seen - wanted).mean() + step / 4


def test_all_other_codes_stay_and_with_one_slope_the_stems_too(frames: list[NDArray[np.uint8]]) -> None:
    spec = Preprocess(ResizeMode.STRETCH, SIDE, SIDE, **PERSON)  # type: ignore[arg-type]
    graph = quantized(float_model(), 1.0)
    before, after = (IntegerGraph(model) for model in (graph.model, uint8_input_form(graph, spec).model))
    np.testing.assert_array_equal(after.layer("head").codes, before.layer("head").codes)
    scales = [graph.layer("head").bias_scale for graph in (after, before)]
    assert all(scale is not None for scale in scales)
    np.testing.assert_array_equal(*scales)
    np.testing.assert_array_equal(after.layer("stem").codes, before.layer("stem").codes[:, ::-1])
    assert after.layer("stem").grid == before.layer("stem").grid
    assert after.layer("stem").input.zero_point == 128


def test_an_input_that_is_not_read_by_convolutions_is_refused() -> None:
    spec = Preprocess(ResizeMode.STRETCH, SIDE, SIDE, **PERSON)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="Mul 'odd'"):
        uint8_input_form(quantized(float_model(first="Mul"), 1.0), spec)


def test_a_spec_of_another_size_is_refused() -> None:
    spec = Preprocess(ResizeMode.STRETCH, SIDE, SIDE + 1)
    with pytest.raises(ModelError, match="17"):
        uint8_input_form(quantized(float_model(), 1.0), spec)


def test_a_bundle_carries_it_and_the_device_feeds_it_frames(frames: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    spec = Preprocess(ResizeMode.STRETCH, SIDE, SIDE, **PERSON)  # type: ignore[arg-type]
    graph = quantized(float_model(), 1.0, Scheme(weight_bits=7))
    form = uint8_input_form(graph, spec)
    assert form.inputs is not None
    manifest, _ = classifier_parts()
    output = TensorSpec("y", (1, 4, SIDE // 2, SIDE // 2), "float32")
    variants = []
    for name, model, inputs in (
        (form.name, form.model, form.inputs),
        ("int8", graph.model, (TensorSpec("x", (1, 3, SIDE, SIDE), "float32", Layout.NCHW),)),
    ):
        variants.append(
            replace(
                manifest.variants[0],
                name=name,
                file=f"models/{name}.onnx",
                bytes=len(model),
                sha256=sha256_hex(model),
                inputs=inputs,
                outputs=(output,),
            )
        )
    decode = ClassifyDecode("y", ScoreActivation.NONE, 3)
    manifest = replace(manifest, variants=tuple(variants), preprocess=spec, decode=decode, labels=())
    write_bundle(tmp_path / "b", manifest, {"models/uint8-input.onnx": form.model, "models/int8.onnx": graph.model})
    bundle = open_bundle(tmp_path / "b")
    pixels, floats = open_session(bundle), open_session(bundle, "int8")
    for frame in frames:
        seen, wanted = pixels.raw(frame)["y"], floats.raw(frame)["y"]
        assert np.linalg.norm(seen - wanted) < 0.1 * np.linalg.norm(wanted)
        turned = pixels.raw(np.ascontiguousarray(frame[..., ::-1]))["y"]  # red for blue is another picture
        assert np.linalg.norm(turned - wanted) > 0.3 * np.linalg.norm(wanted)
