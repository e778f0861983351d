"""Padding: what ONNX spells out per side, in the two words that TFLite has, SAME and VALID.

SAME gives ``ceil(size / stride)`` places and puts the odd zero behind. Symmetric pads with a stride of 2 on an even size
mean something else: the first zero before the picture counts, and the last one is never read. Then, and whenever the
words do not fit, the zeros are written by an operator of their own, as few as are really read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.optimize.tflite.source import Node, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SAME", "VALID", "Axis", "Padding", "choose_padding", "window_axes"]

SAME = 0
VALID = 1
_IMAGE = 2  # axes of a picture


@dataclass(frozen=True)
class Axis:
    """A window sliding along one axis.

    Attributes:
        size: Of the input.
        kernel: Places from the window's first to its last element, dilation included.
        stride: Step.
        before: Places that the first window starts before the input.
        out: Number of windows.
    """

    size: int
    kernel: int
    stride: int
    before: int
    out: int

    @property
    def after(self) -> int:
        """Places behind the input that the last window reads; negative ones are not read at all."""
        return (self.out - 1) * self.stride + self.kernel - self.size - self.before

    @property
    def same(self) -> bool:
        """Whether this is what TFLite calls SAME."""
        total = max((self.out - 1) * self.stride + self.kernel - self.size, 0)
        return self.out == -(-self.size // self.stride) and self.before == total // 2


@dataclass(frozen=True)
class Padding:
    """How to say it.

    Attributes:
        word: ``SAME`` or ``VALID``.
        pads: Places before and after on each axis that must be written first; all zero mostly.
    """

    word: int
    pads: tuple[tuple[int, int], ...]

    @property
    def explicit(self) -> bool:
        """Whether something must be written first."""
        return any(any(pair) for pair in self.pads)


def choose_padding(axes: Sequence[Axis]) -> Padding:
    """The word for some axes."""
    none = ((0, 0),) * len(axes)
    if all(axis.before == 0 and axis.after <= 0 for axis in axes):
        return Padding(VALID, none)
    if all(axis.same for axis in axes):
        return Padding(SAME, none)
    return Padding(VALID, tuple((axis.before, max(axis.after, 0)) for axis in axes))


def window_axes(node: Node, size: Sequence[int], kernel: Sequence[int], out: Sequence[int]) -> tuple[Axis, ...]:
    """The axes of a convolution or pooling.

    Args:
        node: Its attributes are read.
        size: Height and width of the input.
        kernel: Height and width of the kernel.
        out: Height and width of the output.

    Raises:
        ConversionError: It is not about pictures, or pads are negative.
    """
    if len(size) != _IMAGE:
        raise refuse(node, f"it slides along {len(size)} axes, and only pictures (2 axes) are supported")
    strides = node.attributes.get("strides", (1, 1))
    dilations = node.attributes.get("dilations", (1, 1))
    reach = [(length - 1) * dilation + 1 for length, dilation in zip(kernel, dilations, strict=True)]
    automatic = node.attributes.get("auto_pad", "NOTSET")
    pads = list(node.attributes.get("pads", (0, 0, 0, 0)))
    if min(pads) < 0:
        raise refuse(node, f"its pads are negative: {pads}")
    before = pads[:_IMAGE]
    if automatic == "VALID":
        before = [0, 0]
    elif automatic in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((places - 1) * stride + length - given, 0)
            for places, stride, length, given in zip(out, strides, reach, size, strict=True)
        ]
        before = [total // 2 if automatic == "SAME_UPPER" else total - total // 2 for total in totals]
    rows = zip(size, reach, strides, before, out, strict=True)
    return tuple(Axis(*(int(number) for number in row)) for row in rows)
