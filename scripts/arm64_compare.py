"""Two sides against each other: outputs, detections, events. Pure functions over what ``arm64_child`` and SQLite gave."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "Operators",
    "OutputGap",
    "answers_alike",
    "event_key",
    "events_differ",
    "gaps",
    "operator_rows",
    "output_steps",
]

SAME_BOX = 0.5
# Rows of events that tell of the run and not of what was seen hold times, which differ.
TIMED_KINDS = frozenset({"run_summary", "health"})
_TFLITE_WRAPPERS = ("DEQUANTIZE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE")
_ONNX_WRAPPERS = ("Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten")


@dataclass(frozen=True)
class OutputGap:
    """One output of one variant, one side against the other.

    Attributes:
        variant: Its name.
        output: Its name.
        frames: Pictures compared.
        values: Numbers compared.
        largest: Largest absolute difference; infinite where a shape or a finite value differs.
        equal: Fraction that is bit-equal.
        largest_steps: The same in steps of the output's integers, None where the steps are not known.
        beyond_one: Fraction that differs by more than one step, None where the steps are not known.
        within: Fraction within the bundle's own tolerance.
    """

    variant: str
    output: str
    frames: int
    values: int
    largest: float
    equal: float
    largest_steps: float | None
    beyond_one: float | None
    within: float


def gaps(
    here: Mapping[str, NDArray[Any]],
    there: Mapping[str, NDArray[Any]],
    tolerances: Mapping[str, float],
    steps: Mapping[str, NDArray[np.float64]],
) -> list[OutputGap]:
    """Every output that ``tolerances`` names as ``VARIANT/OUTPUT`` and both sides have.

    Args:
        here: ``VARIANT/OUTPUT/FRAME`` to raw output.
        there: The same of the other side.
        tolerances: The bundle's own.
        steps: Size of an integer step by ``VARIANT/OUTPUT``, broadcast against the output.
    """
    rows = []
    for name, tolerance in tolerances.items():
        keys = sorted(key for key in here if key.rpartition("/")[0] == name and "@" not in key)
        if not keys:
            continue
        variant, _, output = name.partition("/")
        gap = np.stack([_difference(here[key], there.get(key)) for key in keys])
        step = steps.get(name)
        in_steps = None if step is None else np.rint(gap / step)
        rows.append(
            OutputGap(
                variant,
                output,
                len(keys),
                int(gap.size),
                float(gap.max()),
                float((gap == 0).mean()),
                None if in_steps is None else float(in_steps.max()),
                None if in_steps is None else float((in_steps > 1).mean()),
                float((gap <= tolerance).mean()),
            )
        )
    return rows


def _difference(first: NDArray[Any], second: NDArray[Any] | None) -> NDArray[np.float64]:
    if second is None or first.shape != second.shape:
        return np.full(first.shape, np.inf)
    with np.errstate(invalid="ignore"):  # two infinities
        gap: NDArray[np.float64] = np.abs(first.astype(np.float64) - second.astype(np.float64))
    gap[first == second] = 0.0
    return np.where(np.isnan(gap), np.inf, gap)


def answers_alike(
    here: Mapping[str, NDArray[Any]], there: Mapping[str, NDArray[Any]], variant: str
) -> tuple[int, int, int]:
    """Detections with a partner of the same class at IoU 0.5 or more, those of the side that has more, and frames."""
    alike = found = 0
    frames = sorted(key.rpartition("/")[2] for key in here if key.startswith(f"{variant}@boxes/"))
    for frame in frames:
        sides = [(side[f"{variant}@boxes/{frame}"], side[f"{variant}@classes/{frame}"]) for side in (here, there)]
        alike += _matched(*sides)
        found += max(len(sides[0][1]), len(sides[1][1]))
    return alike, found, len(frames)


def _matched(first: tuple[NDArray[Any], NDArray[Any]], second: tuple[NDArray[Any], NDArray[Any]]) -> int:
    left = list(range(len(second[1])))
    count = 0
    for box, kind in zip(*first, strict=True):
        best = max((k for k in left if second[1][k] == kind), key=lambda k: _iou(box, second[0][k]), default=None)
        if best is not None and _iou(box, second[0][best]) >= SAME_BOX:
            left.remove(best)
            count += 1
    return count


def _iou(first: NDArray[Any], second: NDArray[Any]) -> float:
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    both = sum(float(np.prod(box[2:] - box[:2])) for box in (first, second)) - shared
    return shared / both if both > 0 else 0.0


def event_key(payload: Mapping[str, Any]) -> str:
    """What an event says, without when it was said and by which file of the bundle."""
    kind = payload["kind"]
    rest: dict[str, Any] = {} if kind in TIMED_KINDS else {"frame": payload["frame_index"], "data": payload["data"]}
    return json.dumps({"kind": kind, **rest}, sort_keys=True)


def events_differ(here: Iterable[Mapping[str, Any]], there: Iterable[Mapping[str, Any]]) -> tuple[Counter[str], int]:
    """Kinds with their surplus on either side, and how many events say something else.

    Returns:
        Kind to the absolute difference of their counts, and the number of events of ``there`` without a twin.
    """
    ours, theirs = list(here), list(there)
    kinds = Counter(row["kind"] for row in ours)
    kinds.subtract(Counter(row["kind"] for row in theirs))
    surplus = Counter({kind: abs(count) for kind, count in kinds.items() if count})
    twins = Counter(map(event_key, theirs)) - Counter(map(event_key, ours))
    return surplus, twins.total()


@dataclass(frozen=True)
class Operators:
    """Operators of one kind, each given the inputs it had on the workstation.

    Attributes:
        kind: Such as ``QLinearConv``.
        count: How many.
        values: Numbers compared.
        differing: Numbers that are not equal.
        largest: Largest difference, in steps.
    """

    kind: str
    count: int
    values: int
    differing: int
    largest: int


def operator_rows(rows: Sequence[Mapping[str, Any]]) -> list[Operators]:
    """The rows of ``arm64_child operators``, by kind."""
    kinds = sorted({row["kind"] for row in rows})
    return [
        Operators(
            kind,
            len(same),
            sum(row["values"] for row in same),
            sum(row["differing"] for row in same),
            max(row["largest"] for row in same),
        )
        for kind in kinds
        for same in [[row for row in rows if row["kind"] == kind]]
    ]


def output_steps(model: bytes, form: str) -> dict[str, NDArray[np.float64]]:
    """How much one integer step is worth in every number of an INT8 file's outputs.

    Follows each output back through joining and reshaping to the operators that make floats of integers.

    Args:
        model: The file.
        form: ``onnx`` or ``tflite``.

    Returns:
        Output name to an array that broadcasts against it; outputs that are made otherwise are left out.
    """
    return _onnx_steps(model) if form == "onnx" else _tflite_steps(model)


def _onnx_steps(data: bytes) -> dict[str, NDArray[np.float64]]:
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
    graph = model.graph
    shapes = {
        item.name: tuple(axis.dim_value for axis in item.type.tensor_type.shape.dim)
        for item in [*graph.value_info, *graph.output]
    }
    scales = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}

    def steps(name: str) -> NDArray[np.float64] | None:
        maker, shape = makers.get(name), shapes.get(name, ())
        if maker is None or not all(shape):
            return None
        if maker.op_type == "DequantizeLinear":
            scale = scales.get(maker.input[1])
            return None if scale is None or scale.size != 1 else np.full(shape, float(scale.item()))
        if maker.op_type == "Concat":
            return _joined([steps(item) for item in maker.input], maker.attribute[0].i)
        before = steps(maker.input[0]) if maker.op_type in _ONNX_WRAPPERS else None
        return _reshaped(before, shape)

    found = {item.name: steps(item.name) for item in graph.output}
    return {name: value for name, value in found.items() if value is not None}


def _joined(parts: list[NDArray[np.float64] | None], axis: int) -> NDArray[np.float64] | None:
    whole = [part for part in parts if part is not None]
    return np.concatenate(whole, axis) if len(whole) == len(parts) else None


def _reshaped(before: NDArray[np.float64] | None, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """The steps after numbers have moved, which is known where all are the same."""
    if before is None or before.shape == shape:
        return before
    return np.full(shape, before.flat[0]) if len(np.unique(before)) == 1 else None


def _tflite_steps(model: bytes) -> dict[str, NDArray[np.float64]]:
    from edgewright.optimize.tflite.flatbuffer import load_schema

    schema = load_schema()
    file = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = file.subgraphs[0]
    codes = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in file.operatorCodes]
    makers = {int(index): op for op in graph.operators for index in op.outputs}

    def steps(index: int) -> NDArray[np.float64] | None:
        tensor = graph.tensors[index]
        scale = None if tensor.quantization is None else tensor.quantization.scale
        if scale is not None and len(scale) == 1:
            return np.full(tuple(tensor.shape), float(scale[0]))
        maker = makers.get(index)
        if maker is None:
            return None
        kind = codes[kinds[maker.opcodeIndex]]
        if kind == "CONCATENATION":
            return _joined([steps(int(item)) for item in maker.inputs], maker.builtinOptions.axis)
        before = steps(int(maker.inputs[0])) if kind in _TFLITE_WRAPPERS else None
        return _reshaped(before, tuple(int(size) for size in tensor.shape))

    names = {int(row.tensorIndex): row.name.decode() for item in file.signatureDefs or () for row in item.outputs or ()}
    found = {names.get(int(i), graph.tensors[i].name.decode()): steps(int(i)) for i in graph.outputs}
    return {name: value for name, value in found.items() if value is not None}
