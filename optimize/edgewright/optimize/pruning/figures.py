"""The exported files after a step: what they cost, what they take, and whether the step made them smaller at all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Format
from edgewright.optimize.graph.cost import GraphCost, cost_of
from edgewright.optimize.passes.prepare import prepare_graph
from edgewright.optimize.pruning.timing import PairTimes, time_pair
from edgewright.optimize.sources.torch_export import compare_with_torch, export_torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.optimize.spec import SourceModel

__all__ = ["StepFigures", "check_smaller", "export_float", "step_figures", "tflite_of"]


@dataclass(frozen=True)
class StepFigures:
    """One row of the path from the network that came to the one that ships.

    Attributes:
        title: What was done.
        cost: Of the float ONNX file.
        tflite_bytes: Of the float TFLite file, None where none was written.
        times: Format to what it took against the file that came, empty where nothing was timed.
        accuracy: Filled in by whoever judges, None before.
        failures: Why the step has failed, in words; empty when it has not.
    """

    title: str
    cost: GraphCost
    tflite_bytes: int | None = None
    times: Mapping[str, PairTimes] = field(default_factory=dict)
    accuracy: float | None = None
    failures: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "title": self.title,
            **self.cost.to_json(),
            "tflite_bytes": self.tflite_bytes,
            "times": {name: times.to_json() for name, times in self.times.items()},
            "accuracy": self.accuracy,
            "failures": list(self.failures),
        }


def export_float(source: SourceModel, seed: int = 1) -> bytes:
    """The prepared float ONNX file of a module, proved against it on noise.

    Raises:
        ModelError: It cannot be exported, or computes something else.
        SpecError: The spec does not fit the module.
    """
    from edgewright.optimize.pruning.tracing import probe_input

    where = source.spec.name
    feeds = [{source.input_name: probe_input(source, seed).numpy()}]
    model = export_torch(source, where).SerializeToString()
    compare_with_torch(model, source, feeds, where)
    return prepare_graph(model, feeds).model


def tflite_of(model: bytes) -> bytes:
    """The float TFLite file of a prepared float graph.

    Raises:
        ConversionError: An operator cannot be written.
        MissingExtraError: The TFLite package is not installed.
    """
    from edgewright.optimize.tflite.form import TfliteForm
    from edgewright.optimize.tflite.write import write_tflite

    return write_tflite(model, form=TfliteForm.FLOAT32).model


def step_figures(
    title: str, before: bytes, after: bytes, *, tflite: tuple[bytes, bytes] | None = None, threads: int = 1
) -> tuple[StepFigures, StepFigures]:
    """Figures of the file that came and of the one a step made, timed taking turns; the second says what has failed.

    Args:
        title: What was done.
        before: Prepared float ONNX file that came.
        after: That of the step.
        tflite: The same two as TFLite.
        threads: For the engines.

    Raises:
        ModelError: A file cannot be read.
        JudgeError: An engine refuses one.
    """
    times = {Format.ONNX.value: time_pair(before, after, Format.ONNX, threads=threads)}
    sizes: tuple[int | None, int | None] = (None, None)
    if tflite is not None:
        times[Format.TFLITE.value] = time_pair(*tflite, Format.TFLITE, threads=threads)
        sizes = (len(tflite[0]), len(tflite[1]))
    first = StepFigures("as it came", cost_of(before), sizes[0])
    second = StepFigures(title, cost_of(after), sizes[1], times)
    return first, replace(second, failures=check_smaller(first, second))


def check_smaller(before: StepFigures, after: StepFigures) -> tuple[str, ...]:
    """What did not fall, in words; nothing when the step did what pruning is for.

    Args:
        before: Figures of the file that came.
        after: Those of a step, with its times against that file.
    """
    failures = []
    counted = [
        ("parameters", before.cost.parameters, after.cost.parameters),
        ("MACs", before.cost.macs, after.cost.macs),
        ("bytes of the ONNX file", before.cost.bytes, after.cost.bytes),
    ]
    if before.tflite_bytes is not None and after.tflite_bytes is not None:
        counted.append(("bytes of the TFLite file", before.tflite_bytes, after.tflite_bytes))
    for what, first, second in counted:
        if second >= first:
            failures.append(f"{after.title}: {what} did not fall ({first:,} before, {second:,} after)")
    for name, times in after.times.items():
        if times.ratio.low > 1.0:
            continue
        said = "did not fall" if times.ratio.value <= 1.0 else "was not shown to fall"
        failures.append(
            f"{after.title}: latency of the {name} file {said} ({times.before_ms:.3g} ms before, {times.after_ms:.3g} ms "
            f"after, {times.ratio.low:.2f} to {times.ratio.high:.2f} times as fast)"
        )
    return tuple(failures)
