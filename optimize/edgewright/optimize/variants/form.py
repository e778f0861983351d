"""What every form of a model comes as."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.bundle.manifest import TensorSpec

__all__ = ["ModelForm"]


@dataclass(frozen=True, eq=False)
class ModelForm:
    """One form of a model, ready to be judged; ``model``, ``engine`` and ``notes`` are as in ``QuantizedGraph``.

    Attributes:
        name: Of the variant in the bundle, such as ``float16``.
        model: The ONNX file.
        precision: Its arithmetic.
        engine: Options the engine needs (``Variant.engine``).
        notes: What is special about it, in words.
        inputs: Its input tensors where they are not the float model's, else None.
    """

    name: str
    model: bytes
    precision: Precision = Precision.INT8
    engine: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    inputs: tuple[TensorSpec, ...] | None = None
