"""What every form of a model comes as."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Format, Precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.bundle.manifest import TensorSpec

__all__ = ["COMPACT", "ModelForm", "called", "form_name", "plain_name"]

FLOAT = "float"
COMPACT = "compact"
"""The float form of a network that was made smaller; ``float`` stays the one that was given."""


def form_name(name: str, kind: Format) -> str:
    """What a form is called in one of the formats: ``int8`` in ONNX, ``int8-tflite`` in TFLite.

    Args:
        name: Of the form.
        kind: File format.
    """
    return name if kind is Format.ONNX else f"{name}-{kind.value}"


def plain_name(name: str) -> str:
    """The name of a form without its format, as ``--ship`` takes it."""
    return name.removesuffix(f"-{Format.TFLITE.value}")


def called(name: str, precision: str) -> str:
    """What a form is called where people read: ``INT8``, or its plain name where it does not compute in INT8.

    Args:
        name: Of the form.
        precision: Its arithmetic.
    """
    return "INT8" if precision == Precision.INT8.value else plain_name(name)


@dataclass(frozen=True, eq=False)
class ModelForm:
    """One form of a model, ready to be judged; ``model``, ``engine`` and ``notes`` are as in ``QuantizedGraph``.

    Attributes:
        name: Of the variant in the bundle, such as ``float16``.
        model: The model file.
        precision: Its arithmetic.
        engine: Options the engine needs (``Variant.engine``).
        notes: What is special about it, in words.
        inputs: Its input tensors where they are not the float model's, else None.
        outputs: Its output tensors where they are not the float model's, else None.
        format: Of the file.
    """

    name: str
    model: bytes
    precision: Precision = Precision.INT8
    engine: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    inputs: tuple[TensorSpec, ...] | None = None
    outputs: tuple[TensorSpec, ...] | None = None
    format: Format = Format.ONNX

    @property
    def baseline(self) -> str:
        """Name of the float form of the same format, which its speed is measured against."""
        return form_name(FLOAT, self.format)
