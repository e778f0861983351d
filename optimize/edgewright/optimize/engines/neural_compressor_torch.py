"""neural-compressor's torch flow as a source of candidates: export, prepare, calibrate, tune, convert.

The ONNX that its own export gives was measured slower than float, so only what it found out is kept: the scale and zero
point of every activation, and which operators it left in float. Both are carried over to our prepared graph, tensor by
tensor and operator by operator, and written by our own QDQ writer, whose files are fast.

Example:
    >>> scales = torch_scales(source, prepared.model, feeds, own_ranges)     # doctest: +SKIP
    >>> quantize_graph(prepared.model, scales.ranges, scales.keep_float)     # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from edgewright.optimize.engines.matching import match_graphs
from edgewright.optimize.engines.torch_graph import read_converted
from edgewright.optimize.engines.torch_tuning import (
    Task,
    TorchCandidate,
    TorchGoal,
    TorchTrial,
    load_flow,
    torch_threads,
    tune_torch,
)
from edgewright.optimize.errors import JudgeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.optimize.engines.matching import Matched
    from edgewright.optimize.spec import SourceModel
    from edgewright.optimize.types import FeedSource, Ranges

__all__ = [
    "DEFAULT_CANDIDATES",
    "NeuralCompressorScales",
    "TorchCandidate",
    "TorchGoal",
    "TorchTrial",
    "torch_scales",
]

DEFAULT_CANDIDATES = (TorchCandidate("minmax"), TorchCandidate("kl"))
_COMPARED = 3  # pictures by which tensors are recognised
_SCORED = 8


@dataclass(frozen=True, eq=False)
class NeuralCompressorScales:
    """What is to be quantized how.

    Attributes:
        ranges: Of every float tensor of the prepared graph: neural-compressor's where it set one, ours elsewhere.
        keep_float: Names of the nodes it left in float.
        notes: How it was had, in words.
        carried: Tensors whose range is neural-compressor's.
        trials: What was tried, in order.
        best: The candidate all of this comes from.
    """

    ranges: Ranges
    keep_float: frozenset[str]
    notes: tuple[str, ...]
    carried: frozenset[str]
    trials: tuple[TorchTrial, ...]
    best: TorchCandidate


def torch_scales(
    source: SourceModel,
    model: bytes,
    feeds: FeedSource,
    own: Ranges,
    *,
    candidates: Sequence[TorchCandidate] = DEFAULT_CANDIDATES,
    goal: TorchGoal | None = None,
    threads: int = 1,
) -> NeuralCompressorScales:
    """Runs the flow on a torch network and carries what it found to the network's ONNX graph.

    Args:
        source: The network, as its factory gave it; it is not changed.
        model: Its prepared float ONNX graph.
        feeds: Pictures to calibrate on; the first ones also serve to compare.
        own: Our ranges of every float tensor, for those that neural-compressor leaves without.
        candidates: Configurations that its tuner tries in turn.
        goal: When to stop; None tries all of them and takes the best.
        threads: For PyTorch and the engine.

    Raises:
        MissingExtraError: neural-compressor, torch or torchao is not installed.
        ModelError: The network cannot be exported or quantized this way, or its parts are not found in ``model``.
        SpecError: A candidate names a module that the network does not have.
        JudgeError: Nothing was quantized, or there were no pictures.
    """
    flow = load_flow()
    few = list(islice(feeds(), _SCORED))
    if not few or not candidates:
        msg = "neural-compressor's torch flow needs at least one calibration picture and one candidate"
        raise JudgeError(msg)
    with torch_threads(threads):
        network, trials = tune_torch(flow, Task(source, feeds, few, candidates, goal or TorchGoal()))
        compared = few[:_COMPARED]
        reading = read_converted(network, compared, source.input_name)
    matched = match_graphs(reading, model, compared, threads)
    best = max(trials, key=lambda trial: trial.score)  # the first of equals, as the tuner chooses
    return NeuralCompressorScales(
        ranges=_merged(model, matched, own),
        keep_float=matched.keep_float,
        notes=(_tried(flow.version, trials, best), *_left(matched, own)),
        carried=frozenset(matched.ranges),
        trials=tuple(trials),
        best=best.candidate,
    )


def _merged(model: bytes, matched: Matched, own: Ranges) -> dict[str, tuple[float, float]]:
    """Our ranges with theirs on top; a graph output is never clipped, whoever set its range."""
    import onnx

    outputs = {output.name for output in onnx.load_model_from_string(model).graph.output}
    ranges = dict(own)
    for name, (low, high) in matched.ranges.items():
        least, most = own.get(name, (low, high)) if name in outputs else (low, high)
        ranges[name] = (min(low, least), max(high, most))
    return ranges


def _tried(version: str, trials: Sequence[TorchTrial], best: TorchTrial) -> str:
    scores = "; ".join(f"{trial.candidate}: {trial.score:.5f}" for trial in trials)
    return f"{version}, torch flow, {len(trials)} candidates ({scores}); taken: {best.candidate}"


def _left(matched: Matched, own: Ranges) -> list[str]:
    total = len({*own, *matched.ranges})
    notes = [
        (
            f"{len(matched.ranges)} of {total} tensors have neural-compressor's range, the others ours: its recipe sets "
            "none inside operators that it fuses"
        )
    ]
    if matched.keep_float:
        names = ", ".join(sorted(matched.keep_float))
        notes.append(f"{len(matched.keep_float)} operators stay float as it left them: {names}")
    return notes
