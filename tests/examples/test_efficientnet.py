"""EfficientNet-Lite0: its published weights load strictly and say what they should."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import cv2
import pytest
import torch
from examples.efficientnet.model import EfficientNetLite0, factory

from edgewright.optimize.errors import ModelError
from edgewright.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.optimize.spec import SourceModel


@pytest.fixture(scope="module")
def cache(root: Path) -> Path:
    """The folder of the efficientnet group; absent files are a failure, never a skip."""
    command = [sys.executable, str(root / "scripts/samples"), "--offline", "--json", "efficientnet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    if answer["missing"]:
        pytest.fail(f"run `scripts/samples efficientnet` first; missing: {', '.join(answer['missing'])}")
    return type(root)(answer["cache"])


@pytest.fixture(scope="module")
def source(cache: Path) -> SourceModel:
    return factory(cache / "efficientnet-lite0-57934424.pth")


@pytest.mark.parametrize(("photo", "word"), [("dog.jpg", "malamute"), ("giraffe.jpg", "zebra")])
def test_weights_see_what_is_in_the_photograph(source: SourceModel, cache: Path, photo: str, word: str) -> None:
    names = (cache / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    spec = source.spec
    preprocess = Preprocessor(spec.preprocess, _input(source))
    tensor, _ = preprocess(cv2.imread(str(cache / "photos" / photo)))
    with torch.no_grad():
        logits = source.module(torch.from_numpy(tensor))
    best = [names[int(index)] for index in logits[0].topk(5).indices]
    assert any(word in name for name in best), best


def _input(source: SourceModel):
    from edgewright.bundle.manifest import Layout, TensorSpec

    return TensorSpec(source.input_name, source.spec.input_shape, "float32", Layout.NCHW)


def test_strided_layers_pad_as_tensorflow_does() -> None:
    network = EfficientNetLite0()
    # 224 is even and the kernel 3: nothing before, one row and column after.
    assert network._conv_stem.around == (0, 1, 0, 1)
    shape = network._conv_stem(torch.zeros(1, 3, 224, 224)).shape
    assert shape == (1, 32, 112, 112)


def test_no_weights_and_wrong_weights_are_messages(cache: Path) -> None:
    with pytest.raises(ModelError, match="scripts/samples efficientnet"):
        factory(None)
    with pytest.raises(ModelError, match="does not hold the weights of EfficientNet-Lite0"):
        factory(cache / "imagenet_classes.txt")
