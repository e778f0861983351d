"""What can be asked of the writer, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.bundle.manifest import TensorSpec

__all__ = ["PLAIN", "TfliteFile", "TfliteForm", "Tuning"]


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


@dataclass(frozen=True)
class Tuning:
    """How an INT8 file is written for speed; it computes the same numbers whatever is chosen.

    Attributes:
        columns: Output channels that the engine's integer kernels compute at once however few are needed; layers with
            fewer take several pixels as one (see ``operators.cells``). 0 for kernels that compute what is needed.
        signed_pixels: A uint8 picture comes in as int8, every pixel less 128. That is what the kernels compute with, so
            no operator has to turn it.
    """

    columns: int = 0
    signed_pixels: bool = False


PLAIN = Tuning()
"""A file that suits any engine."""


@dataclass(frozen=True, eq=False)
class TfliteFile:
    """A written file.

    Attributes:
        model: The flatbuffer.
        inputs: Its inputs in order; an image is NHWC. Integer ones carry scale and zero point, except a camera
            picture: uint8 takes the pixels as they are, int8 takes them less 128.
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
