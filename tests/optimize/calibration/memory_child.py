"""Entropy calibration of a small network over so many pictures; prints the peak of the process in kB."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import numpy as np
from calibration_graphs import graph_of
from onnx import helper

from edgewright.optimize.calibration import RangeChoice, calibrate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHAPE = [1, 8, 32, 32]


class Hoard:
    """What an observer must not be."""

    tensors = ("b",)

    def __init__(self) -> None:
        self.kept: list[np.ndarray] = []

    def observe(self, values: Mapping[str, np.ndarray]) -> None:
        self.kept.append(values["b"])


def feeds(count: int) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(0)
    for _ in range(count):
        yield {"x": random.standard_normal((1, 3, 32, 32), np.float32)}


def main() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["c"]),
        helper.make_node("Neg", ["c"], ["out"]),
    ]
    random = np.random.default_rng(1)
    weights = {
        "w": random.standard_normal((8, 3, 3, 3), np.float32),
        "v": random.standard_normal((8, 8, 1, 1), np.float32),
    }
    model = graph_of(nodes, {"x": [1, 3, 32, 32], **dict.fromkeys(("a", "b", "c", "out"), SHAPE)}, ["out"], **weights)
    count, choice = int(sys.argv[1]), RangeChoice.parse("entropy")
    hoards = [Hoard()] if "hoard" in sys.argv else []
    calibrate(model, lambda: feeds(count), choices=[choice], observers=hoards).ranges()
    # Not getrusage: its figure begins with the peak of whoever started this process.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


main()
