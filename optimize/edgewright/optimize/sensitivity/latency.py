"""What a region costs in time: its kernels in float against the same in INT8, by the engine's own profiler.

Each graph runs in processes of its own that take turns. Kernels are matched to nodes by name; what the engine fused
into a kernel counts to the node with weights. When the rounds disagree by more than the difference between the two
graphs, or too few kernels can be matched, the profile is worth nothing and time is shared out by multiplications; the
result says which.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.graph.segments import node_id
from edgewright.optimize.sensitivity.regions import multiplications
from edgewright.optimize.sensitivity.structure import GraphView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.sensitivity.regions import Region

__all__ = ["NodeTimes", "estimate_nodes", "profile_nodes", "region_ms"]

_TIMEOUT_S = 120.0
_ROUNDS = 3
_RUNS = 20
_MILLION = 1e6
_USUAL = (
    2.0,
    1.0,
)  # float and INT8 where neither can be timed: boards that multiply 8-bit integers about halve the time
_MATCHED = 0.7  # share of the float time that must be matched to nodes
_QUANTIZER = "_QuantizeLinear"  # what the writer calls the node that turns a tensor into integers
# What the engine appends to a node's name when it rewrites the node.
_SUFFIX = re.compile(r"(_token_\d+|_nchwc|_pre_q|_q|_quant|_nhwc|/duplicated.*|_transformed)+$")


@dataclass(frozen=True)
class NodeTimes:
    """Milliseconds by node of the float graph, in both forms.

    Attributes:
        float_ms: Node to milliseconds in float.
        int8_ms: The same in INT8.
        float_total: Milliseconds of one run in float.
        int8_total: The same in INT8.
        border_ms: Milliseconds to turn a million numbers into integers; 0 where no such kernel was seen.
        how: ``profiled``, or ``estimated by multiplications`` with the reason.
    """

    float_ms: Mapping[str, float]
    int8_ms: Mapping[str, float]
    float_total: float
    int8_total: float
    border_ms: float
    how: str

    @property
    def profiled(self) -> bool:
        """Whether the figures of single nodes were measured."""
        return self.how == "profiled"


def profile_nodes(
    float_model: bytes, int8: QuantizedGraph, *, threads: int = 1, rounds: int = _ROUNDS, runs: int = _RUNS
) -> NodeTimes:
    """Profiles both graphs, processes taking turns.

    Args:
        float_model: The prepared float graph.
        int8: What was made of it.
        threads: For the engine.
        rounds: Processes of each graph.
        runs: Timed runs in each process.

    Raises:
        JudgeError: A process died or hung.
    """
    import onnx

    model = onnx.load_model_from_string(float_model)
    view = GraphView(onnx.shape_inference.infer_shapes(model, data_prop=True))
    kernels: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    with tempfile.TemporaryDirectory(prefix="edgewright-latency-") as folder:
        files = (Path(folder) / "float.onnx", Path(folder) / "int8.onnx")
        files[0].write_bytes(float_model)
        files[1].write_bytes(int8.model)
        for number in range(rounds):
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                engine = int8.engine if side else {}
                kernels[side].append(_profile(files[side], engine, threads, runs))
    return _times(view, *kernels)


def estimate_nodes(float_model: bytes, reason: str) -> NodeTimes:
    """Times by multiplications alone, for a board that is not here: in units of the INT8 network's time.

    Args:
        float_model: The prepared float graph.
        reason: Why nothing was measured.
    """
    import onnx

    model = onnx.load_model_from_string(float_model)
    view = GraphView(onnx.shape_inference.infer_shapes(model, data_prop=True))
    return NodeTimes(_by_multiplications(view), {}, *_USUAL, 0.0, f"estimated by multiplications: {reason}")


def region_ms(region: Region, times: NodeTimes) -> float:
    """Milliseconds that a region costs more in float than in INT8, with the conversions at its border (estimated)."""
    border = times.border_ms * region.border / _MILLION
    if times.profiled:
        known = [key for key in region.nodes if key in times.float_ms or key in times.int8_ms]
        return border + sum(times.float_ms.get(key, 0.0) - times.int8_ms.get(key, 0.0) for key in known)
    whole = sum(times.float_ms.values())
    share = sum(times.float_ms.get(key, 0.0) for key in region.nodes) / whole if whole else 0.0
    return border + share * (times.float_total - times.int8_total)


def _profile(model: Path, engine: Mapping[str, Any], threads: int, runs: int) -> dict[str, float]:
    module = "edgewright.optimize.sensitivity.latency_child"
    command = [sys.executable, "-m", module, str(model), json.dumps(dict(engine)), str(threads), str(runs)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        msg = f"profiling {model.stem} took more than {_TIMEOUT_S:.0f} s; give a smaller model or more time"
        raise JudgeError(msg) from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        msg = f"profiling {model.stem} failed: {last[0][:300]}"
        raise JudgeError(msg)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def _times(view: GraphView, float_: Sequence[dict[str, float]], int8: Sequence[dict[str, float]]) -> NodeTimes:
    totals = [[sum(one.values()) / 1000 for one in side] for side in (float_, int8)]
    medians = [statistics.median(side) for side in totals]
    by_node = [_by_node(view, side) for side in (float_, int8)]
    border = _border_ms(view, int8)
    matched = sum(by_node[0].values()) / max(medians[0], 1e-9)
    noise = max(max(side) - min(side) for side in totals)
    if matched < _MATCHED:
        reason = f"only {matched:.0%} of the time could be told apart by node"
    elif noise > abs(medians[0] - medians[1]):
        reason = "the machine was too noisy to time single nodes"
    else:
        return NodeTimes(by_node[0], by_node[1], medians[0], medians[1], border, "profiled")
    return NodeTimes(
        _by_multiplications(view), {}, medians[0], medians[1], border, f"estimated by multiplications: {reason}"
    )


def _by_multiplications(view: GraphView) -> dict[str, float]:
    return {node_id(node): float(multiplications(view, node)) for node in view.weighted_nodes}


def _border_ms(view: GraphView, rounds: Sequence[dict[str, float]]) -> float:
    """Milliseconds for a million numbers, from the kernels that turn known tensors into integers."""
    rates = []
    for kernels in rounds:
        seen = {kernel: kernel.removesuffix(_QUANTIZER) for kernel in kernels if kernel.endswith(_QUANTIZER)}
        size = sum(view.size(tensor) for tensor in seen.values() if view.shape(tensor))
        spent = sum(kernels[kernel] for kernel, tensor in seen.items() if view.shape(tensor))
        if size:
            rates.append(spent / 1000 / size * _MILLION)
    return statistics.median(rates) if rates else 0.0


def _by_node(view: GraphView, rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for kernels in rounds:
        sums: dict[str, float] = {}
        for kernel, spent in kernels.items():
            node = _node_of(view, kernel)
            if node is not None:
                sums[node] = sums.get(node, 0.0) + spent / 1000
        for node, spent in sums.items():
            found.setdefault(node, []).append(spent)
    return {node: statistics.median(values) for node, values in found.items()}


def _node_of(view: GraphView, kernel: str) -> str | None:
    """The node a kernel does; for a fused one the node with weights, which the engine may name by its last tensor."""
    for name in (kernel, _SUFFIX.sub("", kernel)):
        node = view.by_id.get(name) or view.producer.get(name)
        if node is None:
            continue
        before = view.producer.get(node.input[0]) if node.input and not view.weighted(node) else None
        if name not in view.by_id and before is not None and view.weighted(before):
            return node_id(before)
        return node_id(node)
    return None
