"""Which function writes which operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.tflite.operators import activation, elementwise, movement, pooling
from edgewright.optimize.tflite.operators.convolution import convolution
from edgewright.optimize.tflite.operators.matrix import gemm, matmul
from edgewright.optimize.tflite.operators.padding import pad
from edgewright.optimize.tflite.operators.quantizers import dequantize, quantize
from edgewright.optimize.tflite.operators.resize import resize
from edgewright.optimize.tflite.operators.transposed import transposed_convolution

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgewright.optimize.tflite.scope import Scope
    from edgewright.optimize.tflite.source import Node

__all__ = ["WRITERS"]

WRITERS: Mapping[str, Callable[[Scope, Node], None]] = {
    "BatchNormalization": elementwise.batch_norm,
    "Clip": activation.clip,
    "Concat": movement.concat,
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "DepthToSpace": movement.depth_to_space,
    "DequantizeLinear": dequantize,
    "Gather": movement.gather,
    "Gemm": gemm,
    "HardSigmoid": activation.hard_sigmoid,
    "LeakyRelu": activation.leaky_relu,
    "MatMul": matmul,
    "PRelu": activation.prelu,
    "Pad": pad,
    "QuantizeLinear": quantize,
    "Relu": activation.clip,
    "Sigmoid": activation.saturating,
    "Slice": movement.slices,
    "Softmax": activation.softmax,
    "SpaceToDepth": movement.depth_to_space,
    "Split": movement.split,
    "Tanh": activation.saturating,
    "Transpose": movement.transpose,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Sum"), elementwise.binary),
    **dict.fromkeys(("AveragePool", "MaxPool"), pooling.pool),
    **dict.fromkeys(("Cast", "Dropout", "Identity"), movement.same),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), movement.reshape),
    **dict.fromkeys(
        ("GlobalAveragePool", "GlobalMaxPool", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), pooling.reduce
    ),
    **dict.fromkeys(("Expand", "Tile"), movement.tile),
    **dict.fromkeys(("Resize", "Upsample"), resize),
    **dict.fromkeys(
        ("Abs", "Ceil", "Cos", "Elu", "Exp", "Floor", "Gelu", "HardSwish", "Log", "Neg", "Round", "Sin", "Sqrt"),
        activation.unary,
    ),
}
"""By the name of the ONNX operator."""
