"""Gives the tensors of a ``.tflite`` file the names that a bundle's decoding asks for.

Converters call a network's outputs ``output_0``, ``StatefulPartitionedCall:1`` and the like. What the outside sees is
the file's signature, so only that is rewritten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import import_problem
from edgewright.optimize.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["rename_signature"]

_IDENTIFIER = b"TFL3"


def rename_signature(model: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The same file with other names outside.

    Args:
        model: A ``.tflite`` file with at most one signature.
        inputs: Names of its inputs, in order.
        outputs: Names of its outputs, in the order of the signature's own (sorted) names; of the subgraph without one.

    Raises:
        MissingExtraError: The package that knows the format is not installed.
        ModelError: There are more or fewer tensors than names.
    """
    try:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise import_problem(error, "ai-edge-litert", "writing a .tflite model", "tflite") from error
    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    _take_in(model, tree)
    graph = tree.subgraphs[0]
    rows = tree.signatureDefs or []
    if len(rows) > 1:
        msg = f"the converted model has {len(rows)} signatures; one is expected"
        raise ModelError(msg)
    signature = rows[0] if rows else _signature(schema, graph)
    for side, names in (("inputs", inputs), ("outputs", outputs)):
        maps = sorted(getattr(signature, side), key=lambda row: _order(row.name))
        if len(maps) != len(names):
            msg = f"the converted model has {len(maps)} {side}, the network {len(names)}: {', '.join(names)}"
            raise ModelError(msg)
        for row, name in zip(maps, names, strict=True):
            row.name = name
    tree.signatureDefs = [signature]
    builder = flatbuffers.Builder(len(model))
    builder.Finish(tree.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _take_in(model: bytes, tree: Any) -> None:
    """Weights of large files lie behind the tables, at offsets that a rewritten file no longer has."""
    for buffer in tree.buffers:
        start, size = int(buffer.offset or 0), int(buffer.size or 0)
        if start <= 1:
            continue
        if start + size > len(model):
            msg = f"the converted file is cut short: a weight ends at byte {start + size} of {len(model)}"
            raise ModelError(msg)
        buffer.data = np.frombuffer(model, np.uint8, size, start)
        buffer.offset = buffer.size = 0


def _order(name: Any) -> tuple[int, str]:
    """``output_10`` comes behind ``output_9``."""
    text = name.decode() if isinstance(name, bytes) else str(name)
    digits = text.rpartition("_")[2]
    return (int(digits) if digits.isdecimal() else -1, text)


def _signature(schema: Any, graph: Any) -> Any:
    made = schema.SignatureDefT()
    made.signatureKey, made.subgraphIndex = "serving_default", 0
    made.inputs, made.outputs = [], []
    for side, tensors in ((made.inputs, graph.inputs), (made.outputs, graph.outputs)):
        for number, tensor in enumerate(tensors):
            row = schema.TensorMapT()
            row.name, row.tensorIndex = f"tensor_{number}", int(tensor)
            side.append(row)
    return made
