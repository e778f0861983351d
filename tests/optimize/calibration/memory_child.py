"""Entropy calibration of a small network over so many pictures; prints the peak of the process in kB."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import numpy as np
from calibration_graphs import graph_of
from onnx import helper

from edgewright.bundle.manifest import ColorOrder, Preprocess, ResizeMode, TensorSpec
from edgewright.optimize.calibration import RangeChoice, calibrate
from edgewright.optimize.data.samples import Sample
from edgewright.optimize.feeds import KEPT_BYTES, KEPT_OF_MANY, PictureFeeds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIDE = 32
SHAPE = [1, 8, SIDE, SIDE]


class Hoard:
    """What an observer must not be."""

    tensors = ("b",)

    def __init__(self) -> None:
        self.kept: list[np.ndarray] = []

    def observe(self, values: Mapping[str, np.ndarray]) -> None:
        self.kept.append(values["b"])


def pictures(count: int) -> Iterator[Sample]:
    random = np.random.default_rng(0)
    for index in range(count):
        yield Sample(index, f"noise {index}", random.integers(0, 256, (SIDE, SIDE, 3), np.uint8))


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
    preprocess = Preprocess(ResizeMode.STRETCH, SIDE, SIDE, ColorOrder.RGB, scale=2.0 / 255.0, mean=(1.0, 1.0, 1.0))
    limits = (10**9, 10**9) if "keep" in sys.argv else (KEPT_BYTES, KEPT_OF_MANY)
    feeds = PictureFeeds(lambda: pictures(count), preprocess, TensorSpec("x", (1, 3, SIDE, SIDE), "float32"), *limits)
    calibrate(model, feeds, choices=[choice], observers=hoards).ranges()
    # Not getrusage: its figure begins with the peak of whoever started this process.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


main()
