"""The depthwise Fashion-MNIST network, trained for seconds, and pictures for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from examples.fashion.data import load_split
from examples.fashion.train import Recipe, train
from qat_networks import Pictures

from edgewright.bundle.arrays import npz_bytes
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.sources import load_source

if TYPE_CHECKING:
    from pathlib import Path

PICTURES = 1280


@pytest.fixture(scope="session")
def pictures(samples: Path) -> Pictures:
    """The first training pictures, as the network takes them."""
    split = load_split(samples / "fashion", "train")
    images = np.repeat(split.images[:PICTURES, None].astype(np.float32) / 255, 3, axis=1)
    return Pictures(images, split.labels[:PICTURES])


@pytest.fixture(scope="session")
def fashion(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The prepared float graph."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network = train(load_split(samples / "fashion", "train"), Recipe(pictures=2560), lambda *_: None)
    torch.set_num_threads(threads)
    weights = tmp_path_factory.mktemp("fashion") / "fashion.npz"
    weights.write_bytes(npz_bytes({name: value.numpy() for name, value in network.state_dict().items()}))
    source = load_source("examples.fashion.model:factory", weights=weights)
    return prepare_graph(source.model, source.feeds[:1]).model
