"""Half floats: weights of two bytes, and arithmetic in half floats where the engine has it.

Inputs and outputs of the model stay float32. A node stays float32 when it reads or makes values that half floats do
not hold, and so do the values between two such nodes: no infinity comes from this conversion. Engines without
half-float kernels compute in float32 and cast, which is slower than float; the judge will say so. Such an engine (ONNX
Runtime on x86 is one) also hides an overflow that others would show: what fits is decided by ``ranges``, not by a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.bundle.manifest import Precision
from edgewright.optimize.errors import ModelError
from edgewright.optimize.graph.segments import node_id
from edgewright.optimize.variants.form import ModelForm

if TYPE_CHECKING:
    import onnx

    from edgewright.optimize.types import Ranges

__all__ = ["HALF_LIMIT", "float16_form"]

HALF_LIMIT = 32768.0
"""Largest magnitude trusted to a half float, whose own limit is 65504: pictures differ."""

_HALF = frozenset(
    {
        "Add",
        "AveragePool",
        "Clip",
        "Concat",
        "Conv",
        "ConvTranspose",
        "Div",
        "Flatten",
        "Gemm",
        "GlobalAveragePool",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "MatMul",
        "MaxPool",
        "Mul",
        "PRelu",
        "Pad",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Squeeze",
        "Sub",
        "Tanh",
        "Transpose",
        "Unsqueeze",
    }
)


def float16_form(model: bytes, ranges: Ranges | None = None) -> ModelForm:
    """Converts a prepared float graph.

    Args:
        model: The ONNX file, topologically sorted.
        ranges: Observed low and high of its tensors; without them only constants are checked for overflow.

    Returns:
        The same network in half floats, named ``float16``.

    Raises:
        ModelError: No node can be converted.
    """
    import onnx

    source = onnx.load_model_from_string(model)
    typed = onnx.shape_inference.infer_shapes(source)
    converter = _Converter(source, _float_tensors(typed), ranges or {})
    result = converter.run()
    if not converter.halves:
        msg = "no operator of this model can run in half floats"
        raise ModelError(msg)
    onnx.checker.check_model(result)
    notes = [f"{converter.halves} operators run in half floats"]
    if converter.kept:
        shown = ", ".join(converter.kept[:3]) + (f" and {len(converter.kept) - 3} more" if converter.kept[3:] else "")
        notes.append(f"{len(converter.kept)} stay float32, as half floats cannot hold their values: {shown}")
    if ranges is None:
        notes.append("no ranges were given: whether activations fit into half floats was not checked")
    return ModelForm("float16", result.SerializeToString(deterministic=True), Precision.FLOAT16, notes=tuple(notes))


class _Converter:
    def __init__(self, source: onnx.ModelProto, floats: frozenset[str], ranges: Ranges) -> None:
        from onnx import numpy_helper

        self._source, self._floats, self._ranges = source, floats, ranges
        self._constants = {
            tensor.name: np.asarray(numpy_helper.to_array(tensor)) for tensor in source.graph.initializer
        }
        self._outputs = {output.name for output in source.graph.output}
        self._half: dict[str, str] = {}  # float32 name to its half twin
        self._made: set[str] = set()  # what half nodes make, so that a float32 twin must be cast
        self._full: set[str] = set()  # float32 twins that exist
        self._nodes: list[onnx.NodeProto] = []
        self._added: list[onnx.TensorProto] = []
        self.halves = 0
        self.kept: list[str] = []

    def run(self) -> onnx.ModelProto:
        import onnx

        for node in self._source.graph.node:
            self._place(node)
        for output in self._source.graph.output:
            self._as_float(output.name)
        result = onnx.ModelProto()
        result.CopyFrom(self._source)
        del result.graph.node[:]
        del result.graph.value_info[:]
        result.graph.node.extend(self._nodes)
        read = {name for node in self._nodes for name in node.input}
        constants = [tensor for tensor in (*self._source.graph.initializer, *self._added) if tensor.name in read]
        del result.graph.initializer[:]
        result.graph.initializer.extend(constants)
        return result

    def _place(self, node: onnx.NodeProto) -> None:
        import onnx

        floats = [name for name in (*node.input, *node.output) if name in self._floats]
        own = onnx.NodeProto()
        own.CopyFrom(node)
        if node.op_type not in _HALF or node.domain not in ("", "ai.onnx") or not floats:
            self._keep(own)
            return
        if not all(self._fits(name) for name in floats):
            self.kept.append(node_id(node))
            self._keep(own)
            return
        self.halves += 1
        own.input[:] = [self._as_half(name) if name in self._floats else name for name in node.input]
        for index, name in enumerate(node.output):
            if name in self._floats:
                own.output[index] = self._half[name] = f"{name}/half"
                self._made.add(name)
        self._nodes.append(own)

    def _keep(self, node: onnx.NodeProto) -> None:
        for name in node.input:
            self._as_float(name)
        self._nodes.append(node)

    def _as_half(self, name: str) -> str:
        from onnx import TensorProto, helper, numpy_helper

        if name not in self._half:
            self._half[name] = f"{name}/half"
            if name in self._constants:
                self._added.append(numpy_helper.from_array(self._constants[name].astype(np.float16), self._half[name]))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [self._half[name]], to=TensorProto.FLOAT16))
        return self._half[name]

    def _as_float(self, name: str) -> None:
        from onnx import TensorProto, helper

        if name in self._made and name not in self._full:
            self._full.add(name)
            self._nodes.append(helper.make_node("Cast", [self._half[name]], [name], to=TensorProto.FLOAT))

    def _fits(self, name: str) -> bool:
        if name in self._constants:
            values = self._constants[name]
            # A bound of Clip may be infinite or the largest float and mean no bound; such nodes stay float32, too.
            return values.size == 0 or float(np.abs(values).max()) <= HALF_LIMIT
        low, high = self._ranges.get(name, (0.0, 0.0))
        return max(abs(low), abs(high)) <= HALF_LIMIT


def _float_tensors(model: onnx.ModelProto) -> frozenset[str]:
    """All float32 tensors, constants included."""
    from onnx import TensorProto

    graph = model.graph
    values = {
        value.name
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    return frozenset(values | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT})
