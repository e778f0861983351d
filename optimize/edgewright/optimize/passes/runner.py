"""Runs passes in order and proves after each that the model still computes the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import ModelError, PassError
from edgewright.runtime.backends.ort import import_onnxruntime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.passes.base import Pass, PassResult

__all__ = ["TOLERANCE", "PassRun", "largest_difference", "run_onnx", "run_passes"]

TOLERANCE = 1e-4
"""Largest difference that counts as the same, as a share of the output's own size (at least 1)."""

_LONGEST_REASON = 500  # characters of another library's message that are passed on


@dataclass(frozen=True, eq=False)
class PassRun:
    """A sequence of passes that held.

    Attributes:
        model: The last model.
        notes: ``pass name: what it did`` for each that did something.
        max_difference: Largest difference between the outputs of the first and the last model, relative as in
            ``TOLERANCE``.
    """

    model: onnx.ModelProto
    notes: tuple[str, ...]
    max_difference: float


def run_passes(
    model: onnx.ModelProto,
    passes: Sequence[Pass],
    feeds: Sequence[Mapping[str, NDArray[Any]]],
    tolerance: float = TOLERANCE,
) -> PassRun:
    """Applies ``passes`` in order.

    Args:
        model: Not changed.
        passes: In the order to run.
        feeds: Inputs to compare on, input name to tensor; at least one.
        tolerance: See ``TOLERANCE``.

    Raises:
        PassError: A pass broke a promise of ``edgewright.optimize.passes.base``; it names the pass and those before.
        ValueError: ``feeds`` is empty, so nothing could be proved.
    """
    if not feeds:
        msg = "run_passes needs at least one input to compare on"
        raise ValueError(msg)
    first = reference = run_onnx(model.SerializeToString(), feeds)
    done: list[str] = []
    notes: list[str] = []
    for step in passes:
        result = _apply(step, model, done)
        done.append(step.name)
        if not result.changed:
            continue
        outputs = _checked_outputs(step.name, done, model, result.model, feeds)
        difference = largest_difference(reference, outputs)
        if not difference <= tolerance:  # a NaN fails too
            msg = (
                f"pass {step.name!r} changed what the model computes by {difference:.3g} (limit {tolerance:g}); "
                f"passes so far: {', '.join(done)}. Keep the model and report this"
            )
            raise PassError(msg)
        model, reference = result.model, outputs
        notes += [f"{step.name}: {note}" for note in result.notes]
    return PassRun(model, tuple(notes), largest_difference(first, reference))


def _apply(step: Pass, model: onnx.ModelProto, done: Sequence[str]) -> PassResult:
    copy = type(model)()
    copy.CopyFrom(model)
    try:
        result = step.run(copy)
    except Exception as error:
        # Passes call other projects' rewriters, which raise whatever they please on graphs they did not foresee.
        msg = f"pass {step.name!r} failed on this model: {error}; passes before it: {', '.join(done) or 'none'}"
        raise PassError(msg) from error
    same = result.model.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)
    if result.changed == same:
        claim = "says it changed the model and did not" if result.changed else "changed the model and says it did not"
        msg = f"pass {step.name!r} {claim}; this is a defect of the pass"
        raise PassError(msg)
    return result


def _checked_outputs(
    name: str,
    done: Sequence[str],
    before: onnx.ModelProto,
    after: onnx.ModelProto,
    feeds: Sequence[Mapping[str, NDArray[Any]]],
) -> list[list[NDArray[Any]]]:
    import onnx

    if _border(before.graph) != _border(after.graph):
        msg = f"pass {name!r} changed the graph's inputs or outputs; passes so far: {', '.join(done)}"
        raise PassError(msg)
    try:
        onnx.checker.check_model(after)
    except onnx.checker.ValidationError as error:
        msg = f"pass {name!r} left a graph that is not valid ONNX: {error}"
        raise PassError(msg) from error
    return run_onnx(after.SerializeToString(), feeds, PassError, f"pass {name!r} left a graph the engine refuses")


def _border(graph: onnx.GraphProto) -> list[tuple[str, bytes]]:
    values = (*graph.input, *graph.output)
    return [(value.name, value.type.SerializeToString(deterministic=True)) for value in values]


def run_onnx(
    model: bytes,
    feeds: Sequence[Mapping[str, NDArray[Any]]],
    error_type: type[ModelError] = PassError,
    blame: str = "the engine refuses the model",
) -> list[list[NDArray[Any]]]:
    """Runs ``model`` once for each of ``feeds`` by ONNX Runtime on one thread.

    Returns:
        For each feed the outputs in the graph's order.

    Raises:
        ModelError: The engine cannot load or run it; of type ``error_type``, beginning with ``blame``.
    """
    ort = import_onnxruntime()

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return [list(session.run(None, dict(feed))) for feed in feeds]
    except Exception as error:
        # ONNX Runtime's errors share no public base class below Exception.
        msg = f"{blame}: {' '.join(str(error).split())[:_LONGEST_REASON]}"
        raise error_type(msg) from error


def largest_difference(a: Sequence[Sequence[NDArray[Any]]], b: Sequence[Sequence[NDArray[Any]]]) -> float:
    """Largest absolute difference, each output measured by its own largest value (at least 1).

    Returns:
        0 for equal outputs, infinity where shapes differ, NaN where exactly one side holds NaNs.
    """
    worst = 0.0
    for left, right in zip(a, b, strict=True):
        for x, y in zip(left, right, strict=True):
            if x.shape != y.shape:
                return float("inf")
            if not x.size:
                continue
            size = max(1.0, float(np.abs(x).max()))
            worst = float(np.maximum(worst, np.abs(x.astype(np.float64) - y.astype(np.float64)).max() / size))
    return worst
