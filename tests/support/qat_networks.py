"""Real pictures and candidates for quantization-aware training, and what files and networks answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from edgewright.optimize.calibration import RangeChoice, calibrate
from edgewright.optimize.qat.train import QatStart
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.optimize.training.types import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Pictures:
    """A ``TrainingSet`` of Fashion-MNIST pictures, undistorted."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        del rng
        classes = torch.from_numpy(self.labels[rows])
        return Batch(torch.from_numpy(self.images[rows]), rows, np.zeros(len(rows), np.int64), classes)

    @property
    def digest(self) -> str:
        return f"fashion {len(self)}"


def start_of(
    model: bytes, images: NDArray[np.float32], scheme: Scheme | None = None, keep: frozenset[str] = frozenset()
) -> QatStart:
    """The plain min-max candidate of a float graph with one input."""
    import onnx

    chosen, name = scheme or Scheme(), onnx.load_model_from_string(model).graph.input[0].name

    def feeds() -> Any:
        return iter([{name: images[k : k + 1]} for k in range(len(images))])

    choice = RangeChoice.parse("minmax")
    found = calibrate(model, feeds, choices=[choice], threads=1)
    ranges = found.ranges(choice, symmetric=chosen.activations.value == "int8")
    return QatStart(model, ranges, quantize_graph(model, ranges, keep, chosen), keep, chosen)


def run_file(model: bytes, images: NDArray[np.float32], engine: Mapping[str, Any] | None = None) -> list[NDArray[Any]]:
    """What a file answers, picture by picture."""
    from edgewright.optimize.graph.engine import open_engine

    session = open_engine(model, engine)
    name, outputs = session.get_inputs()[0].name, [item.name for item in session.get_outputs()]
    each = [session.run(outputs, {name: images[k : k + 1]}) for k in range(len(images))]
    return [np.concatenate(parts) for parts in zip(*each, strict=True)]


def run_module(module: torch.nn.Module, images: NDArray[np.float32]) -> list[NDArray[Any]]:
    """What a network answers."""
    with torch.no_grad():
        return [value.numpy() for value in module.eval()(torch.from_numpy(images))]
