"""``--engine neural-compressor``: its tuner and its torch flow, our writer, judge and contract."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from chain_models import SIDE, classes_command

from edgewright.bundle.reader import open_bundle
from edgewright.cli.main import main
from edgewright.runtime.verify import verify_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINE = ("--engine", "neural-compressor", "--ship", "int8", "--effort", "fast")

FACTORY = f"""
import torch
from torch import nn
from edgewright.bundle.manifest import ResizeMode
from edgewright.optimize.spec import ClassifierOptions, SourceModel, classifier_spec

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.ReLU())
        self.head = nn.Linear(8, 6)
    def forward(self, x):
        return self.head(self.deep(self.stem(x)).mean((2, 3)))

def make(weights=None):
    torch.manual_seed(0)
    options = ClassifierOptions(resize=ResizeMode.STRETCH)
    spec = classifier_spec(options, name="net", input_shape=(1, 3, {SIDE}, {SIDE}), scores="scores")
    return SourceModel(Net().eval(), spec, ("scores",))
"""


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "tinyfactory.py").write_text(textwrap.dedent(FACTORY))
    monkeypatch.chdir(tmp_path)
    yield "tinyfactory:make"
    sys.modules.pop("tinyfactory", None)


def test_the_tuner_alone_on_a_file(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = classes_command(classes, tmp_path / "a.edge", *ENGINE, "--min-agreement", "5", "--max-size", "1MB")
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["report"]
    assert report["verdict"]["status"] == "PASS"
    assert any("neural-compressor 3" in note and "configurations tried" in note for note in report["notes"])
    assert report["story"]["target"]["engine"] == "neural-compressor"
    trials = report["story"]["trials"]
    assert trials[0]["name"] == "minmax"
    assert sum(trial["kept"] for trial in trials) == 1
    assert verify_bundle(tmp_path / "a.edge").ok
    with open_bundle(tmp_path / "a.edge") as first:
        digest = first.manifest.variants[0].sha256
    recipe = tmp_path / "a-report" / "recipe.toml"
    assert "engine" not in recipe.read_text()
    main(["optimize", "--recipe", str(recipe), "-o", str(tmp_path / "b.edge"), "--no-cache", "--json"])
    with open_bundle(tmp_path / "b.edge") as second:
        assert second.manifest.variants[0].sha256 == digest


def test_the_torch_flow_is_a_candidate_too(
    factory: str, classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["optimize", factory, "--calibrate", str(classes / "soft"), "-o", str(tmp_path / "a.edge")]
    assert main([*words, "--runs", "20", *ENGINE, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["report"]
    trials = {trial["name"]: trial for trial in report["story"]["trials"]}
    assert "torch flow" in trials, report["notes"]
    assert trials["torch flow"]["loss"] is not None
    # Scales of another tool are in no recipe: then the whole search is run again.
    recipe = (tmp_path / "a-report" / "recipe.toml").read_text()
    assert ("engine" in recipe) == trials["torch flow"]["kept"]
    assert verify_bundle(tmp_path / "a.edge").ok


def test_without_the_package_it_is_told_how_to_install_it(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "neural_compressor"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "neural_compressor", None)
    assert main(classes_command(classes, tmp_path / "a.edge", *ENGINE)) == 5
    said = capsys.readouterr().err.splitlines()[-1]
    assert "pip install" in said
    assert "neural-compressor" in said
    assert not list(tmp_path.iterdir())
