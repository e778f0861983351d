"""The tiny detector of ``bundles`` as TFLite files, written with the schema classes: float, and integers all through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from bundles import DETECT, GRID, SIDE, anchors, detector_parts, picture
from numpy.typing import NDArray

from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.golden import write_golden
from edgewright.bundle.manifest import Format, Golden, Layout, Manifest, Precision, Preprocess, TensorSpec, Variant
from edgewright.runtime.backends.litert import LiteRtBackend
from edgewright.runtime.session import Session

IMAGE_SCALE, IMAGE_ZERO = 2 / 255, 0
SCORE_SCALE, SCORE_ZERO = 20 / 255, 0
_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
    "bool": schema.TensorType.BOOL,
}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a graph that is being written."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    values: NDArray[Any] | None = None
    scales: tuple[float, ...] = ()
    zeros: tuple[int, ...] = ()
    axis: int = 0
    signature: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Operator:
    """One operator: builtin code (or a custom name), tensor names, options object and its union type."""

    code: int | str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Any = None
    kind: int = 0


def pack(
    tensors: list[Tensor],
    operators: list[Operator],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    signature: dict[str, dict[str, str]] | None = None,
) -> bytes:
    """A ``.tflite`` file. ``signature`` maps "inputs" and "outputs" to public name -> tensor name."""
    index = {tensor.name: k for k, tensor in enumerate(tensors)}
    model = schema.ModelT(version=3, description="tests")
    model.buffers = [schema.BufferT()]
    model.operatorCodes, codes = [], {}
    for operator in operators:
        if operator.code not in codes:
            codes[operator.code] = len(model.operatorCodes)
            row = schema.OperatorCodeT(version=1)
            if isinstance(operator.code, str):
                row.builtinCode = row.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
                row.customCode = operator.code
            else:
                row.builtinCode, row.deprecatedBuiltinCode = operator.code, min(operator.code, 127)
                # Integer kernels of these came with a later version of the operator.
                row.version = 3 if operator.code == schema.BuiltinOperator.CONV_2D else 1
            model.operatorCodes.append(row)
    graph = schema.SubGraphT(name="main")
    graph.tensors = [_tensor(tensor, model.buffers) for tensor in tensors]
    graph.inputs, graph.outputs = [index[n] for n in inputs], [index[n] for n in outputs]
    graph.operators = [
        schema.OperatorT(
            opcodeIndex=codes[operator.code],
            inputs=[index[n] for n in operator.inputs],
            outputs=[index[n] for n in operator.outputs],
            builtinOptionsType=operator.kind,
            builtinOptions=operator.options,
        )
        for operator in operators
    ]
    model.subgraphs = [graph]
    if signature is not None:
        rows = {
            kind: [schema.TensorMapT(name=public, tensorIndex=index[inner]) for public, inner in names.items()]
            for kind, names in signature.items()
        }
        model.signatureDefs = [
            schema.SignatureDefT(inputs=rows["inputs"], outputs=rows["outputs"], signatureKey="serving_default")
        ]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _tensor(tensor: Tensor, buffers: list[Any]) -> Any:
    row = schema.TensorT(shape=list(tensor.shape), type=_TYPES[tensor.dtype], name=tensor.name, hasRank=True)
    if tensor.signature is not None:
        row.shapeSignature = list(tensor.signature)
    row.buffer = 0
    if tensor.values is not None:
        row.buffer = len(buffers)
        buffers.append(schema.BufferT(data=np.frombuffer(np.ascontiguousarray(tensor.values).tobytes(), np.uint8)))
    if tensor.scales:
        row.quantization = schema.QuantizationParametersT(
            scale=list(tensor.scales), zeroPoint=list(tensor.zeros), quantizedDimension=tensor.axis
        )
    return row


def _grid(code: int, inputs: tuple[str, ...], output: str) -> Operator:
    if code == schema.BuiltinOperator.AVERAGE_POOL_2D:
        pool = schema.Pool2DOptionsT(padding=schema.Padding.VALID, strideW=2, strideH=2, filterWidth=2, filterHeight=2)
        return Operator(code, inputs, (output,), pool, schema.BuiltinOptions.Pool2DOptions)
    conv = schema.Conv2DOptionsT(
        padding=schema.Padding.VALID, strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1
    )
    return Operator(code, inputs, (output,), conv, schema.BuiltinOptions.Conv2DOptions)


def _reshape(source: str, shape: str, target: str, sizes: tuple[int, ...]) -> Operator:
    options = schema.ReshapeOptionsT(newShape=list(sizes))
    kind = schema.BuiltinOptions.ReshapeOptions
    return Operator(schema.BuiltinOperator.RESHAPE, (source, shape), (target,), options, kind)


def detector_tflite(
    *, side: int = SIDE, batch: int | None = None, signature: bool = False, custom: str | None = None
) -> bytes:
    """The detector of ``bundles.detector_onnx`` in float32, NHWC.

    Args:
        side: Input height and width; only ``SIDE`` gives right answers.
        batch: What the shape signature says of the batch, where it says anything.
        signature: Names inputs and outputs by a signature, tensors being called otherwise.
        custom: An operator of this name makes a further output.
    """
    cells = side // 2
    said = None if batch is None else (batch, side, side, 3)
    names = ("in:0", "boxes:0", "scores:0") if signature else ("image", "boxes", "scores")
    image, boxes, scores = names
    weights = np.array([[-10 / 3] * 3, [10 / 3] * 3], np.float32).reshape(2, 1, 1, 3)
    tensors = [
        Tensor(image, (1, side, side, 3), signature=said),
        Tensor("cells", (1, cells, cells, 3)),
        Tensor("w", (2, 1, 1, 3), values=weights),
        Tensor("b", (2,), values=np.zeros(2, np.float32)),
        Tensor("both", (1, cells, cells, 2)),
        Tensor("w0", (4, 1, 1, 3), values=np.zeros((4, 1, 1, 3), np.float32)),
        Tensor("b0", (4,), values=np.zeros(4, np.float32)),
        Tensor("none", (1, cells, cells, 4)),
        *_shapes(cells),
        Tensor(boxes, (1, cells * cells, 4)),
        Tensor(scores, (1, cells * cells, 2)),
    ]
    operators = _operators(cells, names)
    if custom is not None:
        tensors.append(Tensor("odd", (1, cells, cells, 3)))
        operators.append(Operator(custom, ("cells",), ("odd",)))
    outputs = (boxes, scores) if custom is None else (boxes, scores, "odd")
    public = {"inputs": {"image": image}, "outputs": {"boxes": boxes, "scores": scores}} if signature else None
    return pack(tensors, operators, (image,), outputs, public)


def _shapes(cells: int) -> list[Tensor]:
    return [
        Tensor("shape4", (3,), "int32", np.array([1, cells * cells, 4], np.int32)),
        Tensor("shape2", (3,), "int32", np.array([1, cells * cells, 2], np.int32)),
    ]


def _operators(cells: int, names: tuple[str, str, str]) -> list[Operator]:
    image, boxes, scores = names
    conv, count = schema.BuiltinOperator.CONV_2D, cells * cells
    return [
        _grid(schema.BuiltinOperator.AVERAGE_POOL_2D, (image,), "cells"),
        _grid(conv, ("cells", "w", "b"), "both"),
        _reshape("both", "shape2", scores, (1, count, 2)),
        _grid(conv, ("cells", "w0", "b0"), "none"),
        _reshape("none", "shape4", boxes, (1, count, 4)),
    ]


def int8_detector_tflite() -> bytes:
    """The same in integers: int8 in and out, a weight scale for each channel."""
    step = 10 / 3 / 127
    weights = np.array([[-127] * 3, [127] * 3], np.int8).reshape(2, 1, 1, 3)
    image = {"scales": (IMAGE_SCALE,), "zeros": (IMAGE_ZERO,)}
    score = {"scales": (SCORE_SCALE,), "zeros": (SCORE_ZERO,)}
    box = {"scales": (0.01,), "zeros": (0,)}
    tensors = [
        Tensor("image", (1, SIDE, SIDE, 3), "int8", **image),
        Tensor("cells", (1, GRID, GRID, 3), "int8", **image),
        Tensor("w", (2, 1, 1, 3), "int8", weights, (step, step), (0, 0)),
        Tensor("b", (2,), "int32", np.zeros(2, np.int32), (step * IMAGE_SCALE,) * 2, (0, 0)),
        Tensor("both", (1, GRID, GRID, 2), "int8", **score),
        Tensor("w0", (4, 1, 1, 3), "int8", np.zeros((4, 1, 1, 3), np.int8), (1.0,) * 4, (0,) * 4),
        Tensor("b0", (4,), "int32", np.zeros(4, np.int32), (IMAGE_SCALE,) * 4, (0,) * 4),
        Tensor("none", (1, GRID, GRID, 4), "int8", **box),
        *_shapes(GRID),
        Tensor("boxes", (1, GRID * GRID, 4), "int8", **box),
        Tensor("scores", (1, GRID * GRID, 2), "int8", **score),
    ]
    return pack(tensors, _operators(GRID, ("image", "boxes", "scores")), ("image",), ("boxes", "scores"))


def tflite_variant(name: str, model: bytes, precision: Precision) -> Variant:
    """A variant of the tiny detector, its tensors as the file describes them."""
    backend = LiteRtBackend(model)
    inputs = tuple(replace(spec, layout=Layout.NHWC) for spec in backend.inputs)
    path = f"models/{name}.tflite"
    return Variant(name, Format.TFLITE, precision, path, len(model), sha256_hex(model), inputs, tuple(backend.outputs))


def session_of(variant: Variant, model: bytes, preprocess: Preprocess) -> Session:
    """A session as ``open_session`` makes it, for golden answers."""
    backend = LiteRtBackend(model)
    described = _Described(backend, variant.inputs, variant.outputs)
    return Session(described, preprocess, DETECT, {DETECT.anchors: anchors()})


class _Described:
    def __init__(self, backend: LiteRtBackend, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
        self.inputs, self.outputs, self.engine = inputs, outputs, backend.engine
        self.run, self.close = backend.run, backend.close


def both_formats_parts(*, frames: int = 2) -> tuple[Manifest, dict[str, bytes]]:
    """The tiny detector's bundle with float variants in both formats and an integer TFLite one."""
    manifest, payload = detector_parts(frames=frames)
    pictures = [picture(i) for i in range(frames)]
    models = {
        "float32-tflite": (detector_tflite(), Precision.FLOAT32),
        "int8-tflite": (int8_detector_tflite(), Precision.INT8),
    }
    variants, answers = list(manifest.variants), {}
    onnx = session_for_onnx(manifest)
    answers["float32-onnx"] = [onnx.raw(p) for p in pictures]
    golden = manifest.golden
    assert golden is not None
    tolerance = dict(golden.tolerance)
    for name, (model, precision) in models.items():
        variant = tflite_variant(name, model, precision)
        live = session_of(variant, model, manifest.preprocess)
        answers[name] = [live.raw(p) for p in pictures]
        variants.append(variant)
        payload[variant.file] = model
        tolerance |= {f"{name}/boxes": 1e-5, f"{name}/scores": 1e-4 if precision is Precision.FLOAT32 else 1.0}
    payload[golden.file] = write_golden(pictures, answers)
    return replace(manifest, variants=tuple(variants), golden=Golden(golden.file, frames, tolerance)), payload


def session_for_onnx(manifest: Manifest) -> Session:
    """The ONNX variant's session."""
    del manifest
    from bundles import session

    return session()
