"""A PyTorch network to a ``FloatModel``: exported, and proved against the network itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgewright.bundle.digest import sha256_hex
from edgewright.optimize.sources.draw import Drawn, finish
from edgewright.optimize.sources.feeds import picture_feeds
from edgewright.optimize.sources.shapes import keep_outputs
from edgewright.optimize.sources.torch_export import compare_with_torch, export_torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edgewright.optimize.sources.float_model import FloatModel
    from edgewright.optimize.spec import SourceModel

__all__ = ["from_module"]


def from_module(
    source: SourceModel,
    name: str,
    *,
    images: Sequence[NDArray[np.uint8]] = (),
    digest: str | None = None,
    activation_open: bool = False,
) -> FloatModel:
    """Exports a network and compares the file with it.

    Args:
        source: The network, in evaluation mode, and its spec.
        name: Names it in messages and records.
        images: Real frames (H, W, 3) uint8 BGR to compare on.
        digest: SHA-256 of its weights file; None takes that of the exported file.
        activation_open: Whether the graph has to say what turns scores into probabilities.

    Raises:
        ModelError: It cannot be exported, or the file computes something else.
        SpecError: The spec does not fit it.
    """
    exported = export_torch(source, name)
    feeds = picture_feeds(source.spec, source.input_name, images)
    difference, outputs = compare_with_torch(exported.SerializeToString(), source, feeds, name)
    notes = [
        f"exported by torch.onnx (dynamo); largest difference from PyTorch on {len(feeds)} inputs: {difference:.2g}",
        *keep_outputs(exported, source.spec.output_names, name),
    ]
    drawn = Drawn(exported, source.spec, feeds, tuple(notes), activation_open)
    known = digest or sha256_hex(exported.SerializeToString(deterministic=True))
    made = finish(drawn, name, known, packages=("torch", "onnxscript"))
    columns = [source.output_names.index(tensor.name) for tensor in made.outputs]
    reference = tuple(tuple(row[column] for column in columns) for row in outputs)
    # What the graph says of the scores holds for the network too: it is trained, searched and learned from by that spec.
    return replace(made, max_difference=difference, module=replace(source, spec=made.spec), reference=reference)
