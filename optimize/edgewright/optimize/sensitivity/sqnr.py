"""Error of every integer tensor against its float twin, measured in the engine that will run the file.

Two figures stand side by side. *Accumulated*: what the tensor carries when the whole network runs in integers. *Own*:
what its layer alone adds, given the float value at its input. The ratio is signal to quantization noise,
10 log10(sum x^2 / sum (x - y)^2), over all pictures.

Integer tensors are read as integers, where the engine already has them. A float tap between a convolution and its
QuantizeLinear would break the integer kernel apart, and something else would be measured than what runs. That the taps
changed nothing is checked on the first picture. Memory does not grow with the number of pictures: only sums are kept.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.sensitivity.difference import Difference
from edgewright.optimize.sensitivity.taps import Tap, TappedPair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.types import FeedSource, OnStep

__all__ = ["TensorError", "measure_sqnr"]


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
    total = {tap.tensor: Difference() for tap in pair.taps}
    alone = {tap.tensor: Difference() for tap in pair.taps}
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


def _rows(taps: Sequence[Tap], total: dict[str, Difference], alone: dict[str, Difference]) -> tuple[TensorError, ...]:
    rows = []
    for tap in taps:
        sums, local = total[tap.tensor], alone[tap.tensor]
        rows.append(
            TensorError(
                tensor=tap.tensor,
                node=tap.node,
                op_type=tap.op_type,
                sqnr=sums.sqnr,
                own_sqnr=local.sqnr if local.count else None,
                max_error=sums.worst,
                mean_error=sums.mean_error,
                cosine=sums.cosine,
                rms=sums.rms,
            )
        )
    return tuple(rows)
