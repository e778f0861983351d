"""Trains a depthwise-separable Keras network on Fashion-MNIST and writes it as ``.keras`` and as a SavedModel.

    python -m examples.keras_classifier.train --data ~/.cache/edgewright/samples/fashion --out keras_fashion

The network takes pixels as they are, 0..255, three channels: its ``Rescaling`` layer does the rest. Same machine, same
versions and same seed give the same weights.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras  # noqa: TID253 - this script is about a Keras network
from keras import layers  # noqa: TID253

from edgewright.bundle.errors import EdgewrightError
from examples.fashion.data import CLASSES, SIDE, Split, load_split

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["build", "three_channels", "train"]

_STEM = 24
_BLOCKS = ((48, 1), (96, 2), (96, 1), (128, 2))
_BATCH = 128
_SMOOTHING = 0.1


def build() -> Any:
    """The network: (N, 28, 28, 3) pixels, 0..255, to (N, 10) logits, called ``logits``."""
    picture = keras.Input((SIDE, SIDE, 3), name="picture")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(picture)
    x = _normed(layers.Conv2D(_STEM, 3, 2, "same", use_bias=False)(x))
    for channels, stride in _BLOCKS:
        x = _normed(layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(x))
        x = _normed(layers.Conv2D(channels, 1, use_bias=False)(x))
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(picture, layers.Dense(len(CLASSES), name="logits")(x), name="keras-fashion")


def _normed(x: Any) -> Any:
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))


def three_channels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 28, 28) grey uint8 to (n, 28, 28, 3) float32, 0..255; the camera path delivers three channels."""
    return np.repeat(images[..., None], 3, axis=3).astype(np.float32)


def train(data: Split, *, epochs: int, rate: float, seed: int) -> Any:
    """Trains from scratch.

    Args:
        data: Training pictures.
        epochs: Passes over them.
        rate: Largest learning rate of Adam; it falls to nothing along a cosine.
        seed: Of weights, order and dropout.

    Returns:
        The Keras model.
    """
    keras.utils.set_random_seed(seed)
    model = build()
    steps = epochs * -(-len(data.labels) // _BATCH)
    warm_up = steps // 10
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 100, steps - warm_up, warmup_target=rate, warmup_steps=warm_up
    )
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=_SMOOTHING)
    model.compile(keras.optimizers.Adam(schedule), loss, metrics=["accuracy"])
    targets = np.eye(len(CLASSES), dtype=np.float32)[data.labels]
    model.fit(three_channels(data.images), targets, batch_size=_BATCH, epochs=epochs, verbose=2)
    return model


def main() -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Train a Keras classifier on Fashion-MNIST.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the .gz files of scripts/samples fashion")
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pictures", type=int, metavar="N", help="training pictures used (default: all)")
    parser.add_argument("--rate", type=float, default=0.01, help="largest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        whole, test = load_split(options.data, "train"), load_split(options.data, "t10k")
        data = Split(whole.images[: options.pictures], whole.labels[: options.pictures])
        model = train(data, epochs=options.epochs, rate=options.rate, seed=options.seed)
    except EdgewrightError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    options.out.mkdir(parents=True, exist_ok=True)
    model.save(options.out / "model.keras")
    model.export(options.out / "saved_model", verbose=False)
    (options.out / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    best = model.predict(three_channels(test.images), batch_size=500, verbose=0).argmax(1)
    right = float((best == test.labels).mean())
    sys.stdout.write(
        f"{options.out}: model.keras and saved_model, {model.count_params()} parameters, "
        f"{100 * right:.2f} % of {len(test.labels)} test pictures right\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
