"""A PyTorch model as a ``Session``: pictures in, what is in them out, through the device's own code on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgewright.bundle.manifest import TensorSpec
from edgewright.optimize.spec import shape_for
from edgewright.optimize.training.losses.metrics import looking
from edgewright.optimize.training.losses.outputs import answers
from edgewright.runtime.decode import make_decoder
from edgewright.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.spec import SourceModel
    from edgewright.runtime.types import Classification, Detections

__all__ = ["Look", "TorchSession"]


class Look(Protocol):
    """Whatever looks at pictures: a ``Session``, or a ``TorchSession``."""

    @property
    def score_threshold(self) -> float:
        """What counts as seen."""
        ...

    def infer(self, image: NDArray[np.uint8], score_threshold: float | None = None) -> Detections | Classification:
        """What is in a picture (H, W, 3) uint8 BGR."""
        ...


class TorchSession:
    """Runs single pictures through a PyTorch model."""

    def __init__(self, source: SourceModel) -> None:
        """Runs it once to learn the shapes of its outputs.

        Raises:
            ModelMismatchError: Outputs and spec do not belong together.
        """
        import torch

        spec = source.spec
        shape = spec.input_shape or shape_for(spec.preprocess, spec.layout)
        self._source = source
        self._preprocess = Preprocessor(spec.preprocess, TensorSpec("input", tuple(shape), "float32", spec.layout))
        with looking(source.module) as device:
            made = answers(source.module, torch.zeros(shape, device=device))
        tensors = {
            name: TensorSpec(name, tuple(tensor.shape), "float32")
            for name, tensor in zip(source.output_names, made, strict=True)
        }
        self._decoder = make_decoder(spec.decode, spec.preprocess, spec.arrays, tensors)

    @property
    def score_threshold(self) -> float:
        """See ``Look``."""
        return self._decoder.score_threshold

    def infer(self, image: NDArray[np.uint8], score_threshold: float | None = None) -> Detections | Classification:
        """See ``Look``."""
        import torch

        tensor, placement = self._preprocess(image)
        with looking(self._source.module) as device:
            made = answers(self._source.module, torch.from_numpy(np.array(tensor)).to(device))
        outputs = {
            name: value.float().cpu().numpy() for name, value in zip(self._source.output_names, made, strict=True)
        }
        return self._decoder(outputs, placement, score_threshold)
