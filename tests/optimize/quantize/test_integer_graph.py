"""A QDQ file seen as integers, changed, and written back."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from tiny_models import SIDE, classifier_onnx, detector_onnx

from edgewright.optimize.calibration import RangeCollector, RangeMethod
from edgewright.optimize.errors import JudgeError
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.quantization.scheme import IntegerType, Scheme
from edgewright.optimize.quantization.transplant import transplant_rounding
from edgewright.optimize.quantization.writer import QuantizedGraph, quantize_graph

IMAGES = [np.random.default_rng(k).uniform(0, 1, (1, 3, SIDE, SIDE)).astype(np.float32) for k in range(4)]


def prepared(model: bytes) -> bytes:
    return prepare_graph(model, [{"image": IMAGES[0]}]).model


def quantized(model: bytes, scheme: Scheme | None = None, keep_float: frozenset[str] = frozenset()) -> QuantizedGraph:
    ready = prepared(model)
    collector = RangeCollector(ready)
    for image in IMAGES:
        collector.observe({"image": image})
    return quantize_graph(ready, collector.ranges(RangeMethod.MINMAX), keep_float, scheme)


def run(model: bytes) -> list[np.ndarray]:
    return list(ort.InferenceSession(model).run(None, {"image": IMAGES[0]}))


def test_layers_are_read_with_their_integers() -> None:
    layers = {layer.node: layer for layer in IntegerGraph(quantized(detector_onnx()).model).layers}
    assert set(layers) == {"mean", "logit", "code"}
    logit = layers["logit"]
    assert (logit.op_type, logit.weight, logit.channels, logit.axis) == ("Conv", "logit_w", 2, 0)
    assert logit.codes.dtype == np.int8
    assert not logit.depthwise
    weights = next(t for t in onnx.load_model_from_string(detector_onnx()).graph.initializer if t.name == "logit_w")
    np.testing.assert_allclose(logit.reals, onnx.numpy_helper.to_array(weights), atol=logit.scale.max() / 2)
    low, high = logit.input.range
    assert low <= 0 <= high
    assert logit.bias is not None
    np.testing.assert_allclose(logit.bias * logit.bias_scale, [6, -6], rtol=1e-3)


def test_layers_without_a_bias_get_one_that_can_be_corrected() -> None:
    model = onnx.load_model_from_string(detector_onnx())
    logit = next(node for node in model.graph.node if node.name == "logit")
    del logit.input[2:]
    bare = model.SerializeToString()
    layer = IntegerGraph(quantized(bare).model).layer("logit")
    assert layer.bias is not None
    assert layer.bias.shape == (2,)
    assert not layer.bias.any()
    graph = IntegerGraph(quantized(bare).model)
    before = run(graph.to_bytes())
    graph.set_bias("logit", np.full_like(layer.bias, 4000))
    assert layer.bias_scale is not None
    moved = run(graph.to_bytes())[1] - before[1]
    assert np.median(moved) == pytest.approx(4000 * float(layer.bias_scale[0]), rel=0.1)
    alone = onnx.load_model_from_string(quantized(bare, keep_float=frozenset({"logit"})).model)
    assert len(next(node for node in alone.graph.node if node.name == "logit").input) == 2


def test_changed_codes_and_biases_change_the_answers_and_nothing_else() -> None:
    graph = IntegerGraph(quantized(detector_onnx()).model)
    before = run(graph.to_bytes())
    layer = graph.layer("logit")
    graph.set_codes("logit", np.zeros_like(layer.codes))
    graph.set_bias("logit", np.zeros_like(layer.bias))
    after = run(graph.to_bytes())
    codes, logits = 0, 1
    np.testing.assert_array_equal(after[codes], before[codes])
    assert not after[logits].any()


@pytest.mark.parametrize(
    ("scheme", "largest"),
    [
        pytest.param(Scheme(), 127, id="eight bits"),
        pytest.param(Scheme(weight_bits=7), 64, id="seven bits"),
        pytest.param(Scheme(per_channel=False), 127, id="per tensor"),
        pytest.param(Scheme(activations=IntegerType.INT8), 127, id="signed activations"),
    ],
)
def test_a_scheme_is_what_the_file_holds(scheme: Scheme, largest: int) -> None:
    layers = IntegerGraph(quantized(classifier_onnx(), scheme).model).layers
    for layer in layers:
        assert int(np.abs(layer.codes.astype(int)).max()) == largest
        assert len(layer.scale) == (layer.channels if scheme.per_channel else 1)
        assert (layer.input.low, layer.input.high) == (
            (0, 255) if scheme.activations is IntegerType.UINT8 else (-128, 127)
        )


def test_what_does_not_fit_is_refused() -> None:
    graph = IntegerGraph(quantized(detector_onnx()).model)
    with pytest.raises(JudgeError, match="cannot be replaced by int8"):
        graph.set_codes("logit", np.zeros(3, np.int8))
    bare = onnx.load_model_from_string(graph.to_bytes())
    del next(node for node in bare.graph.node if node.name == "code").input[2:]
    graph = IntegerGraph(bare.SerializeToString())
    with pytest.raises(JudgeError, match="'code' has no integer bias"):
        graph.set_bias("code", np.zeros(4, np.int32))


def test_rounding_is_carried_to_layers_whose_grids_are_the_same() -> None:
    plain = quantized(detector_onnx())
    graph = IntegerGraph(plain.model)
    better = np.clip(graph.layer("mean").codes.astype(int) + 1, -127, 127).astype(np.int8)
    graph.set_codes("mean", better)
    rounded = QuantizedGraph(graph.to_bytes())
    fresh = quantized(detector_onnx(), keep_float=frozenset({"logit"}))
    carried = IntegerGraph(transplant_rounding(rounded, fresh).model)
    np.testing.assert_array_equal(carried.layer("mean").codes, better)
    assert [layer.node for layer in carried.layers] == ["mean", "code"]
    other = quantized(detector_onnx(), Scheme(weight_bits=7))
    np.testing.assert_array_equal(
        IntegerGraph(transplant_rounding(rounded, other).model).layer("mean").codes,
        IntegerGraph(other.model).layer("mean").codes,
    )
