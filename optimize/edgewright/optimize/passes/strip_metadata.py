"""Drops what an exporter wrote for people: stack traces, source lines, documentation strings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.passes.base import PassResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

__all__ = ["StripMetadata"]


class StripMetadata:
    """Clears doc strings and metadata of the model, its graphs, nodes and values.

    They are no part of the computation, can be a tenth of a small model's file, and carry paths of the machine that
    exported it.
    """

    name = "strip-metadata"

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        before = model.ByteSize()
        model.ClearField("metadata_props")
        model.ClearField("doc_string")
        for graph in _graphs(model.graph):
            for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
                part.ClearField("metadata_props")
                part.ClearField("doc_string")
            graph.ClearField("quantization_annotation")
        saved = before - model.ByteSize()
        notes = (f"dropped {saved} bytes of exporter's notes",) if saved else ()
        return PassResult(model, saved > 0, notes)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)
