"""The honest row on sparse weights: what zeros do to the compressed size, and to the measured speed.

Neither ONNX Runtime nor LiteRT was seen to be faster for 80 or 90 % of zeros, or for 2:4, on x86-64; not even where the
file keeps its 1x1 filters in TFLite's sparse encoding and the network has the shape that XNNPACK asks of sparse ones
(Elsen et al. 2020, "Fast Sparse ConvNets"). So files are written dense, and speed is measured anew each time.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.optimize.pruning.timing import PairTimes, time_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.bundle.manifest import Format

__all__ = ["SparseFile", "compare_sparse", "deflated"]

_LEVEL = 6  # zlib's own


@dataclass(frozen=True)
class SparseFile:
    """A file with zeros among its weights, against the same with all of them.

    Attributes:
        form: Format of both files.
        bytes: Sizes before and after.
        deflated: Sizes before and after, compressed.
        times: What they took.
    """

    form: Format
    bytes: tuple[int, int]
    deflated: tuple[int, int]
    times: PairTimes

    def __str__(self) -> str:
        """For people."""
        ratio = self.times.ratio
        speed = "no faster" if ratio.low <= 1.0 else f"{ratio.value:.2f}x faster"
        return (
            f"{self.form.value}: {self.bytes[1] / self.bytes[0]:.2f} of the bytes, {self.deflated[1] / self.deflated[0]:.2f} "
            f"of the compressed bytes, {speed} ({ratio.value:.2f}, {ratio.low:.2f} to {ratio.high:.2f})"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "format": self.form.value,
            "bytes": list(self.bytes),
            "deflated": list(self.deflated),
            "times": self.times.to_json(),
        }


def deflated(model: bytes) -> int:
    """Bytes of a file after zip's compression."""
    return len(zlib.compress(model, _LEVEL))


def compare_sparse(pairs: Sequence[tuple[Format, bytes, bytes]], *, threads: int = 1) -> tuple[SparseFile, ...]:
    """Compares files before and after, taking turns.

    Args:
        pairs: Format, dense file, sparse file.
        threads: For the engines.

    Raises:
        JudgeError: An engine refuses a file.
    """
    return tuple(
        SparseFile(
            form,
            (len(before), len(after)),
            (deflated(before), deflated(after)),
            time_pair(before, after, form, threads=threads),
        )
        for form, before, after in pairs
    )
