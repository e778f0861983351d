"""SSDLite on MobileNetV2 (Sandler et al. 2018, section 6.2) in PyTorch, with the weights of a published frozen graph.

The network answers with raw codes: what turns them into boxes (anchors, variances, sigmoid, NMS) is in the spec that
``factory`` returns, and runs on the device in ``Session``.

    edgewright optimize examples.person.model:factory --weights frozen_inference_graph.pb ...

Every convolution here knows the scope of its weights in the graph; loading is strict in both directions: each
parameter must be found, and each trained constant of the graph must have been used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch  # noqa: TID253 - this module is a PyTorch network
from torch import nn  # noqa: TID253

from edgewright.bundle.manifest import Box, ColorOrder, Preprocess, ResizeMode, ScoreActivation, SsdDecode, Task
from edgewright.optimize.errors import ModelError
from edgewright.optimize.spec import ModelSpec, SourceModel
from examples.person.anchors import ssd_anchors
from examples.person.frozen_graph import read_float_constants

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["PersonDetector", "factory", "load_frozen_weights", "person_spec", "same_padding"]

INPUT = 300
_BACKBONE = "FeatureExtractor/MobilenetV2"
# (expansion, output channels, stride) of the 17 inverted residual blocks, table 2 of the paper
_BLOCKS = (
    *((1, 16, 1), (6, 24, 2), (6, 24, 1), (6, 32, 2), (6, 32, 1), (6, 32, 1)),
    *((6, 64, 2), (6, 64, 1), (6, 64, 1), (6, 64, 1), (6, 96, 1), (6, 96, 1), (6, 96, 1)),
    *((6, 160, 2), (6, 160, 1), (6, 160, 1), (6, 320, 1)),
)
_FIRST_HEAD_BLOCK = 13  # its expansion (576 channels, 19 x 19) is the finest map that is looked at
_EXTRAS = ((2, 256, 512), (3, 128, 256), (4, 128, 256), (5, 64, 128))  # (number, squeezed, output channels)
_HEAD_CHANNELS = (576, 1280, 512, 256, 256, 128)
_ANCHORS_PER_CELL = (3, 6, 6, 6, 6, 6)
_CLASSES = 2  # background, person


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding of one axis: the output has ``ceil(size / stride)`` places, odd pixels go behind.

    Args:
        size: Length of the axis.
        kernel: Kernel length.
        stride: Step.

    Returns:
        Zeros before and behind.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class ConvNorm(nn.Module):
    """Convolution with SAME padding frozen for one input size, batch norm, and ReLU6 unless it is a projection."""

    def __init__(
        self,
        scope: str,
        channels: tuple[int, int],
        *,
        size: int,
        stride: int = 1,
        depthwise: bool = False,
        kernel: int = 1,
        relu: bool = True,
    ) -> None:
        """Builds the layer whose weights the graph keeps under ``scope``.

        Args:
            scope: Name in the frozen graph, without ``/weights``.
            channels: Input and output channels; equal for a depthwise one.
            size: Side of the square input map, which decides the padding.
            stride: Step.
            depthwise: One filter a channel.
            kernel: Side of the square kernel.
            relu: Whether ReLU6 follows.
        """
        super().__init__()
        self.scope = scope
        self.depthwise = depthwise
        before, behind = same_padding(size, kernel, stride)
        even = before == behind
        self.pad = nn.Identity() if even else nn.ZeroPad2d((before, behind, before, behind))
        groups = channels[0] if depthwise else 1
        self.conv = nn.Conv2d(*channels, kernel, stride, before if even else 0, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(channels[1], eps=1e-3)
        self.act = nn.ReLU6() if relu else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, size, size) to (N, out, size / stride, size / stride)."""
        return self.act(self.norm(self.conv(self.pad(x))))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Inverted residual: expand, depthwise, project; added to its input where the shapes agree."""

    def __init__(self, index: int, channels: tuple[int, int], *, expansion: int, stride: int, size: int) -> None:
        """Builds block ``index`` for an input map of side ``size``."""
        super().__init__()
        scope = f"{_BACKBONE}/expanded_conv" + (f"_{index}" if index else "")
        wide = channels[0] * expansion
        self.expand: nn.Module = nn.Identity()
        if expansion > 1:
            self.expand = ConvNorm(f"{scope}/expand", (channels[0], wide), size=size)
        self.depthwise = ConvNorm(
            f"{scope}/depthwise", (wide, wide), size=size, stride=stride, depthwise=True, kernel=3
        )
        self.project = ConvNorm(f"{scope}/project", (wide, channels[1]), size=-(-size // stride), relu=False)
        self.residual = stride == 1 and channels[0] == channels[1]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The block's output, and the expanded map that the first head looks at."""
        expanded = self.expand(x)
        out = self.project(self.depthwise(expanded))
        return (x + out if self.residual else out), expanded


