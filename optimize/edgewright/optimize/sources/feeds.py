"""Input tensors to compare two forms of one model on: pictures, through the device's own preprocessing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.manifest import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.spec import ModelSpec

__all__ = ["made_up_pictures", "picture_feeds"]

_HEIGHT, _WIDTH = 240, 320


def made_up_pictures(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Pictures with soft patches, edges and some noise; noise alone excites networks in no lifelike way.

    Args:
        count: How many.
        seed: The same pictures for the same seed.

    Returns:
        Arrays (240, 320, 3) uint8 BGR.
    """
    import cv2

    random = np.random.default_rng(seed)
    pictures: list[NDArray[np.uint8]] = []
    for _ in range(count):
        soft = cv2.resize(random.uniform(0, 255, (6, 8, 3)).astype(np.float32), (_WIDTH, _HEIGHT))
        for _ in range(12):
            x, y = (int(random.integers(0, limit)) for limit in (_WIDTH, _HEIGHT))
            w, h = (int(side) for side in random.integers(8, 90, 2))
            soft[y : y + h, x : x + w] = random.uniform(0, 255, 3)
        noisy = soft + random.normal(0, 6, soft.shape)
        pictures.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return pictures


def picture_feeds(
    spec: ModelSpec, name: str, images: Sequence[NDArray[np.uint8]] = (), made_up: int = 3
) -> tuple[dict[str, NDArray[Any]], ...]:
    """Input tensors for ``images`` and for some made-up pictures.

    Args:
        spec: With ``input_shape`` set.
        name: Name of the input.
        images: Real frames (H, W, 3) uint8 BGR.
        made_up: How many pictures to make up besides.

    Returns:
        One mapping from ``name`` to a float32 tensor of ``spec.input_shape`` for each picture.
    """
    from edgewright.runtime.preprocess import Preprocessor

    shape = spec.input_shape or ()
    preprocess = Preprocessor(spec.preprocess, TensorSpec(name, shape, "float32", spec.layout))
    return tuple({name: preprocess(image)[0].copy()} for image in (*images, *made_up_pictures(made_up)))
