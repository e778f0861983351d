"""What can be asked of the writer, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.bundle.manifest import TensorSpec

__all__ = ["TfliteFile", "TfliteForm"]


class TfliteForm(str, Enum):
    """How numbers are kept and computed."""

    FLOAT32 = "float32"
    """All in float32."""
    FLOAT16 = "float16"
    """Weights kept in float16, unpacked by the engine when it loads the file; computed in float32."""
    DYNAMIC = "dynamic"
    """Weights of convolutions and products in int8; activations are float and quantized anew for every picture."""
    INT8 = "int8"
    """The integers of a QDQ graph: weights, biases and grids of activations are taken over, not chosen again."""


@dataclass(frozen=True, eq=False)
class TfliteFile:
    """A written file.

    Attributes:
        model: The flatbuffer.
        inputs: Its inputs in order; an image is NHWC. Integer ones carry scale and zero point, except a uint8 camera
            picture, which takes the pixels as they are.
        outputs: Its outputs in order, with the names, shapes and order of axes of the ONNX outputs.
        notes: What a reader of the report should know.
        axes: For every tensor that bears the name of an ONNX tensor: which ONNX axis each of its axes is. An NCHW
            tensor kept as NHWC has (0, 2, 3, 1).
    """

    model: bytes
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...] = ()
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