class Extra(nn.Module):
    """One of the four coarser maps behind the backbone: squeeze, depthwise step of two, widen."""

    def __init__(self, number: int, source: int, squeezed: int, out: int, size: int) -> None:
        """Builds map ``number`` (2 to 5) on an input of ``source`` channels and side ``size``."""
        super().__init__()
        wide = f"{_BACKBONE}/layer_19_2_Conv2d_{number}_3x3_s2_{out}"
        self.squeeze = ConvNorm(f"{_BACKBONE}/layer_19_1_Conv2d_{number}_1x1_{squeezed}", (source, squeezed), size=size)
        self.step = ConvNorm(f"{wide}_depthwise", (squeezed, squeezed), size=size, stride=2, depthwise=True, kernel=3)
        self.widen = ConvNorm(wide, (squeezed, out), size=-(-size // 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, source, size, size) to (N, out, size / 2, size / 2)."""
        return self.widen(self.step(self.squeeze(x)))  # type: ignore[no-any-return]


class Head(nn.Module):
    """Depthwise 3 x 3 and a plain 1 x 1 that give ``width`` numbers for each anchor of each cell."""

    def __init__(self, scope: str, channels: int, anchors: int, width: int, size: int) -> None:
        """Builds the predictor under ``scope`` on a map of ``channels`` channels."""
        super().__init__()
        self.scope = scope
        self.width = width
        self.depthwise = ConvNorm(f"{scope}_depthwise", (channels, channels), size=size, depthwise=True, kernel=3)
        self.predict = nn.Conv2d(channels, anchors * width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, g, g) to (N, g * g * anchors, width): rows first, then the anchors of a cell."""
        codes = self.predict(self.depthwise(x)).permute(0, 2, 3, 1)
        return codes.reshape(x.shape[0], -1, self.width)  # type: ignore[no-any-return]


class PersonDetector(nn.Module):
    """The whole network: (N, 3, 300, 300) RGB in -1..1 to box codes (N, 1917, 4) and class logits (N, 1917, 2)."""

    def __init__(self) -> None:
        """Builds it with untrained weights; see ``load_frozen_weights``."""
        super().__init__()
        self.stem = ConvNorm(f"{_BACKBONE}/Conv", (3, 32), size=INPUT, stride=2, kernel=3)
        size, channels = -(-INPUT // 2), 32
        sides: list[int] = []
        self.blocks = nn.ModuleList()
        for index, (expansion, out, stride) in enumerate(_BLOCKS):
            if index == _FIRST_HEAD_BLOCK:
                sides.append(size)
            self.blocks.append(Block(index, (channels, out), expansion=expansion, stride=stride, size=size))
            size, channels = -(-size // stride), out
        self.last = ConvNorm(f"{_BACKBONE}/Conv_1", (channels, 1280), size=size)
        sides.append(size)
        channels = 1280
        self.extras = nn.ModuleList()
        for number, squeezed, out in _EXTRAS:
            self.extras.append(Extra(number, channels, squeezed, out, size))
            size, channels = -(-size // 2), out
            sides.append(size)
        self.boxes, self.classes = nn.ModuleList(), nn.ModuleList()
        for index, (width, anchors, side) in enumerate(zip(_HEAD_CHANNELS, _ANCHORS_PER_CELL, sides, strict=True)):
            scope = f"BoxPredictor_{index}"
            self.boxes.append(Head(f"{scope}/BoxEncodingPredictor", width, anchors, 4, side))
            self.classes.append(Head(f"{scope}/ClassPredictor", width, anchors, _CLASSES, side))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Box codes (ty, tx, th, tw) and class logits of all anchors."""
        maps: list[torch.Tensor] = []
        x = self.stem(image)
        for index, block in enumerate(self.blocks):
            x, expanded = block(x)
            if index == _FIRST_HEAD_BLOCK:
                maps.append(expanded)
        x = self.last(x)
        maps.append(x)
        for extra in self.extras:
            x = extra(x)
            maps.append(x)
        boxes = torch.cat([head(m) for head, m in zip(self.boxes, maps, strict=True)], 1)
        classes = torch.cat([head(m) for head, m in zip(self.classes, maps, strict=True)], 1)
        return boxes, classes


def load_frozen_weights(module: PersonDetector, constants: dict[str, NDArray[np.float32]]) -> None:
    """Copies the trained constants of the frozen graph into the network.

    Args:
        module: Changed in place.
        constants: From ``read_float_constants``.

    Raises:
        ModelError: A weight is missing, has another shape, or one of the graph was not used.
    """
    used: set[str] = set()

    def take(name: str, target: torch.Tensor, axes: tuple[int, ...] | None = None) -> None:
        if name not in constants:
            msg = f"the frozen graph has no constant {name}: it is not the SSDLite-MobileNetV2 person detector"
            raise ModelError(msg)
        array = constants[name] if axes is None else constants[name].transpose(axes)
        if array.shape != tuple(target.shape):
            msg = f"{name} of the frozen graph has shape {array.shape}, the network needs {tuple(target.shape)}"
            raise ModelError(msg)
        target.copy_(torch.from_numpy(np.ascontiguousarray(array)))
        used.add(name)

    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, ConvNorm):
                # TensorFlow keeps HWIO, and HWIM for depthwise ones; PyTorch wants OIHW
                name, axes = ("depthwise_weights", (2, 3, 0, 1)) if part.depthwise else ("weights", (3, 2, 0, 1))
                take(f"{part.scope}/{name}", part.conv.weight, axes)
                statistics = {"moving_mean": part.norm.running_mean, "moving_variance": part.norm.running_var}
                for key, target in {"gamma": part.norm.weight, "beta": part.norm.bias, **statistics}.items():
                    if target is not None:
                        take(f"{part.scope}/BatchNorm/{key}", target)
            elif isinstance(part, Head):
                take(f"{part.scope}/weights", part.predict.weight, (3, 2, 0, 1))
                if part.predict.bias is not None:
                    take(f"{part.scope}/biases", part.predict.bias)
    trained = {
        name for name in constants if name.startswith((f"{_BACKBONE}/", "BoxPredictor_")) and constants[name].ndim
    }
    if trained - used:
        msg = f"the frozen graph has {len(trained - used)} weights the network does not, such as {min(trained - used)}"
        raise ModelError(msg)


def person_spec() -> ModelSpec:
    """How pictures go in and boxes come out; every constant was read off the frozen graph."""
    return ModelSpec(
        name="person-ssdlite-mobilenetv2",
        task=Task.DETECT,
        preprocess=Preprocess(
            resize=ResizeMode.STRETCH,
            width=INPUT,
            height=INPUT,
            color=ColorOrder.RGB,
            scale=2.0 / 255.0,
            mean=(1.0, 1.0, 1.0),
        ),
        decode=SsdDecode(
            boxes="box_codes",
            scores="class_logits",
            anchors="arrays/anchors.npy",
            order=Box.YXHW,
            variance_xy=0.1,
            variance_wh=0.2,
            activation=ScoreActivation.SIGMOID,
            background=0,
            score_threshold=0.5,
            iou_threshold=0.6,
            max_detections=100,
        ),
        labels=("person",),
        arrays={"arrays/anchors.npy": ssd_anchors()},
        input_shape=(1, 3, INPUT, INPUT),
    )


def factory(weights: Path | None = None) -> SourceModel:
    """The person detector, ready to be optimized.

    Args:
        weights: ``frozen_inference_graph.pb`` as fetched by ``scripts/samples``.

    Raises:
        ModelError: No weights were given, or they are not this detector's.
    """
    if weights is None:
        msg = "the person detector needs --weights frozen_inference_graph.pb; scripts/samples fetches it"
        raise ModelError(msg)
    try:
        data = weights.read_bytes()
    except OSError as error:
        msg = f"cannot read the weights {weights}: {error.strerror}"
        raise ModelError(msg) from error
    module = PersonDetector()
    load_frozen_weights(module, read_float_constants(data))
    return SourceModel(module=module.eval(), spec=person_spec(), output_names=("box_codes", "class_logits"))
