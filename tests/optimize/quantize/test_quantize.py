"""The INT8 file: what is in it, and that it still says the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from tiny_models import SIDE, classifier_onnx, detector_onnx, spot_frame

from edgewright.bundle.manifest import Preprocess, ResizeMode
from edgewright.optimize.calibration import RangeCollector, RangeMethod
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.errors import JudgeError
from edgewright.optimize.evaluate.agreement import box_agreement
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.runtime.backends.onnx import OnnxBackend
from edgewright.runtime.preprocess import Preprocessor
from edgewright.runtime.session import Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.sources import FloatModel

SPEC = Preprocess(ResizeMode.STRETCH, SIDE, SIDE)


def tensors(model: bytes, count: int) -> list[NDArray[np.float32]]:
    preprocessor = Preprocessor(SPEC, OnnxBackend(model).inputs[0])
    return [preprocessor(spot_frame(index))[0].copy() for index in range(count)]


def prepared(model: bytes) -> bytes:
    return prepare_graph(model, [{"image": tensor} for tensor in tensors(model, 2)]).model


def quantized(model: bytes, method: RangeMethod = RangeMethod.MINMAX) -> QuantizedGraph:
    ready = prepared(model)
    collector = RangeCollector(ready)
    for tensor in tensors(model, 16):
        collector.observe({"image": tensor})
    return quantize_graph(ready, collector.ranges(method))


@pytest.mark.parametrize("make", [detector_onnx, classifier_onnx])
@pytest.mark.parametrize("method", list(RangeMethod))
def test_int8_says_nearly_the_same(make: object, method: RangeMethod) -> None:
    model = make()  # type: ignore[operator]
    float_, int8 = OnnxBackend(model), OnnxBackend(quantized(model, method).model)
    assert [spec.name for spec in int8.outputs] == [spec.name for spec in float_.outputs]
    for tensor in tensors(model, 8):
        expected = {name: value.copy() for name, value in float_.run({"image": tensor}).items()}
        for name, value in int8.run({"image": tensor}).items():
            assert np.abs(value - expected[name]).max() < 0.05 * np.abs(expected[name]).max()


def test_weights_are_int8_per_channel_and_activations_uint8() -> None:
    result = onnx.load_model_from_string(quantized(detector_onnx()).model)
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    kinds = onnx.TensorProto
    convs = [node for node in result.graph.node if node.op_type == "Conv"]
    producers = {name: node for node in result.graph.node for name in node.output}
    assert {node.name for node in convs} == {"mean", "logit", "code"}
    for conv in convs:
        weights = producers[conv.input[1]]
        assert weights.op_type == "DequantizeLinear"
        assert constants[weights.input[0]].data_type == kinds.INT8
        channels = constants[weights.input[0]].dims[0]
        assert list(constants[weights.input[1]].dims) == [channels]
    writers = [node for node in result.graph.node if node.op_type == "QuantizeLinear"]
    assert writers
    assert all(constants[node.input[2]].data_type == kinds.UINT8 for node in writers)


def test_the_file_is_sorted_and_checks() -> None:
    result = onnx.load_model_from_string(quantized(detector_onnx()).model)
    onnx.checker.check_model(result, full_check=True)
    known = {value.name for value in result.graph.input} | {tensor.name for tensor in result.graph.initializer}
    for node in result.graph.node:
        assert set(filter(None, node.input)) <= known
        known |= set(node.output)


def test_it_loads_without_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = 2
    for make in (detector_onnx, classifier_onnx):
        ort.InferenceSession(quantized(make()).model, options, providers=["CPUExecutionProvider"])
    assert capfd.readouterr() == ("", "")


def test_fully_quantized_files_need_no_engine_option() -> None:
    result = quantized(detector_onnx())
    assert result.engine == {}
    assert result.notes == ("3 operators with weights run in INT8",)


def test_what_stays_float_carries_the_engine_option() -> None:
    ready = prepared(detector_onnx())
    collector = RangeCollector(ready)
    for tensor in tensors(ready, 4):
        collector.observe({"image": tensor})
    result = quantize_graph(ready, collector.ranges(RangeMethod.MINMAX), keep_float={"code"})
    assert result.engine == {"disabled_optimizers": ["WeightBiasQuantization"]}
    assert result.notes == ("2 operators with weights run in INT8, 1 stay float: code",)
    OnnxBackend(result.model, engine=result.engine).run({"image": tensors(ready, 1)[0]})


def test_a_model_without_weights_is_refused() -> None:
    helper = onnx.helper
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 4, 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with pytest.raises(JudgeError, match="nothing in this model can be quantized"):
        quantize_graph(model.SerializeToString(), {"x": (0.0, 1.0), "y": (0.0, 1.0)})


def test_ranges_that_lack_a_tensor_are_refused() -> None:
    with pytest.raises(JudgeError, match="quantizer refused the model"):
        quantize_graph(prepared(detector_onnx()), {})


def test_the_person_detector(person: FloatModel, clip: str) -> None:
    ready = prepare_graph(person.model, person.feeds).model
    preprocessor = Preprocessor(person.spec.preprocess, person.inputs[0])
    collector = RangeCollector(ready)
    for sample in open_samples(f"{clip}#1:161:16"):
        collector.observe({person.inputs[0].name: preprocessor(sample.image)[0]})
    result = quantize_graph(ready, collector.ranges(RangeMethod.MINMAX))
    assert len(ready) / len(result.model) > 3.3
    sessions = [
        Session(OnnxBackend(model), person.spec.preprocess, person.spec.decode, person.spec.arrays)
        for model in (ready, result.model)
    ]
    float_, int8 = [], []
    for sample in open_samples(f"{clip}#3:200:20"):
        float_.append(sessions[0].infer(sample.image, score_threshold=0.01))
        int8.append(sessions[1].infer(sample.image, score_threshold=0.01))
    agreement = box_agreement(float_, int8, 0.5, block=1)  # type: ignore[arg-type]
    assert agreement.float_boxes >= 20
    assert agreement.kept_boxes >= 0.85 * agreement.float_boxes
    assert agreement.agreement_ap50 is not None
    assert agreement.agreement_ap50.value > 0.97


def test_what_stays_float_is_told_in_bytes() -> None:
    """A recurrent layer has weights that the writer leaves alone."""
    hidden, steps = 32, 16
    random = np.random.default_rng(0)
    weights = {
        "conv": random.normal(0, 0.1, (steps, 3, 4, 4)).astype(np.float32),
        "w": random.normal(0, 0.1, (1, 4 * hidden, 64)).astype(np.float32),
        "r": random.normal(0, 0.1, (1, 4 * hidden, hidden)).astype(np.float32),
        "shape": np.array([steps, 1, 64], np.int64),
    }
    nodes = [
        onnx.helper.make_node("Conv", ["image", "conv"], ["map"], strides=[4, 4]),
        onnx.helper.make_node("Reshape", ["map", "shape"], ["row"]),
        onnx.helper.make_node("LSTM", ["row", "w", "r"], ["", "last"], hidden_size=hidden),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "recurrent",
        [value("image", onnx.TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [value("last", onnx.TensorProto.FLOAT, [1, 1, hidden])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    notes = quantized(model.SerializeToString()).notes
    # 4 * 32 * (64 + 32) numbers of four bytes, and some bytes of names.
    assert any("49.19 kB of the INT8 file are constants that stay float, in LSTM" in note for note in notes), notes
    assert not any("stay float, in" in note for note in quantized(detector_onnx()).notes)
