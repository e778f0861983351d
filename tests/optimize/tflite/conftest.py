"""Small graphs, written as TFLite and run by the real LiteRT beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewright.optimize.calibration import RangeCollector, RangeMethod
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.optimize.tflite import TfliteFile

Arrays = Mapping[str, NDArray[Any]]
Make = Callable[..., bytes]
Run = Callable[..., dict[str, NDArray[Any]]]


@pytest.fixture(scope="session")
def make_graph() -> Make:
    """Builds a model with the input x; its outputs are those of the last node."""

    def make(nodes: Sequence[Any], shape: Sequence[int], outputs: Sequence[str] = (), **constants: Any) -> bytes:
        names = outputs or nodes[-1].output
        graph = helper.make_graph(
            list(nodes),
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return bytes(onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).SerializeToString())

    return make


@pytest.fixture(scope="session")
def run_onnx() -> Run:
    """What ONNX Runtime answers."""

    def run(model: bytes, feeds: Arrays, engine: Mapping[str, Any] | None = None) -> dict[str, NDArray[Any]]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(
            model,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=(engine or {}).get("disabled_optimizers"),
        )
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run


@pytest.fixture(scope="session")
def run_tflite() -> Run:
    """What LiteRT answers to the tensors of the ONNX graph: turned, quantized and dequantized as the specs say."""

    def run(file: TfliteFile, feeds: Arrays) -> dict[str, NDArray[Any]]:
        from ai_edge_litert.interpreter import Interpreter

        engine = Interpreter(model_content=file.model, num_threads=1)
        engine.allocate_tensors()
        places = {item["name"]: item["index"] for item in (*engine.get_input_details(), *engine.get_output_details())}
        for spec in file.inputs:
            value = feeds[spec.name]
            if value.shape != spec.shape:
                value = value.transpose(0, 2, 3, 1)
            if spec.scale is not None and spec.zero_point is not None:
                value = np.clip(np.rint(value / spec.scale) + spec.zero_point, -128, 127)
            engine.set_tensor(places[spec.name], np.ascontiguousarray(value.astype(spec.dtype)))
        engine.invoke()
        answers = {}
        for spec in file.outputs:
            value = engine.get_tensor(places[spec.name])
            assert value.shape == spec.shape
            assert value.dtype == np.dtype(spec.dtype)
            if spec.scale is not None and spec.zero_point is not None:
                value = (value.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)
            answers[spec.name] = value
        return answers

    return run


@pytest.fixture(scope="session")
def quantize() -> Callable[..., tuple[bytes, Mapping[str, tuple[float, float]], Mapping[str, Any]]]:
    """A QDQ graph of a float one, calibrated on feeds; with the ranges and the engine's options."""

    def make(
        model: bytes, feeds: Sequence[Arrays], keep_float: Sequence[str] = (), scheme: Scheme | None = None
    ) -> tuple[bytes, Mapping[str, tuple[float, float]], Mapping[str, Any]]:
        ready = prepare_graph(model, feeds[:1]).model
        collector = RangeCollector(ready)
        for feed in feeds:
            collector.observe(feed)
        ranges = collector.ranges(RangeMethod.MINMAX)
        graph = quantize_graph(ready, ranges, keep_float, scheme)
        return graph.model, ranges, graph.engine

    return make
