"""Error of every integer tensor against its float twin, measured in the engine that will run the file.

Two figures stand side by side. *Accumulated*: what the tensor carries when the whole network runs in integers. *Own*:
what its layer alone adds, given the float value at its input. The ratio is signal to quantization noise,
10 log10(sum x^2 / sum (x - y)^2), over all pictures.

Integer tensors are read as integers, where the engine already has them. A float tap between a convolution and its
QuantizeLinear would break the integer kernel apart, and something else would be measured than what runs. That the taps
changed nothing is checked on the first picture. Memory does not grow with the number of pictures: only sums are kept.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.sensitivity.taps import Tap, TappedPair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.types import FeedSource, OnStep

__all__ = ["EXACT_DB", "TensorError", "measure_sqnr", "sqnr_db"]

EXACT_DB = 200.0
"""Stands for "no error at all"; minus this for noise without signal."""


@dataclass(frozen=True)
class TensorError:
    """One tensor's error.

    Attributes:
        tensor: Its name in both graphs.
        node: The operator that makes it in the INT8 graph (``node_id``); empty for a graph input.
        op_type: Of that operator.
        sqnr: Decibels, whole network in integers.
        own_sqnr: Decibels that the layer alone would allow, float at its input; None for graph inputs.
        max_error: Largest absolute error.
        mean_error: Mean of INT8 minus float.
        cosine: Cosine between float and INT8 values.
        rms: Root mean square of the float values.
    """

    tensor: str
    node: str
    op_type: str
    sqnr: float
    own_sqnr: float | None
    max_error: float
    mean_error: float
    cosine: float
    rms: float

    def to_json(self) -> dict[str, Any]:
        """A row of the report's table."""
        return asdict(self)


@dataclass
class _Sums:
    signal: float = 0.0
    noise: float = 0.0
    answer: float = 0.0
    product: float = 0.0
    error: float = 0.0
    worst: float = 0.0
    count: int = 0

    def add(self, float_: NDArray[Any], int8: NDArray[Any]) -> None:
        x = float_.ravel().astype(np.float64)
        y = int8.ravel().astype(np.float64)
        difference = y - x
        self.signal += float(x @ x)
        self.answer += float(y @ y)
        self.product += float(x @ y)
        self.noise += float(difference @ difference)
        self.error += float(difference.sum())
        self.worst = max(self.worst, float(np.abs(difference).max(initial=0.0)))
        self.count += x.size


def sqnr_db(signal: float, noise: float) -> float:
    """Signal to noise in decibels, within plus and minus ``EXACT_DB``.

    Args:
        signal: Sum of squares of the signal.
        noise: Sum of squares of the error.
    """
    if noise <= 0:
        return EXACT_DB
    if signal <= 0:
        return -EXACT_DB
    return min(max(10 * math.log10(signal / noise), -EXACT_DB), EXACT_DB)


def measure_sqnr(
    float_model: bytes,
    int8: QuantizedGraph,
    feeds: FeedSource,
    on_step: OnStep | None = None,
    *,
    own: bool = True,
) -> tuple[TensorError, ...]:
    """Compares float and INT8, tensor by tensor.

    Args:
        float_model: The prepared float graph.
        int8: What was made of it; its engine options are obeyed.
        feeds: Pictures; at least one.
        on_step: Told after each picture.
        own: Measure every layer's own contribution as well.

    Returns:
        A row for every quantized tensor and every graph output, in the graph's order.

    Raises:
        JudgeError: There is no picture, the engine refuses a graph, or watching changed the result.
    """
    pair = TappedPair(float_model, int8, own=own)
    total = {tap.tensor: _Sums() for tap in pair.taps}
    alone = {tap.tensor: _Sums() for tap in pair.taps}
    pictures = 0
    for feed in feeds():
        if not pictures:
            pair.check(feed)
        for seen in pair.run(feed):
            total[seen.tap.tensor].add(seen.float_, seen.int8)
            if seen.own is not None:
                alone[seen.tap.tensor].add(seen.float_, seen.own)
        pictures += 1
        if on_step is not None:
            on_step(pictures, None)
    if not pictures:
        msg = "no picture to compare float and INT8 on; give at least one"
        raise JudgeError(msg)
    return _rows(pair.taps, total, alone)


def _rows(taps: Sequence[Tap], total: dict[str, _Sums], alone: dict[str, _Sums]) -> tuple[TensorError, ...]:
    rows = []
    for tap in taps:
        sums, local = total[tap.tensor], alone[tap.tensor]
        size = math.sqrt(sums.signal * sums.answer)
        rows.append(
            TensorError(
                tensor=tap.tensor,
                node=tap.node,
                op_type=tap.op_type,
                sqnr=sqnr_db(sums.signal, sums.noise),
                own_sqnr=sqnr_db(local.signal, local.noise) if local.count else None,
                max_error=sums.worst,
                mean_error=sums.error / max(sums.count, 1),
                cosine=sums.product / size if size else float(sums.noise == 0),
                rms=math.sqrt(sums.signal / max(sums.count, 1)),
            )
        )
    return tuple(rows)
