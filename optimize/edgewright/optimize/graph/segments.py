"""A graph run in consecutive pieces, so that the values between them can be seen, changed, and then forgotten.

Memory is bounded by one piece's activations and by what later pieces still need; ``run`` drops every value after its
last reader.

Example:
    >>> pieces = Segments(model, cuts=["node_a", "node_b"])                  # doctest: +SKIP
    >>> outputs = pieces.run({"image": tensor}, on_value=lambda name, value: value)  # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.graph.engine import open_engine, run_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.types import Feeds

__all__ = ["Segments", "node_id"]


def node_id(node: onnx.NodeProto) -> str:
    """What a node is called here: its name, or its first output where it has none."""
    return str(node.name or node.output[0])


@dataclass(frozen=True, eq=False)
class _Piece:
    session: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shown: frozenset[str]
    dead: tuple[str, ...]


class Segments:
    """A graph with fixed shapes, cut after chosen nodes."""

    def __init__(
        self,
        model: bytes,
        cuts: Collection[str],
        show: Collection[str] = (),
        *,
        threads: int = 1,
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        """Cuts the graph and loads every piece.

        Args:
            model: An ONNX file, topologically sorted, without control flow.
            cuts: Nodes (``node_id``) behind which a piece ends.
            show: Further values that ``on_value`` is to see; the outputs of cut nodes are always shown.
            threads: For the engine.
            engine: ``Variant.engine`` of the file, ``disabled_optimizers`` of which is obeyed.

        Raises:
            JudgeError: The engine refuses a piece.
        """
        import onnx

        source = onnx.load_model_from_string(model)
        # Pieces need the type of every value that crosses a cut.
        source = onnx.shape_inference.infer_shapes(source, data_prop=True)
        self._names = tuple(output.name for output in source.graph.output)
        self._pieces = tuple(
            _Piece(
                open_engine(piece.SerializeToString(), engine, threads=threads, what="a piece of the model"),
                inputs,
                outputs,
                shown,
                dead,
            )
            for piece, inputs, outputs, shown, dead in _cut(source, frozenset(cuts), frozenset(show))
        )

    def __len__(self) -> int:
        """How many pieces."""
        return len(self._pieces)

    def run(
        self, feeds: Feeds, on_value: Callable[[str, NDArray[Any]], NDArray[Any] | None] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Runs all pieces in order.

        Args:
            feeds: The graph's inputs.
            on_value: Given the name and value of every shown tensor; what it returns takes the value's place for all
                later pieces, None keeps it.

        Returns:
            The graph's outputs by name.

        Raises:
            JudgeError: The engine fails on the inputs.
        """
        values: dict[str, NDArray[Any]] = dict(feeds)
        results: dict[str, NDArray[Any]] = {}
        for piece in self._pieces:
            values |= run_engine(piece.session, piece.outputs, {name: values[name] for name in piece.inputs})
            for name in piece.outputs:
                replaced = on_value(name, values[name]) if on_value is not None and name in piece.shown else None
                if replaced is not None:
                    values[name] = replaced
                if name in self._names:
                    results[name] = values[name]
            # No other name may hold on to them, or two pieces' values would be alive while the next one runs.
            for name in piece.dead:
                values.pop(name, None)
        return {name: results[name] if name in results else values[name] for name in self._names}


def _cut(
    source: onnx.ModelProto, cuts: frozenset[str], show: frozenset[str]
) -> Iterator[tuple[onnx.ModelProto, tuple[str, ...], tuple[str, ...], frozenset[str], tuple[str, ...]]]:
    """Each piece with its inputs, outputs, shown values, and the values nobody needs after it."""
    groups: list[list[onnx.NodeProto]] = [[]]
    for node in source.graph.node:
        groups[-1].append(node)
        if node_id(node) in cuts:
            groups.append([])
    groups = [group for group in groups if group]
    last = {name: k for k, group in enumerate(groups) for node in group for name in node.input}
    last |= {output.name: len(groups) for output in source.graph.output}
    shown = show | {node.output[0] for node in source.graph.node if node_id(node) in cuts}
    constants = {tensor.name for tensor in source.graph.initializer}
    alive: set[str] = {value.name for value in source.graph.input} - constants
    for k, group in enumerate(groups):
        made = [name for node in group for name in node.output if name]
        read = {name for node in group for name in node.input if name}
        inputs = tuple(sorted((read & alive) - set(made)))
        outputs = tuple(name for name in made if last.get(name, -1) > k or name in shown)
        dead = tuple(name for name in (*alive, *outputs) if last.get(name, -1) <= k)
        alive = (alive | set(outputs)) - set(dead)
        yield _piece(source, group, inputs, outputs), inputs, outputs, shown & set(outputs), dead


def _piece(
    source: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], inputs: Sequence[str], outputs: Sequence[str]
) -> onnx.ModelProto:
    import onnx

    types = {value.name: value for value in (*source.graph.input, *source.graph.value_info, *source.graph.output)}
    missing = next((name for name in (*inputs, *outputs) if name not in types), None)
    if missing is not None:
        msg = f"the type of tensor {missing!r} is not known, so the graph cannot be cut there"
        raise JudgeError(msg)
    read = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes,
        "piece",
        [types[name] for name in inputs],
        [types[name] for name in outputs],
        [tensor for tensor in source.graph.initializer if tensor.name in read],
    )
    return onnx.helper.make_model(graph, opset_imports=source.opset_import, ir_version=source.ir_version)
