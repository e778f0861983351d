"""A quantized network whose input is the camera frame, resized: uint8, height x width x BGR, not one float pass.

The first grid is replaced by the pixels themselves, and scale, mean and channel order go into the first convolution
(see ``stem``). Where all channels have one slope its codes stay as the rounding passes left them; else they are rounded
anew. Codes of all other layers and all other grids stay. The order of axes is changed on the bytes, in front of the
first DequantizeLinear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.manifest import ColorOrder, Layout, Precision, TensorSpec
from edgewright.optimize.errors import ModelError
from edgewright.optimize.graph.segments import node_id
from edgewright.optimize.passes.order import SortTopologically
from edgewright.optimize.quantization.integer_graph import IntegerGraph, IntegerLayer
from edgewright.optimize.variants.form import ModelForm
from edgewright.optimize.variants.stem import FoldedStem, PixelGrid, fold_stem, pixel_grid

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Preprocess
    from edgewright.optimize.quantization.writer import QuantizedGraph

__all__ = ["uint8_input_form"]

_NAME = "uint8-input"
_PREFIX = "edgewright.pixels"
_FEW_BITS = 64  # weights of seven bits keep within this


@dataclass(frozen=True, eq=False)
class _IntegerStem:
    codes: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: NDArray[np.int32]
    bias_scale: NDArray[np.float32]


def uint8_input_form(graph: QuantizedGraph, spec: Preprocess) -> ModelForm:
    """Makes the variant that takes frames.

    Args:
        graph: A QDQ file after all passes, with one image input that one or more convolutions read.
        spec: The bundle's preprocessing.

    Returns:
        The variant, named ``uint8-input``, with its input tensor: NHWC, uint8, BGR.

    Raises:
        ModelError: The input does not go into convolutions at once, or is not what ``spec`` makes.
    """
    import onnx

    model = onnx.load_model_from_string(graph.model)
    layers = _stems(model, graph, spec)
    grid = pixel_grid(spec)
    folded = {layer.node: _fold(layer, spec) for layer in layers}
    ones = _ones(list(folded.values()), grid)
    kept = True
    for layer in layers:
        integers, same = _integers(layer, folded[layer.node], grid, ones=ones)
        kept &= same
        _write_stem(model, layer, integers)
    _write_input(model, {layer.node for layer in layers}, grid, spec, ones=ones)
    result = SortTopologically().run(model).model
    onnx.checker.check_model(result)
    notes = (*graph.notes, *_notes(grid, kept=kept, ones=ones, padded=any(_pads(layer) for layer in layers)))
    name = result.graph.input[0].name
    tensor = TensorSpec(name, (1, spec.height, spec.width, 3), "uint8", Layout.NHWC, color=ColorOrder.BGR)
    data = result.SerializeToString(deterministic=True)
    return ModelForm(_NAME, data, Precision.INT8, graph.engine, notes, (tensor,))


def _stems(model: onnx.ModelProto, graph: QuantizedGraph, spec: Preprocess) -> tuple[IntegerLayer, ...]:
    """The convolutions that read the input."""
    name = model.graph.input[0].name
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    if len(model.graph.input) != 1 or shape != [1, 3, spec.height, spec.width]:
        msg = f"input {name!r} {shape} is not the one image (1, 3, {spec.height}, {spec.width}) that the spec makes"
        raise ModelError(msg)
    layers = [layer for layer in IntegerGraph(graph.model).layers if layer.input.tensor == name]
    wanted = {layer.node for layer in layers}
    readers = _followers(model, name)
    other = next((node for node in readers if node_id(node) not in wanted or node.op_type != "Conv"), None)
    if other is not None or not layers:
        where = f"{other.op_type} {node_id(other)!r}" if other is not None else "no quantized operator"
        msg = f"the input is read by {where}; only convolutions in INT8 can take the normalisation in"
        raise ModelError(msg)
    odd = next((layer for layer in layers if layer.attributes.get("group", 1) != 1 or layer.zero_point.any()), None)
    if odd is not None:
        msg = (
            f"the first convolution {odd.node!r} is grouped or has unsigned weights; normalisation cannot be folded in"
        )
        raise ModelError(msg)
    return tuple(layers)


def _followers(model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
    """What reads a tensor, through QuantizeLinear and DequantizeLinear."""
    found: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if name in node.input:
            passes = node.op_type in ("QuantizeLinear", "DequantizeLinear")
            found += _followers(model, node.output[0]) if passes else [node]
    return found


def _fold(layer: IntegerLayer, spec: Preprocess) -> FoldedStem:
    bias = np.zeros(layer.channels)
    if layer.bias is not None and layer.bias_scale is not None:
        bias = layer.bias.astype(np.float64) * layer.bias_scale
    return fold_stem(layer.reals.astype(np.float64), bias, spec, padded=_pads(layer))


def _ones(stems: list[FoldedStem], grid: PixelGrid) -> int:
    """How far above the zero point the constant channel lies, 0 for none: so far that its weights are no larger."""
    folded = [stem.weights.reshape(*stem.weights.shape[:2], -1) for stem in stems if stem.extra]
    if not folded:
        return 0
    ratios = [np.abs(w[:, 3]).max(axis=1) / np.maximum(np.abs(w[:, :3]).max(axis=(1, 2)), 1e-30) for w in folded]
    return int(np.clip(np.ceil(max(float(ratio.max()) for ratio in ratios)), 1, 255 - grid.zero))


def _pads(layer: IntegerLayer) -> bool:
    automatic = layer.attributes.get("auto_pad", b"NOTSET").decode()
    return automatic.startswith("SAME") or any(layer.attributes.get("pads", ()))


def _integers(layer: IntegerLayer, folded: FoldedStem, grid: PixelGrid, *, ones: int) -> tuple[_IntegerStem, bool]:
    """The folded convolution in integers, and whether the codes of its colours stayed as they were."""
    weights = folded.weights
    if ones and folded.extra:
        weights = np.concatenate([weights[:, :3], weights[:, 3:] / ones], axis=1)
    elif ones:  # another convolution needs the channel
        weights = np.concatenate([weights, np.zeros_like(weights[:, :1])], axis=1)
    others = tuple(range(1, weights.ndim))
    top = _FEW_BITS - 1 if np.abs(layer.codes.astype(np.int32)).max() <= _FEW_BITS else np.iinfo(np.int8).max
    old = np.broadcast_to(layer.scale.astype(np.float64), (layer.channels,))
    same = len({abs(slope) for slope in grid.slope}) == 1 and bool(
        (np.abs(weights).max(axis=others) <= old * 127.5).all()
    )
    scale = old if same else np.maximum(np.abs(weights).max(axis=others), np.finfo(np.float32).tiny) / top
    step = np.asarray(scale, np.float32)
    shaped = step.astype(np.float64).reshape(-1, *[1] * len(others))
    codes = np.clip(np.rint(weights / shaped), -128 if same else -top, 127)
    bias_scale = np.asarray(np.float32(grid.step) * step, np.float32)
    bias = folded.bias
    if ones:
        # Rounding the constant channel shifts every value alike; inside the picture the bias takes that back.
        lost = (weights - codes * shaped)[:, 3].reshape(len(codes), -1).sum(axis=1)
        bias = bias + lost * grid.step * ones
    limits = np.iinfo(np.int32)
    whole = np.clip(np.rint(bias / bias_scale.astype(np.float64)), limits.min, limits.max)
    return _IntegerStem(codes.astype(np.int8), step, whole.astype(np.int32), bias_scale), same


def _write_stem(model: onnx.ModelProto, layer: IntegerLayer, integers: _IntegerStem) -> None:
    """Gives the convolution constants of its own, so that nothing else that shares the old ones is touched."""
    node = next(node for node in model.graph.node if node_id(node) == layer.node)
    base = f"{_PREFIX}/{layer.node}"
    _dequantized(model, f"{base}/weight", integers.codes, integers.scale)
    _dequantized(model, f"{base}/bias", integers.bias, integers.bias_scale)
    node.input[:] = [f"{_PREFIX}/real", f"{base}/weight", f"{base}/bias"]


def _dequantized(model: onnx.ModelProto, name: str, codes: NDArray[Any], scale: NDArray[np.float32]) -> None:
    from onnx import helper, numpy_helper

    zero = np.zeros(scale.shape, codes.dtype)
    named = {f"{name}_quantized": codes, f"{name}_scale": scale, f"{name}_zero_point": zero}
    model.graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in named.items())
    model.graph.node.append(helper.make_node("DequantizeLinear", [*named], [name], name=name, axis=0))


def _write_input(model: onnx.ModelProto, stems: set[str], grid: PixelGrid, spec: Preprocess, *, ones: int) -> None:
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    name = graph.input[0].name
    graph.input[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.UINT8, [1, spec.height, spec.width, 3]))
    del graph.value_info[:]
    _drop_dead(model, stems)
    constants: dict[str, NDArray[Any]] = {
        "scale": np.array(grid.step, np.float32),
        "zero_point": np.array(grid.zero, np.uint8),
    }
    if ones:
        constants |= {"pads": np.array([0] * 7 + [1], np.int64), "ones": np.array(grid.zero + ones, np.uint8)}
        inputs = [name, f"{_PREFIX}/pads", f"{_PREFIX}/ones"]
        graph.node.append(helper.make_node("Pad", inputs, [f"{_PREFIX}/four"], name=f"{_PREFIX}/four"))
    graph.initializer.extend(numpy_helper.from_array(value, f"{_PREFIX}/{key}") for key, value in constants.items())
    source = f"{_PREFIX}/four" if ones else name
    graph.node.extend(
        [
            helper.make_node("Transpose", [source], [f"{_PREFIX}/planes"], f"{_PREFIX}/planes", perm=[0, 3, 1, 2]),
            helper.make_node(
                "DequantizeLinear",
                [f"{_PREFIX}/planes", f"{_PREFIX}/scale", f"{_PREFIX}/zero_point"],
                [f"{_PREFIX}/real"],
                f"{_PREFIX}/real",
            ),
        ]
    )


def _drop_dead(model: onnx.ModelProto, stems: set[str]) -> None:
    """Drops what only the old first layers read: their quantizers and constants."""
    graph = model.graph
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        dead = [node for node in graph.node if node_id(node) not in stems and not any(n in read for n in node.output)]
        if not dead:
            break
        for node in dead:
            graph.node.remove(node)
    read |= {f"{_PREFIX}/{key}" for key in ("scale", "zero_point", "pads", "ones")}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _notes(grid: PixelGrid, *, kept: bool, ones: int, padded: bool) -> tuple[str, ...]:
    notes = [
        f"the input is the uint8 frame itself, BGR; pixel {grid.zero} is the zero point"
        + ("" if kept else "; the first convolution was rounded anew, as its channels are scaled differently")
    ]
    if ones:
        notes.append("a fourth input constant channel keeps the padding of the first convolution right")
    elif padded and not grid.exact:
        notes.append("the frame's outermost pixels are padded with a value that is half a grey level off")
    return tuple(notes)
