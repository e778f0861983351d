"""SSDLite on MobileNetV2 (Sandler et al. 2018, section 6.2) in Keras, and the loading of published weights.

The same network as ``examples.person.model`` is in PyTorch, from the same weights, and it finds the same people. Its
``Rescaling`` layer takes pixels as they are, 0..255. Its two outputs are raw codes; anchors, sigmoid and non-maximum
suppression are in ``spec.toml``, and run on the device.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras  # noqa: TID253 - this script is about a Keras network
from keras import layers  # noqa: TID253

from edgewright.optimize.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["INPUT", "build", "load_frozen_weights"]

INPUT = 300
"""Side of the picture in pixels."""

_BACKBONE = "FeatureExtractor/MobilenetV2"
# (expansion, output channels, stride) of the 17 inverted residual blocks, table 2 of the paper
_BLOCKS = (
    *((1, 16, 1), (6, 24, 2), (6, 24, 1), (6, 32, 2), (6, 32, 1), (6, 32, 1)),
    *((6, 64, 2), (6, 64, 1), (6, 64, 1), (6, 64, 1), (6, 96, 1), (6, 96, 1), (6, 96, 1)),
    *((6, 160, 2), (6, 160, 1), (6, 160, 1), (6, 320, 1)),
)
_FIRST_HEAD_BLOCK = 13  # its expansion (576 channels, 19 x 19) is the finest map that is looked at
_EXTRAS = ((2, 256, 512), (3, 128, 256), (4, 128, 256), (5, 64, 128))  # (number, squeezed, output channels)
_ANCHORS_PER_CELL = (3, 6, 6, 6, 6, 6)
_CLASSES = 2  # background, person
_NORM = "/BatchNorm"


def build() -> Any:
    """The network with untrained weights.

    Returns:
        A Keras model: (N, 300, 300, 3) RGB, 0..255, to ``box_codes`` (N, 1917, 4) as ty, tx, th, tw and
        ``class_logits`` (N, 1917, 2). Each layer is named after the scope of its weights in the graph.
    """
    picture = keras.Input((INPUT, INPUT, 3), name="picture")
    x = layers.Rescaling(2.0 / 255.0, offset=-1.0)(picture)
    x = _conv(x, f"{_BACKBONE}/Conv", 32, kernel=3, stride=2)
    maps: list[Any] = []
    for index, (expansion, out, stride) in enumerate(_BLOCKS):
        x, expanded = _block(x, index, expansion, out, stride)
        if index == _FIRST_HEAD_BLOCK:
            maps.append(expanded)
    x = _conv(x, f"{_BACKBONE}/Conv_1", 1280)
    maps.append(x)
    for number, squeezed, out in _EXTRAS:
        wide = f"{_BACKBONE}/layer_19_2_Conv2d_{number}_3x3_s2_{out}"
        x = _conv(x, f"{_BACKBONE}/layer_19_1_Conv2d_{number}_1x1_{squeezed}", squeezed)
        x = _conv(_depthwise(x, f"{wide}_depthwise", stride=2), wide, out)
        maps.append(x)
    heads = {"box_codes": ("BoxEncodingPredictor", 4), "class_logits": ("ClassPredictor", _CLASSES)}
    outputs = {}
    for name, (scope, width) in heads.items():
        codes = [
            _head(x, f"BoxPredictor_{index}/{scope}", anchors * width, width)
            for index, (x, anchors) in enumerate(zip(maps, _ANCHORS_PER_CELL, strict=True))
        ]
        outputs[name] = layers.Concatenate(axis=1, name=name)(codes)
    return keras.Model(picture, outputs, name="person-keras")


def load_frozen_weights(model: Any, constants: dict[str, NDArray[np.float32]]) -> None:
    """Copies the trained constants of the frozen graph into the network.

    Args:
        model: From ``build``; changed in place.
        constants: From ``examples.person.frozen_graph.read_float_constants``.

    Raises:
        ModelError: A weight is missing, has another shape, or one of the graph was not used.
    """
    used: set[str] = set()

    def take(layer: Any, *keys: str) -> None:
        names = [f"{_scope(layer.name)}/{key}" for key in keys]
        absent = next((name for name in names if name not in constants), None)
        if absent is not None:
            msg = f"the frozen graph has no constant {absent}: it is not the SSDLite-MobileNetV2 person detector"
            raise ModelError(msg)
        try:
            layer.set_weights([constants[name] for name in names])
        except ValueError as error:
            msg = f"the frozen graph's constants for {_scope(layer.name)} have other shapes than the network: {error}"
            raise ModelError(msg) from error
        used.update(names)

    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            take(layer, "gamma", "beta", "moving_mean", "moving_variance")
        elif isinstance(layer, layers.DepthwiseConv2D):
            take(layer, "depthwise_weights")
        elif isinstance(layer, layers.Conv2D):
            take(layer, *(("weights", "biases") if layer.use_bias else ("weights",)))
    prefixes = (f"{_BACKBONE}/", "BoxPredictor_")
    trained = {name for name in constants if name.startswith(prefixes) and constants[name].ndim}
    if trained - used:
        msg = f"the frozen graph has {len(trained - used)} weights the network does not, such as {min(trained - used)}"
        raise ModelError(msg)


def _block(x: Any, index: int, expansion: int, out: int, stride: int) -> tuple[Any, Any]:
    """Inverted residual: expand, depthwise, project; and the expanded map that the first head looks at."""
    scope = f"{_BACKBONE}/expanded_conv" + (f"_{index}" if index else "")
    channels = x.shape[-1]
    expanded = _conv(x, f"{scope}/expand", channels * expansion) if expansion > 1 else x
    made = _conv(_depthwise(expanded, f"{scope}/depthwise", stride=stride), f"{scope}/project", out, relu=False)
    return (layers.Add()([x, made]) if stride == 1 and channels == out else made), expanded


def _head(x: Any, scope: str, channels: int, width: int) -> Any:
    """Depthwise 3 x 3 and a plain 1 x 1 that give ``width`` numbers for each anchor of each cell."""
    codes = layers.Conv2D(channels, 1, name=_name(scope))(_depthwise(x, f"{scope}_depthwise"))
    return layers.Reshape((-1, width))(codes)


def _conv(x: Any, scope: str, channels: int, *, kernel: int = 1, stride: int = 1, relu: bool = True) -> Any:
    x = layers.Conv2D(channels, kernel, stride, "same", use_bias=False, name=_name(scope))(x)
    return _normed(x, scope, relu=relu)


def _depthwise(x: Any, scope: str, *, stride: int = 1) -> Any:
    x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=_name(scope))(x)
    return _normed(x, scope, relu=True)


def _normed(x: Any, scope: str, *, relu: bool) -> Any:
    x = layers.BatchNormalization(epsilon=1e-3, name=_name(scope + _NORM))(x)
    return layers.ReLU(6.0)(x) if relu else x


def _name(scope: str) -> str:
    """Keras allows no slash in a layer's name."""
    return scope.replace("/", ".")


def _scope(name: str) -> str:
    return name.replace(".", "/")
