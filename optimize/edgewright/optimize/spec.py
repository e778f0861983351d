"""What the optimizer must know about a model beyond its graph: how pictures go in, and what its numbers mean.

- ``ModelSpec``: the whole description; it becomes the preprocess, decode and labels of the bundle.
- ``SourceModel``: what a PyTorch factory returns, the network and its spec.
- ``ClassifierOptions``: the few facts a plain classifier needs; ``classifier_spec`` makes the rest of them.

A spec for a plain ``.onnx`` file can also be written as TOML, see ``edgewright.optimize.sources.load_spec``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import ManifestError
from edgewright.bundle.manifest import (
    ClassifyDecode,
    ColorOrder,
    Layout,
    Preprocess,
    ResizeMode,
    ScoreActivation,
    SsdDecode,
    Task,
)
from edgewright.bundle.rules import check_path
from edgewright.optimize.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Decode

__all__ = ["ClassifierOptions", "ModelSpec", "SourceModel", "classifier_spec"]

_CHANNELS = 3
_MAX_SIDE = 16384  # as in the manifest
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_IMAGENET_CROP = 224 / 256  # share of the shorter side that the usual centre crop keeps


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """How one model is fed and read.

    Attributes:
        name: Name of the bundle, for example ``person-ssdlite-mobilenetv2``.
        task: What the model answers.
        preprocess: From a frame to the input values.
        decode: From the outputs to detections or classes.
        labels: Class names in the order of the class ids that decoding gives (without the background).
        arrays: Named constants that ``decode`` points to, by their path in the bundle.
        input_shape: (1, 3, H, W) or (1, H, W, 3); None where it is to be read off an ONNX file.
    """

    name: str
    task: Task
    preprocess: Preprocess
    decode: Decode
    labels: tuple[str, ...] = ()
    arrays: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    input_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Checks that the parts belong together.

        Raises:
            SpecError: Naming the field that does not fit.
        """
        wanted = Task.DETECT if isinstance(self.decode, SsdDecode) else Task.CLASSIFY
        if self.task is not wanted:
            head = type(self.decode).__name__
            msg = f"spec of {self.name!r}: task is {self.task.value!r}, but a {head} belongs to {wanted.value!r}"
            raise SpecError(msg)
        _check_preprocess(self.name, self.preprocess)
        _check_decode(self.name, self.decode)
        if isinstance(self.decode, SsdDecode):
            _check_anchors(self.name, self.decode.anchors, self.arrays)
        if self.input_shape is not None:
            allowed = [shape_for(self.preprocess, layout) for layout in Layout]
            if tuple(self.input_shape) not in allowed:
                msg = (
                    f"spec of {self.name!r}: input_shape {list(self.input_shape)} does not hold one picture of "
                    f"{self.preprocess.width}x{self.preprocess.height}; it must be {allowed[0]} or {allowed[1]}"
                )
                raise SpecError(msg)

    @property
    def layout(self) -> Layout:
        """Axis order of the input; NCHW as long as the shape is open."""
        if self.input_shape is not None and self.input_shape[1] != _CHANNELS:
            return Layout.NHWC
        return Layout.NCHW

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs that decoding reads."""
        if isinstance(self.decode, SsdDecode):
            return (self.decode.boxes, self.decode.scores)
        return (self.decode.scores,)

    def with_shape(self, input_shape: tuple[int, ...]) -> ModelSpec:
        """The same spec for a resolved input shape.

        Raises:
            SpecError: The shape does not hold one picture of the preprocessing's size.
        """
        return replace(self, input_shape=tuple(input_shape))


@dataclass(frozen=True, eq=False)
class SourceModel:
    """What a factory returns.

    Attributes:
        module: A ``torch.nn.Module``; called with one float32 picture tensor.
        spec: How it is fed and read; ``input_shape`` must be given.
        output_names: Names for the tensors it returns, in order; ``spec.decode`` uses them.
        input_name: Name for its input.
        example: A real input tensor for the export, None for a made-up one.
    """

    module: Any
    spec: ModelSpec
    output_names: tuple[str, ...]
    input_name: str = "input"
    example: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ClassifierOptions:
    """What a plain classifier needs said; the defaults are those of the usual ImageNet training.

    Attributes:
        name: Name of the bundle; None takes the file's.
        size: (width, height) in pixels; None reads it off the model.
        resize: How a frame is fitted.
        color: Channel order the network expects.
        scale: Factor on the 0..255 pixel.
        mean: Subtracted after scaling, per channel.
        std: Divisor after that.
        crop_from: Length of the shorter side before a crop; None takes 256 for 224, and in proportion.
        activation: What turns the output into probabilities; None looks at the graph and at what it puts out.
        labels: Class names.
        top_k: How many classes a result carries.
    """

    name: str | None = None
    size: tuple[int, int] | None = None
    resize: ResizeMode = ResizeMode.CROP
    color: ColorOrder = ColorOrder.RGB
    scale: float = 1.0 / 255.0
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD
    crop_from: int | None = None
    activation: ScoreActivation | None = None
    labels: tuple[str, ...] = ()
    top_k: int = 5


def classifier_spec(options: ClassifierOptions, *, name: str, input_shape: tuple[int, ...], scores: str) -> ModelSpec:
    """The spec of a plain classifier.

    Args:
        options: What the user said.
        name: Name of the bundle where ``options`` has none.
        input_shape: (1, 3, H, W) or (1, H, W, 3).
        scores: Name of the output that holds the scores.

    Raises:
        SpecError: The shape is not that of one picture.
    """
    height, width = input_shape[2:4] if input_shape[1] == _CHANNELS else input_shape[1:3]
    crop_from = options.crop_from
    if options.resize is ResizeMode.CROP and crop_from is None:
        crop_from = max(round(min(width, height) / _IMAGENET_CROP), width, height)
    # Where nothing was said the graph has the last word, once it is there (`edgewright.optimize.sources.load`).
    activation = options.activation or ScoreActivation.SOFTMAX
    preprocess = Preprocess(
        resize=options.resize,
        width=width,
        height=height,
        color=options.color,
        scale=options.scale,
        mean=options.mean,
        std=options.std,
        crop_from=crop_from if options.resize is ResizeMode.CROP else None,
    )
    decode = ClassifyDecode(scores=scores, activation=activation, top_k=options.top_k)
    return ModelSpec(options.name or name, Task.CLASSIFY, preprocess, decode, options.labels, {}, tuple(input_shape))


def shape_for(preprocess: Preprocess, layout: Layout) -> tuple[int, int, int, int]:
    """Shape of the tensor for one picture."""
    if layout is Layout.NCHW:
        return (1, _CHANNELS, preprocess.height, preprocess.width)
    return (1, preprocess.height, preprocess.width, _CHANNELS)


def _check_preprocess(name: str, preprocess: Preprocess) -> None:
    numbers = (preprocess.scale, *preprocess.mean, *preprocess.std)
    if not all(math.isfinite(number) for number in numbers) or 0.0 in preprocess.std or preprocess.scale == 0:
        msg = f"spec of {name!r}: preprocess scale, mean and std must be finite, and scale and std not zero"
        raise SpecError(msg)
    if not (1 <= preprocess.width <= _MAX_SIDE and 1 <= preprocess.height <= _MAX_SIDE):
        msg = f"spec of {name!r}: width and height {preprocess.width}x{preprocess.height} must be within 1..{_MAX_SIDE}"
        raise SpecError(msg)
    least = max(preprocess.width, preprocess.height)
    if preprocess.resize is ResizeMode.CROP and not least <= (preprocess.crop_from or 0) <= _MAX_SIDE:
        msg = (
            f"spec of {name!r}: resize 'crop' needs crop_from within {least}..{_MAX_SIDE} pixels, "
            f"found {preprocess.crop_from}"
        )
        raise SpecError(msg)


def _check_decode(name: str, decode: Decode) -> None:
    """What the bundle would refuse at the very end is refused here, before any work is done."""
    if isinstance(decode, SsdDecode):
        for key, value in (("score_threshold", decode.score_threshold), ("iou_threshold", decode.iou_threshold)):
            if not 0.0 <= value <= 1.0:
                msg = f"spec of {name!r}: decode.{key} must be within 0..1, found {value}"
                raise SpecError(msg)
        if decode.max_detections < 1:
            msg = f"spec of {name!r}: decode.max_detections must be at least 1, found {decode.max_detections}"
            raise SpecError(msg)
    elif decode.top_k < 1:
        msg = f"spec of {name!r}: decode.top_k must be at least 1, found {decode.top_k}"
        raise SpecError(msg)


def _check_anchors(name: str, path: str, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    if path not in arrays:
        msg = f"spec of {name!r}: decode.anchors is {path!r}, but arrays holds {sorted(arrays) or 'nothing'}"
        raise SpecError(msg)
    try:
        check_path(path)
    except ManifestError as error:
        msg = f"spec of {name!r}: decode.anchors names a file of the bundle, such as 'arrays/anchors.npy': {error}"
        raise SpecError(msg) from error
    anchors = arrays[path]
    columns = 4
    if anchors.ndim != 2 or anchors.shape[1] != columns or not len(anchors) or anchors.dtype != np.float32:
        msg = f"spec of {name!r}: anchors must be float32 (n, 4) cx, cy, w, h; found {anchors.dtype} {anchors.shape}"
        raise SpecError(msg)
    if not np.isfinite(anchors).all():
        msg = f"spec of {name!r}: anchors must be finite numbers"
        raise SpecError(msg)
