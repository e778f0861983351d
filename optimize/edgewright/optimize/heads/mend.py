"""Parts boxes and scores that share a grid: every remedy that fits the structure is tried, the cheapest good one kept.

Remedies:

- ``separate``: what is joined is quantized apart; the joining operator and the data movement behind it stay in float.
- ``split``: a convolution that gives both becomes two (``SplitConvolution``, proved to change nothing), joined in float.
- ``part early``: what is joined only to be split again is never joined (``PartEarly``); what still shares a grid then is
  quantized apart as in ``separate``.
- ``tail``: everything behind the last weights stays in float (sigmoid, grid arithmetic, concats); with ``split`` where
  a convolution is mixed.
- ``head``: the mixed convolutions themselves stay in float.

Loss comes first: a remedy whose loss is within a twentieth of what the best one regains counts as as good. Among those
the smallest file wins (to one percent), then the fastest, or where nobody times them, the one that computes the fewest
float values.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import JudgeError, PassError
from edgewright.optimize.graph.segments import node_id
from edgewright.optimize.heads.channels import channel_ranges, last_weights
from edgewright.optimize.heads.find import SharedKind, SharedScale, find_shared_scales
from edgewright.optimize.heads.part_early import PartEarly
from edgewright.optimize.heads.split_convolution import SplitConvolution
from edgewright.optimize.passes.order import InferShapes
from edgewright.optimize.passes.runner import run_passes
from edgewright.optimize.sensitivity.structure import MOVEMENT, GraphView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.types import Feeds, Ranges

__all__ = ["MendResult", "mend_heads"]

_AS_GOOD = 0.05  # of the loss that the best remedy regains
_SAME_SIZE = 0.01


@dataclass(frozen=True, eq=False)
class MendResult:
    """What to quantize instead.

    Attributes:
        model: The float graph, changed by ``split`` only.
        ranges: Of its tensors, those of new ones included.
        keep_float: Nodes to keep in float, sorted.
        remedy: Its name; ``none`` where nothing was found or nothing helped.
        findings: What shares a grid.
        notes: For the report.
        rows: Every remedy tried, as JSON values.
    """

    model: bytes
    ranges: Ranges
    keep_float: tuple[str, ...] = ()
    remedy: str = "none"
    findings: tuple[SharedScale, ...] = ()
    notes: tuple[str, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class _Remedy:
    name: str
    model: bytes
    ranges: Ranges
    keep_float: frozenset[str] = frozenset()
    loss: float = 0.0
    bytes: int = 0
    work: int = 0
    ms: float | None = None
    problem: str = ""


def mend_heads(
    model: bytes,
    ranges: Ranges,
    quantize: Callable[[bytes, Ranges, frozenset[str]], QuantizedGraph],
    losses: Callable[[QuantizedGraph], NDArray[np.float64]],
    feeds: Sequence[Feeds],
    *,
    channels: Mapping[str, NDArray[Any]] | None = None,
    milliseconds: Callable[[QuantizedGraph], float] | None = None,
) -> MendResult:
    """Finds shared grids and parts them.

    Args:
        model: The prepared float graph.
        ranges: Calibrated ranges of its tensors.
        quantize: Makes a candidate of a graph, its ranges, and nodes to keep in float (``quantize_graph``).
        losses: (n,) losses of a candidate on the selection pictures; smaller is better.
        feeds: A few inputs on which a split graph is proved to compute the same; at least one.
        channels: See ``find_shared_scales``; best taken from all calibration pictures (``channel_ranges``). None takes
            them from ``feeds`` and widens them as far as the calibrated range of the whole tensor is wider.
        milliseconds: Times a candidate; None goes by the float values that it computes.

    Returns:
        The cheapest remedy among the good ones. Nothing is quantized or measured where nothing shares a grid.

    Raises:
        JudgeError: The plain candidate cannot be made or measured.
        PassError: Splitting changed the function; a defect of ours.
    """
    known = _few_channels(model, ranges, feeds) if channels is None else channels
    findings = find_shared_scales(model, ranges, known)
    if not findings:
        return MendResult(model, ranges)

    def measured(remedy: _Remedy) -> _Remedy:
        return _measured(remedy, quantize, losses, milliseconds)

    plain = measured(_Remedy("none", model, ranges))
    if plain.problem:
        raise JudgeError(plain.problem)
    tried = [plain, *(measured(one) for one in _remedies(model, ranges, findings, feeds))]
    best = _cheapest([one for one in tried if not one.problem], plain)
    return MendResult(
        model=best.model,
        ranges=best.ranges,
        keep_float=tuple(sorted(best.keep_float)),
        remedy=best.name,
        findings=findings,
        notes=_notes(findings, plain, best),
        rows=tuple(_row(one, kept=one is best) for one in tried),
    )


def _few_channels(model: bytes, ranges: Ranges, feeds: Sequence[Feeds]) -> dict[str, NDArray[np.float64]]:
    """Channel ranges of a few pictures, stretched to the calibrated range of their tensor."""
    seen = channel_ranges(model, last_weights(_view(model)), lambda: iter(feeds))
    stretched = {}
    for name, limits in seen.items():
        low, high = ranges.get(name, (0.0, 0.0))
        span = float(limits[:, 1].max() - limits[:, 0].min())
        stretched[name] = limits * max(1.0, (high - low) / span if span > 0 else 1.0)
    return stretched


def _remedies(model: bytes, ranges: Ranges, findings: Sequence[SharedScale], feeds: Sequence[Feeds]) -> list[_Remedy]:
    """All that fit, without doubles."""
    view = _view(model)
    mixed = [finding for finding in findings if finding.kind is SharedKind.MIXED]
    shared = [finding.node for finding in findings if finding.kind is not SharedKind.MIXED]
    found = []
    if shared:
        found.append(_Remedy("separate", model, ranges, _behind(view, shared)))
        found += _early(model, ranges, feeds)
    found.append(_Remedy("tail", model, ranges, view.tail))
    if mixed:
        nodes = [finding.node for finding in mixed]
        found.append(_Remedy("head", model, ranges, frozenset(view.grown(nodes, MOVEMENT)) | _behind(view, shared)))
        found += _split(model, ranges, mixed, shared, feeds)
    unique: dict[tuple[bytes, frozenset[str]], _Remedy] = {}
    for one in found:
        unique.setdefault((one.model, one.keep_float), one)
    return list(unique.values())


def _split(
    model: bytes, ranges: Ranges, mixed: Sequence[SharedScale], shared: Sequence[str], feeds: Sequence[Feeds]
) -> list[_Remedy]:
    import onnx

    view = _view(model)
    able = [finding for finding in mixed if view.by_id[finding.node].op_type == "Conv"]
    if not able:
        return []
    steps = [SplitConvolution(finding.node, finding.bounds) for finding in able]
    try:
        done = run_passes(onnx.load_model_from_string(model), steps, feeds)
    except PassError as error:
        return [_Remedy("split", model, ranges, problem=str(error))]
    new = done.model.SerializeToString(deterministic=True)
    more = dict(ranges)
    for step, finding in zip(steps, able, strict=True):
        more |= zip(step.pieces(finding.tensor), finding.inputs.values(), strict=True)
    split = _view(new)
    joins = [f"{finding.node}/join" for finding in able]
    return [
        _Remedy("split", new, more, _behind(split, [*joins, *shared])),
        _Remedy("split and tail", new, more, split.tail),
    ]


def _early(model: bytes, ranges: Ranges, feeds: Sequence[Feeds]) -> list[_Remedy]:
    import onnx

    step = PartEarly()
    try:
        done = run_passes(onnx.load_model_from_string(model), [step, InferShapes()], feeds)
    except PassError as error:
        return [_Remedy("part early", model, ranges, problem=str(error))]
    if not step.moved:
        return []
    new, more = done.model.SerializeToString(deterministic=True), step.ranges(ranges)
    rest = [one.node for one in find_shared_scales(new, more) if one.kind is not SharedKind.MIXED]
    return [_Remedy("part early", new, more, _behind(_view(new), rest))]


def _view(model: bytes) -> GraphView:
    import onnx

    return GraphView(onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model), data_prop=True))


def _behind(view: GraphView, nodes: Iterable[str]) -> frozenset[str]:
    """``nodes`` and the data movement behind them."""
    chosen = set(nodes)
    waiting = list(chosen)
    while waiting:
        for name in view.by_id[waiting.pop()].output:
            for reader in view.readers.get(name, []):
                if reader.op_type in MOVEMENT and node_id(reader) not in chosen:
                    chosen.add(node_id(reader))
                    waiting.append(node_id(reader))
    return frozenset(chosen)


def _measured(
    remedy: _Remedy,
    quantize: Callable[[bytes, Ranges, frozenset[str]], QuantizedGraph],
    losses: Callable[[QuantizedGraph], NDArray[np.float64]],
    milliseconds: Callable[[QuantizedGraph], float] | None,
) -> _Remedy:
    if remedy.problem:
        return remedy
    view = _view(remedy.model)
    work = sum(view.size(name) for key in remedy.keep_float for name in view.by_id[key].output)
    try:
        candidate = quantize(remedy.model, remedy.ranges, remedy.keep_float)
        loss = float(np.mean(losses(candidate)))
        spent = None if milliseconds is None else milliseconds(candidate)
    except JudgeError as error:
        return dataclasses.replace(remedy, problem=str(error))
    return dataclasses.replace(remedy, loss=loss, bytes=len(candidate.model), work=work, ms=spent)


def _cheapest(tried: Sequence[_Remedy], plain: _Remedy) -> _Remedy:
    least = min(one.loss for one in tried)
    limit = least + _AS_GOOD * max(plain.loss - least, 0.0)
    good = [one for one in tried if one.loss <= limit]
    if any(one is plain for one in good):
        return plain
    smallest = min(one.bytes for one in good)
    small = [one for one in good if one.bytes <= smallest * (1 + _SAME_SIZE)]
    return min(small, key=lambda one: (one.ms or 0.0, one.work))


def _notes(findings: Sequence[SharedScale], plain: _Remedy, best: _Remedy) -> tuple[str, ...]:
    seen = tuple(finding.why for finding in findings[:4])
    if len(findings) > len(seen):
        seen += (f"and {len(findings) - len(seen)} more values on grids too coarse for them",)
    if best is plain:
        return (*seen, "no remedy lost less than leaving it so")
    outcome = f"loss {plain.loss:.4g} to {best.loss:.4g}, {best.bytes - plain.bytes:+d} bytes"
    return (*seen, f"remedy {best.name!r}: {len(best.keep_float)} operators in float; {outcome}")


def _row(one: _Remedy, *, kept: bool) -> dict[str, Any]:
    return {
        "remedy": one.name,
        "loss": None if one.problem else one.loss,
        "bytes": None if one.problem else one.bytes,
        "float_nodes": len(one.keep_float),
        "float_values": one.work,
        "ms": one.ms,
        "kept": kept,
        "problem": one.problem,
    }
