"""What one float inference costs on this machine, so that a plan can be reckoned from it."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from edgewright.runtime.backends.onnx import OnnxBackend

if TYPE_CHECKING:
    from edgewright.optimize.types import Feeds

__all__ = ["Probe", "activation_bytes", "probe_model"]

_RUNS = 3
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Probe:
    """The units in which steps are reckoned.

    Attributes:
        inference_seconds: One float inference.
        activation_bytes: All intermediate values of one inference together.
        model_bytes: The float file.
        process_bytes: Memory that this process holds already; 0 where the system does not tell.
    """

    inference_seconds: float
    activation_bytes: int
    model_bytes: int
    process_bytes: int = 0


def probe_model(model: bytes, feeds: Feeds, threads: int = 1) -> Probe:
    """Times a float model briefly: one inference to warm up, then the median of three.

    Args:
        model: A float ONNX file with fixed shapes.
        feeds: Its inputs by name.
        threads: For the engine.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
        BackendError: The engine refuses the model or the feeds.
    """
    backend = OnnxBackend(model, threads=threads)
    backend.run(feeds)
    times = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        backend.run(feeds)
        times.append(time.perf_counter() - started)
    return Probe(median(times), activation_bytes(model), len(model), _resident_bytes())


def activation_bytes(model: bytes) -> int:
    """Bytes of all values that the nodes of a graph put out, as far as their shapes are known.

    Args:
        model: An ONNX file; shapes are inferred here.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model), data_prop=True).graph
    types = {value.name: value.type.tensor_type for value in (*graph.value_info, *graph.output)}
    return sum(_bytes_of(types[name]) for node in graph.node for name in node.output if name in types)


def _bytes_of(kind: Any) -> int:
    import onnx

    if not kind.elem_type:
        return 0
    width: int = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
    sizes: list[int] = [size.dim_value for size in kind.shape.dim]
    return width * math.prod(sizes)


def _resident_bytes() -> int:
    try:
        match = re.search(r"^VmRSS:\s+(\d+) kB$", _STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return 0
    return int(match.group(1)) * 1024 if match else 0
