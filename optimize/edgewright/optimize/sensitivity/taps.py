"""The same tensors out of a float graph and an INT8 graph, and out of each integer layer alone.

Integer tensors are read behind their QuantizeLinear, as integers, and put on their grid here: exact, and without
taking any integer kernel apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.graph.engine import open_engine, run_engine
from edgewright.optimize.graph.segments import node_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.types import Feeds

__all__ = ["Seen", "Tap", "TappedPair"]

_AT_ONCE = 64_000_000  # numbers of float taps held at one time, 256 MB
_FLOAT_INPUT = "/edgewright.float"


@dataclass(frozen=True)
class Tap:
    """A tensor to look at.

    Attributes:
        tensor: Its name in the float graph.
        node: Maker in the INT8 graph; empty for a graph input.
        op_type: Of the maker.
        codes: Name of its integers in the INT8 graph; None where it is float there, too.
        scale: Step of the grid.
        zero_point: Code of 0.0.
        dtype: Of the codes.
    """

    tensor: str
    node: str
    op_type: str
    codes: str | None = None
    scale: float = 1.0
    zero_point: int = 0
    dtype: str = "uint8"

    def decode(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Codes to numbers; float stays as it is."""
        if self.codes is None:
            return values
        reals = (values.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)
        return np.asarray(reals, np.float32)

    def encode(self, values: NDArray[Any]) -> NDArray[Any]:
        """Numbers to codes, as QuantizeLinear rounds them."""
        limits = np.iinfo(self.dtype)
        codes = np.rint(values / np.float32(self.scale)) + self.zero_point
        return np.asarray(np.clip(codes, limits.min, limits.max), self.dtype)


@dataclass(frozen=True, eq=False)
class Seen:
    """One tensor on one picture: in float, in the INT8 network, and out of its layer alone (None: not measured)."""

    tap: Tap
    float_: NDArray[Any]
    int8: NDArray[Any]
    own: NDArray[Any] | None


@dataclass(frozen=True, eq=False)
class _Chunk:
    taps: tuple[Tap, ...]
    sources: tuple[Tap, ...]
    float_: Any
    int8: Any
    local: Any | None


class TappedPair:
    """Float and INT8 form of one network, run side by side."""

    def __init__(self, float_model: bytes, int8: QuantizedGraph, *, own: bool = True) -> None:
        """Finds the tensors that both have, and loads the graphs with taps.

        Args:
            float_model: The prepared float graph.
            int8: Its INT8 form.
            own: Load every integer layer alone as well.

        Raises:
            JudgeError: The two have no tensor in common, or the engine refuses a graph.
        """
        import onnx

        source = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(float_model), data_prop=True)
        written = onnx.load_model_from_string(int8.model)
        self.taps = tuple(_taps(source, written))
        if not self.taps:
            msg = "the INT8 graph shares no tensor name with the float graph; is it made from that graph?"
            raise JudgeError(msg)
        self._plain = (int8.model, dict(int8.engine))
        self._outputs = tuple(output.name for output in written.graph.output)
        sizes = _sizes(source)
        self._chunks = tuple(
            _chunk(source, written, self.taps, part, int8.engine, own=own) for part in _parts(self.taps, sizes)
        )

    def check(self, feeds: Feeds) -> None:
        """Proves that looking changes nothing: the tapped graph's outputs are those of the file, bit for bit.

        Raises:
            JudgeError: They are not.
        """
        expected = open_engine(*self._plain).run(list(self._outputs), dict(feeds))
        for chunk in self._chunks:
            for name, before, after in zip(
                self._outputs, expected, chunk.int8.run(list(self._outputs), dict(feeds)), strict=True
            ):
                if not np.array_equal(before, after, equal_nan=True):
                    msg = f"looking into the INT8 graph changed its output {name!r}; the engine fused it otherwise"
                    raise JudgeError(msg)

    def run(self, feeds: Feeds) -> Iterator[Seen]:
        """One picture through both; tensors in the graph's order, part by part."""
        for chunk in self._chunks:
            wanted = list(dict.fromkeys(tap.tensor for tap in (*chunk.taps, *chunk.sources)))
            floats = dict(zip(wanted, _take(chunk.float_, wanted, feeds), strict=True))
            names = [tap.codes or tap.tensor for tap in chunk.taps]
            answers = chunk.int8.run(names, dict(feeds))
            alone = _alone(chunk, floats)
            for tap, answer in zip(chunk.taps, answers, strict=True):
                single = alone.get(tap.tensor)
                yield Seen(tap, floats[tap.tensor], tap.decode(answer), None if single is None else tap.decode(single))


def _take(session: Any, wanted: Sequence[str], feeds: Feeds) -> list[NDArray[Any]]:
    """Tensors of the float graph; a graph input is among the feeds, not among the outputs."""
    outputs = [name for name in wanted if name not in feeds]
    answers = run_engine(session, outputs, feeds) if outputs else {}
    return [feeds[name] if name in feeds else answers[name] for name in wanted]


