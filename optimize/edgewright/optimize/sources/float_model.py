"""What every source ends in: one float ONNX file with fixed shapes, and the spec that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgewright.bundle.manifest import TensorSpec
    from edgewright.optimize.spec import ModelSpec, SourceModel

__all__ = ["FloatModel"]


@dataclass(frozen=True, eq=False)
class FloatModel:
    """A float model, ready for ``prepare_graph``.

    Attributes:
        model: The ONNX file: weights inside, one input, batch of 1, all shapes fixed.
        spec: How it is fed and read; ``input_shape`` is set.
        inputs: The input tensor.
        outputs: The output tensors that decoding reads, in the graph's order.
        source: The model as the user named it.
        source_sha256: Digest of the file or folder, or of the weights file of a factory.
        notes: How it was had, in words, for the report.
        tools: Package name to version of what made it.
        max_difference: Largest relative difference between ONNX and the framework it came from, None where
            there was none.
        feeds: Inputs that later steps can compare on, input name to tensor.
        module: The network as a factory gave it, None where there is only a file.
        reference: What the framework it came from answers to each of ``feeds``, in the order of ``outputs``; empty
            where there was none.
        scaling_moved: Whether the source scales pixels itself, which was moved into the spec's preprocessing, so that
            the source takes other inputs than ``model`` does.
    """

    model: bytes
    spec: ModelSpec
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    source: str
    source_sha256: str
    notes: tuple[str, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    max_difference: float | None = None
    feeds: tuple[Mapping[str, NDArray[Any]], ...] = ()
    module: SourceModel | None = None
    reference: tuple[tuple[NDArray[Any], ...], ...] = ()
    scaling_moved: bool = False
