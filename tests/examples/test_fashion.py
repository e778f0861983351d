"""The network trained on Fashion-MNIST: the script runs end to end, keeps what is there, and the factory takes it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch
from examples.fashion.branches import BranchedNet, fold
from examples.fashion.data import CLASSES, load_split, write_pictures
from examples.fashion.model import RECIPE_KEY, DepthwiseNet, factory, load_weights

from edgewright.bundle.arrays import npz_bytes, read_npz
from edgewright.optimize.data.labels import load_class_labels
from edgewright.optimize.data.samples import picture_files
from edgewright.optimize.errors import DataError, ModelError
from edgewright.optimize.sources import load_source

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 512


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in the right form with a picture of its own for each class: bright bars that a network learns at once."""
    folder = tmp_path_factory.mktemp("fashion")
    rng = np.random.default_rng(0)
    for name, magic in (("train", 2051), ("t10k", 2051)):
        labels = rng.integers(0, 10, COUNT).astype(np.uint8)
        images = rng.integers(0, 30, (COUNT, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 4 : 2 * label + 8] = 220
        header = magic.to_bytes(4, "big") + b"".join(size.to_bytes(4, "big") for size in (COUNT, 28, 28))
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
        header = (2049).to_bytes(4, "big") + COUNT.to_bytes(4, "big")
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + labels.tobytes()))
    return folder


def run_training(root: Path, data: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.fashion.train", "--data", str(data), "--out", str(out)]
    command += ["--epochs", "1", "--pictures", str(COUNT), "--threads", "1", *more]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def weights(root: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights") / "fashion.npz"
    done = run_training(root, data, out)
    assert done.returncode == 0, done.stderr
    assert f"of {COUNT} test pictures right" in done.stdout
    assert "s left" in done.stderr
    return out


def test_training_again_by_the_same_recipe_leaves_the_weights(root: Path, data: Path, weights: Path) -> None:
    before = weights.stat().st_mtime_ns
    done = run_training(root, data, weights)
    assert "is there, trained by the same recipe" in done.stderr
    assert weights.stat().st_mtime_ns == before
    arrays = read_npz(weights.read_bytes(), "weights")
    assert len(arrays.pop(RECIPE_KEY).tobytes()) == 64
    assert set(arrays) == set(DepthwiseNet().state_dict())


def test_factory_is_taken_by_the_optimizer_and_says_what_the_network_says(
    weights: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    loaded = load_source("examples.fashion.model:factory", weights=weights)
    assert loaded.spec.labels == CLASSES
    assert loaded.inputs[0].shape == (1, 3, 28, 28)
    assert loaded.max_difference is not None
    assert loaded.max_difference < 1e-4


def test_folded_branches_compute_the_same() -> None:
    torch.manual_seed(0)
    branched = BranchedNet().train()
    pictures = torch.rand(16, 3, 28, 28)
    with torch.no_grad():
        branched(pictures)  # gives the batch norms statistics of their own
        branched.eval()
        wanted, got = branched(pictures), fold(branched)(pictures)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    assert float(wanted.std()) > 1e-3


def test_weights_load_strictly(weights: Path, tmp_path: Path) -> None:
    arrays = read_npz(weights.read_bytes(), "weights")
    arrays.pop("classifier.bias")
    (tmp_path / "less.npz").write_bytes(npz_bytes(arrays))
    with pytest.raises(ModelError, match="does not hold the weights"):
        factory(tmp_path / "less.npz")
    (tmp_path / "junk.npz").write_bytes(b"no archive")
    with pytest.raises(ModelError, match="no weights file"):
        factory(tmp_path / "junk.npz")
    with pytest.raises(ModelError, match=r"examples\.fashion\.train"):
        factory(None)


def test_pictures_and_their_labels_come_back(data: Path, tmp_path: Path) -> None:
    split = load_split(data, "t10k")
    write_pictures(tmp_path, split.images[:20], split.labels[:20])
    files = picture_files(tmp_path)
    assert [int(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE).sum()) for file in files] == [
        int(image.sum()) for image in split.images[:20]
    ]
    labels = load_class_labels(tmp_path / "labels.csv", CLASSES)
    assert [frame.truth for frame in labels.frames] == split.labels[:20].tolist()


def test_calibration_and_selection_pictures_are_not_the_same(root: Path, data: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "examples.fashion.data",
        str(data),
        str(tmp_path),
        "--calibrate",
        "5",
        "--select",
        "7",
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = [
        read_npz((tmp_path / f"{name}.npz").read_bytes(), name)["images"] for name in ("calibrate", "select", "test")
    ]
    train = load_split(data, "train").images
    assert np.array_equal(np.concatenate(written[:2]), train[:12])
    assert [len(picture_files(tmp_path / name)) for name in ("calibrate", "select", "test")] == [5, 7, len(written[2])]


def test_files_of_another_kind_are_messages(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="scripts/samples fashion"):
        load_split(tmp_path, "train")
    for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
        (tmp_path / name).write_bytes((data / "t10k-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(DataError, match="not the file of Fashion-MNIST"):
        load_split(tmp_path, "train")


def test_a_weights_file_holds_tensors_and_nothing_else(weights: Path) -> None:
    assert all(isinstance(value, torch.Tensor) for value in load_weights(weights).values())


def test_bad_folder_ends_the_script_with_a_message(root: Path, tmp_path: Path) -> None:
    done = run_training(root, tmp_path, tmp_path / "out.npz")
    assert done.returncode != 0
    assert "scripts/samples fashion" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.npz").exists()


def test_real_data_is_ten_balanced_classes(root: Path) -> None:
    command = [sys.executable, str(root / "scripts/samples"), "--offline", "--json", "fashion"]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    if answer["missing"]:
        pytest.fail("run `scripts/samples fashion` first")
    test = load_split(type(root)(answer["cache"]) / "fashion", "t10k")
    assert test.images.shape == (10_000, 28, 28)
    assert np.bincount(test.labels).tolist() == [1000] * 10