def _alone(chunk: _Chunk, floats: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    if chunk.local is None:
        return {}
    fed = {f"{tap.codes}{_FLOAT_INPUT}": tap.encode(floats[tap.tensor]) for tap in chunk.sources}
    wanted = {output.name for output in chunk.local.get_outputs()}
    taps = [tap for tap in chunk.taps if (tap.codes or tap.tensor) in wanted]
    answers = chunk.local.run([tap.codes or tap.tensor for tap in taps], fed)
    return {tap.tensor: answer for tap, answer in zip(taps, answers, strict=True)}


def _taps(source: onnx.ModelProto, written: onnx.ModelProto) -> Iterator[Tap]:
    from onnx import numpy_helper

    known = {name for node in source.graph.node for name in node.output} | {v.name for v in source.graph.input}
    constants = {tensor.name: tensor for tensor in written.graph.initializer}
    makers = {name: node for node in written.graph.node for name in node.output}
    found: set[str] = set()
    for node in written.graph.node:
        tensor = node.input[0] if node.op_type == "QuantizeLinear" else ""
        if tensor not in known or tensor in found or node.input[1] not in constants:
            continue
        found.add(tensor)
        zero = numpy_helper.to_array(constants[node.input[2]]) if len(node.input) > 2 else np.zeros((), np.uint8)
        scale = float(numpy_helper.to_array(constants[node.input[1]]).reshape(-1)[0])
        maker = makers.get(tensor)
        yield Tap(
            tensor,
            node_id(maker) if maker is not None else "",
            maker.op_type if maker is not None else "Input",
            node.output[0],
            scale,
            int(zero.reshape(-1)[0]),
            str(zero.dtype),
        )
    for output in written.graph.output:
        if output.name not in found and output.name in known:
            maker = makers[output.name]
            yield Tap(output.name, node_id(maker), maker.op_type)


def _sizes(source: onnx.ModelProto) -> dict[str, int]:
    return {
        value.name: math.prod(max(1, size.dim_value) for size in value.type.tensor_type.shape.dim)
        for value in (*source.graph.input, *source.graph.value_info, *source.graph.output)
    }


def _parts(taps: Sequence[Tap], sizes: Mapping[str, int]) -> Iterator[tuple[Tap, ...]]:
    part: list[Tap] = []
    held = 0
    for tap in taps:
        size = sizes.get(tap.tensor, 0)
        if part and held + size > _AT_ONCE:
            yield tuple(part)
            part, held = [], 0
        part.append(tap)
        held += size
    yield tuple(part)


def _chunk(
    source: onnx.ModelProto,
    written: onnx.ModelProto,
    taps: Sequence[Tap],
    part: tuple[Tap, ...],
    engine: Mapping[str, Any],
    *,
    own: bool,
) -> _Chunk:
    local, names = _isolated(written, taps, part) if own else (None, set())
    sources = tuple(tap for tap in taps if tap.codes in names)
    inputs = {value.name for value in source.graph.input}
    wanted = {tap.tensor for tap in (*part, *sources)} - inputs
    return _Chunk(
        part,
        sources,
        open_engine(_tapped(source, wanted), {}),
        open_engine(_tapped(written, {tap.codes or tap.tensor for tap in part}), engine),
        None if local is None else open_engine(local, engine),
    )


def _tapped(model: onnx.ModelProto, names: Collection[str]) -> bytes:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    have = {output.name for output in copy.graph.output}
    # Only the type matters; the engine knows the shapes.
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(set(names) - have))
    data: bytes = copy.SerializeToString()
    return data


def _isolated(written: onnx.ModelProto, taps: Sequence[Tap], part: Sequence[Tap]) -> tuple[bytes | None, set[str]]:
    """The operators that make ``part``, each reading float values put on its input's grid.

    Returns:
        The graph (None when there is nothing to isolate), and the names of the integer tensors that are its inputs.
    """
    import onnx

    dtypes = {tap.codes: onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tap.dtype)) for tap in taps if tap.codes}
    makers = {name: node for node in written.graph.node for name in node.output}
    raw = {value.name for value in written.graph.input}
    nodes: dict[str, onnx.NodeProto] = {}
    sources: set[str] = set()
    outputs = []
    for tap in part:
        needed, read = _fragment(makers, tap.codes or tap.tensor, dtypes, raw)
        if read and not read & raw:
            nodes |= {node.output[0]: node for node in needed}
            sources |= read
            outputs.append(tap.codes or tap.tensor)
    if not outputs:
        return None, set()
    copies = []
    for node in written.graph.node:
        if node.output[0] in nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            if copy.op_type == "DequantizeLinear" and copy.input[0] in sources:
                copy.input[0] += _FLOAT_INPUT
            copies.append(copy)
    read = {name for node in copies for name in node.input}
    graph = onnx.helper.make_graph(
        copies,
        "alone",
        [onnx.helper.make_tensor_value_info(f"{name}{_FLOAT_INPUT}", dtypes[name], None) for name in sorted(sources)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [tensor for tensor in written.graph.initializer if tensor.name in read],
    )
    model = onnx.helper.make_model(graph, opset_imports=written.opset_import, ir_version=written.ir_version)
    data: bytes = model.SerializeToString()
    return data, sources


def _fragment(
    makers: Mapping[str, onnx.NodeProto], target: str, grids: Collection[str | None], raw: Collection[str]
) -> tuple[list[onnx.NodeProto], set[str]]:
    """Nodes between ``target`` and the nearest integer tensors before it, and what they read."""
    needed: dict[str, onnx.NodeProto] = {}
    read: set[str] = set()
    waiting = [target]
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if name in raw or (name in grids and name != target):
            read.add(name)
        elif node is not None and node.output[0] not in needed:
            needed[node.output[0]] = node
            waiting.extend(node.input)
    return list(needed.values()), read
