"""Makes a ``Network`` of an ONNX graph: of the float one, or of the QDQ one with simulated integers.

The QDQ graph says what is quantized, on which grid, and which tensors share one. The float graph it was written from
says what the weights are. A pair of QuantizeLinear and DequantizeLinear becomes one step, and none where its values are
on that very grid already (behind operators that only move them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # noqa: TID253 - this module is PyTorch code, imported only where something is trained

from edgewright.optimize.errors import ModelError
from edgewright.optimize.graph.operators import WEIGHTED
from edgewright.optimize.graph.segments import node_id
from edgewright.optimize.qat.grids import ActivationGrid, WeightGrid
from edgewright.optimize.qat.layer import Layer, LayerShape
from edgewright.optimize.qat.moving import MOVING
from edgewright.optimize.qat.network import Network, Plan, Step
from edgewright.optimize.qat.node import NodeView
from edgewright.optimize.qat.pointwise import POINTWISE
from edgewright.optimize.qat.reading import constant_of, float_weights, moved_to, shapes_of
from edgewright.optimize.qat.windows import WINDOWS
from edgewright.optimize.quantization.scheme import Scheme

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.qat.node import Builder, Operation

__all__ = ["float_network", "simulated_network"]

_OPERATORS: dict[str, Builder] = {**POINTWISE, **MOVING, **WINDOWS}
_BIASED = 3  # inputs


def float_network(model: bytes) -> Network:
    """The float graph as a module; its weights can be trained.

    Args:
        model: A float ONNX file with one input.

    Raises:
        ModelError: Naming an operator that is not known, or used in a way that is not.
    """
    return _Builder(_load(model), None, Scheme(), frozenset()).network()


def simulated_network(
    model: bytes, graph: bytes, scheme: Scheme | None = None, *, learn_grids: Collection[str] = ()
) -> Network:
    """The QDQ graph as a module that computes with simulated integers.

    Args:
        model: The prepared float ONNX file that it was written from.
        graph: The QDQ file; its integers may have been moved by rounding passes.
        scheme: Its integers; None takes ``Scheme()``.
        learn_grids: Names of activation steps in the file that are to be trained.

    Raises:
        ModelError: Naming an operator that is not known, or used in a way that is not.
    """
    return _Builder(_load(graph), _load(model), scheme or Scheme(), frozenset(learn_grids)).network()


def _load(data: bytes) -> onnx.ModelProto:
    import onnx

    return onnx.load_model_from_string(data)


class _Builder:
    def __init__(
        self, graph: onnx.ModelProto, source: onnx.ModelProto | None, scheme: Scheme, learn: frozenset[str]
    ) -> None:
        from onnx import numpy_helper

        self._graph, self._scheme, self._learn = graph, scheme, learn
        self._constants = {item.name: numpy_helper.to_array(item) for item in graph.graph.initializer}
        self._makers = {name: node for node in graph.graph.node for name in node.output}
        self._floats = float_weights(source) if source is not None else float_weights(graph)
        self._quantized = source is not None
        self._opset = next((item.version for item in graph.opset_import if item.domain in {"", "ai.onnx"}), 0)
        self._shapes = shapes_of(graph)
        self._slots: dict[str, int] = {}
        self._aliases: dict[str, str] = {}
        self._steps: list[Step] = []
        self._parts: list[Any] = []
        self._layers: dict[str, Layer] = {}
        self._grids: dict[str, ActivationGrid] = {}
        self._on: dict[str, str] = {}  # tensors whose values are on a grid, by its name

    def network(self) -> Network:
        graph = self._graph.graph
        inputs = [value.name for value in graph.input if value.name not in self._constants]
        if len(inputs) != 1:
            msg = f"cannot train a model with {len(inputs)} inputs ({', '.join(inputs)}); exactly one is needed"
            raise ModelError(msg)
        self._slot(inputs[0])
        for node in graph.node:
            self._add(node)
        outputs = [self._slot(output.name) for output in graph.output]
        read = {slot for step in self._steps for slot in step.inputs} | set(outputs)
        constants = {
            self._slots[name]: torch.from_numpy(np.array(self._constants[name]))
            for name in self._constants
            if self._slots.get(name) in read
        }
        plan = Plan(
            _with_deaths(self._steps, {*outputs, *constants}),
            self._parts,
            len(self._slots),
            self._slots[inputs[0]],
            outputs,
            constants,
            self._layers,
            self._grids,
            [output.name for output in graph.output],
        )
        return Network(plan)

    def _add(self, node: onnx.NodeProto) -> None:
        if node.op_type == "QuantizeLinear" and self._quantized:
            self._quantize(node)
        elif node.op_type == "DequantizeLinear" and self._quantized:
            self._dequantize(node)
        elif node.op_type == "Constant":
            self._constants[node.output[0]] = constant_of(node)
        elif node.op_type in WEIGHTED and node_id(node) in self._floats.weights:
            self._weighted(node)
        else:
            self._plain(node)

    def _quantize(self, node: onnx.NodeProto) -> None:
        name, source = node.input[1], self._name(node.input[0])
        grid = self._grid(node)
        if self._on.get(source) == name:
            self._aliases[node.output[0]] = source
            return
        self._on[node.output[0]] = name
        self._step(node, None, self._part(grid), (node.input[0],))

    def _dequantize(self, node: onnx.NodeProto) -> None:
        source = node.input[0]
        if source in self._constants:
            self._constants[node.output[0]] = self._real(node)
            return
        if self._on.get(self._name(source)) != node.input[1]:
            msg = f"node {node_id(node)!r} reads {source!r} on another grid than it was written on; cannot train that"
            raise ModelError(msg)
        self._aliases[node.output[0]] = self._name(source)

    def _weighted(self, node: onnx.NodeProto) -> None:
        name = node_id(node)
        view = self._view(node)
        operation = _operation(view)
        weight = self._floats.weights[name]
        groups = view.integer("group", 1)
        shape = LayerShape(name, node.op_type, _axis(view, weight.ndim), groups, view.real("beta", 1.0))
        maker = self._makers.get(node.input[1])
        grid, source, bias = None, None, self._floats.biases.get(name)
        if self._quantized and maker is not None:
            codes = self._constants[maker.input[0]]
            scale = self._constants[maker.input[1]]
            axis = _attribute(maker, "axis", 1) % weight.ndim if scale.ndim else None
            grid = WeightGrid(signed=codes.dtype == np.int8, bits=self._scheme.weight_bits, axis=axis)
            weight = moved_to(weight, self._real(maker), scale, axis)
            stored = self._makers.get(node.input[2]) if len(node.input) >= _BIASED else None
            if stored is not None:
                source = self._grids[self._makers[node.input[0]].input[1]]
                real = self._real(stored).reshape(-1)
                bias = moved_to(
                    np.zeros_like(real) if bias is None else bias, real, self._constants[stored.input[1]], 0
                )
        start = torch.from_numpy(np.array(weight)), None if bias is None else torch.from_numpy(np.array(bias))
        layer = Layer(shape, operation.call, start, grid, source)
        self._layers[name] = layer
        self._step(node, None, self._part(layer), (node.input[0],))

    def _plain(self, node: onnx.NodeProto) -> None:
        operation = _operation(self._view(node))
        if operation.moves and (on := self._on.get(self._name(node.input[0]))) is not None:
            for output in node.output:
                self._on[output] = on
        self._step(node, operation.call, -1, tuple(node.input[k] for k in operation.inputs))

    def _step(self, node: onnx.NodeProto, call: Any, part: int, inputs: tuple[str, ...]) -> None:
        outputs = tuple(self._slot(name) if name else -1 for name in node.output)
        given = tuple(self._slot(name) for name in inputs)
        self._steps.append(Step(node_id(node), call, part, given, outputs, node.op_type != "Split"))

    def _view(self, node: onnx.NodeProto) -> NodeView:
        import onnx

        if node.domain not in {"", "ai.onnx"}:
            msg = f"cannot train with node {node_id(node)!r}: operator {node.domain}.{node.op_type} is not known"
            raise ModelError(msg)
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        return NodeView(
            node_id(node),
            node.op_type,
            self._opset,
            {key: value.decode() if isinstance(value, bytes) else value for key, value in attributes.items()},
            tuple(self._constants.get(self._name(name)) for name in node.input),
            tuple(bool(name) for name in node.input),
            len(node.output),
            self._shapes.get(node.output[0]),
        )

    def _grid(self, node: onnx.NodeProto) -> ActivationGrid:
        name = node.input[1]
        if name not in self._grids:
            scale, zero = self._constants[name], self._constants[node.input[2]]
            if scale.size != 1:
                msg = f"node {node_id(node)!r} quantizes activations per channel; cannot train that"
                raise ModelError(msg)
            limits = np.iinfo(zero.dtype)
            self._grids[name] = ActivationGrid(
                float(scale.reshape(-1)[0]),
                int(zero.reshape(-1)[0]),
                (int(limits.min), int(limits.max)),
                learn=name in self._learn,
            )
        return self._grids[name]

    def _real(self, node: onnx.NodeProto) -> NDArray[Any]:
        """What a DequantizeLinear of a constant gives."""
        codes, scale = self._constants[node.input[0]], self._constants[node.input[1]]
        zero = self._constants[node.input[2]] if len(node.input) >= _BIASED else np.zeros(1, codes.dtype)
        shape = [1] * codes.ndim
        if scale.size > 1:
            shape[_attribute(node, "axis", 1) % codes.ndim] = -1
        steps = codes.astype(np.float64) - zero.astype(np.float64).reshape(shape if zero.size > 1 else [1] * codes.ndim)
        real = steps * scale.astype(np.float64).reshape(shape if scale.size > 1 else [1] * codes.ndim)
        return np.asarray(real, np.float32)

    def _part(self, part: Any) -> int:
        for place, known in enumerate(self._parts):
            if known is part:
                return place
        self._parts.append(part)
        return len(self._parts) - 1

    def _name(self, name: str) -> str:
        return self._aliases.get(name, name)

    def _slot(self, name: str) -> int:
        return self._slots.setdefault(self._name(name), len(self._slots))


def _operation(view: NodeView) -> Operation:
    builder = _OPERATORS.get(view.op_type)
    if builder is None:
        raise view.refusal("this operator is not known")
    return builder(view)


def _axis(view: NodeView, dimensions: int) -> int:
    if view.op_type == "Conv" or (view.op_type == "Gemm" and view.integer("transB", 0)):
        return 0
    return 1 if view.op_type == "ConvTranspose" else dimensions - 1


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(item.i) for item in node.attribute if item.name == name), default)


def _with_deaths(steps: list[Step], kept: set[int]) -> list[Step]:
    """Steps that let go of what nobody reads after them."""
    last: dict[int, int] = {}
    for k, step in enumerate(steps):
        for slot in (*step.inputs, *step.outputs):
            last[slot] = k
    dead: dict[int, list[int]] = {}
    for slot, k in last.items():
        if slot not in kept and slot >= 0:
            dead.setdefault(k, []).append(slot)
    return [
        Step(s.node, s.call, s.part, s.inputs, s.outputs, s.single, tuple(dead.get(k, ()))) for k, s in enumerate(steps)
    ]
