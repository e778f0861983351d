"""An INT8 graph walked layer by layer for all pictures at once.

Where ``Segments`` takes one picture through all pieces, this takes all pictures through one piece, then through the
next: what is decided at a layer from all pictures holds before any later layer is looked at, and still each operator
runs once a picture. The price is memory: the values that later pieces need, of all pictures, are kept. They are
integers of one byte for the most part, and each is dropped after its last reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.graph.engine import open_engine, run_engine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.types import Feeds

__all__ = ["Frontier", "FrontierPiece"]


@dataclass(frozen=True, eq=False)
class FrontierPiece:
    """What lies between two stops.

    Attributes:
        stop: The tensor it ends with.
        codes: The tensors that quantize ``stop``: name, scale, zero point and type are those of the layer's grid.
        model: As an ONNX file.
        inputs: What it reads from before.
        outputs: ``stop``, then what else later pieces read.
        dead: What no later piece reads.
    """

    stop: str
    codes: tuple[str, ...]
    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dead: tuple[str, ...]


class Frontier:
    """The pieces of a graph, and the values at the border that has been reached.

    Attributes:
        pieces: In order, one a stop.
        bytes_per_picture: Most memory that the values of one picture take at any border.
    """

    def __init__(self, model: bytes, stops: Sequence[str]) -> None:
        """Cuts the graph.

        Args:
            model: As ``quantize_graph`` writes it.
            stops: Float tensors in the graph's order.
        """
        import onnx

        source = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model), data_prop=True)
        self._source = source
        self._constants = {tensor.name: tensor for tensor in source.graph.initializer}
        self._quantizers: dict[str, list[str]] = {}
        for node in source.graph.node:
            if node.op_type == "QuantizeLinear":
                self._quantizers.setdefault(node.input[0], []).append(node.output[0])
        self._types = {
            value.name: value for value in (*source.graph.value_info, *source.graph.output, *source.graph.input)
        }
        self.bytes_per_picture = 0
        self.pieces = tuple(self._cut(stops))
        self._values: list[dict[str, NDArray[Any]]] = []

    def begin(self, pictures: Iterable[Feeds]) -> None:
        """Takes in the pictures, all of which are kept until their last reader has run."""
        self._values = [dict(picture) for picture in pictures]

    @property
    def pictures(self) -> int:
        """How many."""
        return len(self._values)

    def run(self, piece: FrontierPiece, threads: int, engine: Mapping[str, Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Runs one piece for all pictures and keeps what later pieces need, ``stop`` aside.

        Args:
            piece: The next of ``pieces``; may be run again until ``leave`` is called.
            threads: For the engine.
            engine: ``Variant.engine`` of the file.

        Yields:
            Number of the picture, and its ``stop``.

        Raises:
            JudgeError: The engine refuses the piece, or fails.
        """
        session = open_engine(piece.model, engine, threads=threads, what="a piece of the model")
        for number, values in enumerate(self._values):
            answers = run_engine(session, piece.outputs, {name: values[name] for name in piece.inputs})
            stop, *others = piece.outputs
            values.update({name: answers[name] for name in others})
            yield number, answers[stop]

    def put(self, number: int, values: Mapping[str, NDArray[Any]]) -> None:
        """Sets values of a picture that later pieces read; others may be given and are dropped by ``leave``."""
        self._values[number].update(values)

    def leave(self, piece: FrontierPiece) -> None:
        """Drops what no later piece reads."""
        for values in self._values:
            for name in piece.dead:
                values.pop(name, None)

    def _cut(self, stops: Sequence[str]) -> Iterator[FrontierPiece]:
        groups = self._groups(stops)
        reads = [{name for node in group for name in node.input if name} - set(self._constants) for group in groups]
        last = {name: k for k, names in enumerate(reads) for name in names}
        alive = {value.name for value in self._source.graph.input}
        for k, (stop, group) in enumerate(zip(stops, groups, strict=True)):
            made = {name for node in group for name in node.output}
            kept = sorted(
                name
                for node in group
                if not _free(node)
                for name in node.output
                if name != stop and last.get(name, -1) > k
            )
            inputs = sorted(reads[k] - made)
            codes = tuple(self._quantizers.get(stop, ()))
            alive |= {stop, *codes, *kept}
            dead = tuple(name for name in alive if last.get(name, -1) <= k)
            self.bytes_per_picture = max(self.bytes_per_picture, sum(self._size(name) for name in alive - {stop}))
            alive -= set(dead)
            outputs = (stop, *kept)
            yield FrontierPiece(stop, codes, self._piece(group, inputs, outputs), tuple(inputs), outputs, dead)

    def _groups(self, stops: Sequence[str]) -> list[list[onnx.NodeProto]]:
        """The nodes that each stop needs and no earlier one did; nodes that cost nothing may be in several."""
        nodes = list(self._source.graph.node)
        producers = {name: position for position, node in enumerate(nodes) for name in node.output}
        known: set[str] = set()
        groups = []
        for stop in stops:
            taken: set[int] = set()
            waiting = [stop]
            while waiting:
                position = producers.get(waiting.pop())
                if position is None or position in taken:
                    continue
                taken.add(position)
                waiting += [name for name in nodes[position].input if name not in known]
            group = [nodes[position] for position in sorted(taken)]
            known |= {name for node in group if not _free(node) for name in node.output}
            known |= {stop, *self._quantizers.get(stop, ())}
            groups.append(group)
        return groups

    def _size(self, name: str) -> int:
        """Bytes of a value, 0 where its type is not known."""
        import onnx

        if name not in self._types:
            return 0
        kind = self._types[name].type.tensor_type
        width: int = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        return width * prod(int(dim.dim_value) for dim in kind.shape.dim)

    def _piece(self, nodes: Sequence[onnx.NodeProto], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
        import onnx

        missing = next((name for name in (*inputs, *outputs) if name not in self._types), None)
        if missing is not None:
            msg = f"the type of tensor {missing!r} is not known, so the graph cannot be cut there"
            raise JudgeError(msg)
        read = {name for node in nodes for name in node.input}
        made = onnx.helper.make_graph(
            nodes,
            "piece",
            [self._types[name] for name in inputs],
            [self._types[name] for name in outputs],
            [tensor for name, tensor in self._constants.items() if name in read],
        )
        model = onnx.helper.make_model(
            made, opset_imports=self._source.opset_import, ir_version=self._source.ir_version
        )
        data: bytes = model.SerializeToString()
        return data


def _free(node: onnx.NodeProto) -> bool:
    """Whether a node is run again rather than its output kept: that is four times the size of its input."""
    return str(node.op_type) == "DequantizeLinear"
