"""A slice of Fashion-MNIST as the commands take it, and a small network that is quick to train."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from examples.fashion.data import load_split, write_pictures

from edgewright.bundle.arrays import npz_bytes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def pictures(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train.npz`` of 400 pictures, and folders of 40 to calibrate, 40 to select and 120 to test."""
    folder = tmp_path_factory.mktemp("fashion")
    train, test = load_split(samples / "fashion", "train"), load_split(samples / "fashion", "t10k")
    for name, rows in (("calibrate", slice(0, 40)), ("select", slice(40, 80))):
        write_pictures(folder / name, train.images[rows], train.labels[rows])
    write_pictures(folder / "test", test.images[:120], test.labels[:120])
    some = slice(80, 480)
    (folder / "train.npz").write_bytes(npz_bytes({"images": train.images[some], "labels": train.labels[some]}))
    return folder


@pytest.fixture
def one_thread() -> object:
    """Two threads wait for each other on a machine that others use."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield np.random.default_rng(0)
    torch.set_num_threads(before)
