"""Where TensorFlow and PyTorch are not installed, both formats are made all the same, and a Keras file names the extra."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from chain_models import classes_command

if TYPE_CHECKING:
    from pathlib import Path

# Run by every Python that is started here, those that the optimizer starts included.
ABSENT = """
import sys
from importlib.machinery import PathFinder

NAMES = {"tensorflow", "keras", "tf2onnx", "torch", "litert_torch", "ai_edge_quantizer", "jax"}


class Lean(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in NAMES else super().find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Lean
"""


@pytest.fixture
def lean(tmp_path: Path) -> dict[str, str]:
    """An environment in which these packages are not there."""
    folder = tmp_path / "absent"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ABSENT, encoding="utf-8")
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *([before] if before else [])])}


def edgewright(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgewright.cli.main", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_they_are_really_absent(lean: dict[str, str]) -> None:
    code = "from importlib.util import find_spec; print(find_spec('tensorflow'), find_spec('torch')); import tensorflow"
    done = subprocess.run([sys.executable, "-c", code], env=lean, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "None None"
    assert "ModuleNotFoundError" in done.stderr


def test_an_onnx_file_becomes_both_formats(classes: Path, tmp_path: Path, lean: dict[str, str]) -> None:
    bundle = tmp_path / "a.edge"
    flags = ("--formats", "onnx,tflite", "--passes", "minmax,round-depthwise,dynamic", "--keep-float", "--json")
    done = edgewright(classes_command(classes, bundle, "--min-agreement", "50", *flags), lean)
    assert done.returncode in {0, 3, 4}, done.stderr
    report = json.loads(done.stdout)["report"]
    assert report["tflite_route"] == "edgewright"
    assert [part["format"] for part in (report, *report["further_formats"])] == ["onnx", "tflite"]
    assert edgewright(["verify", str(bundle)], lean).returncode == 0


def test_a_keras_file_names_the_extra(classes: Path, tmp_path: Path, lean: dict[str, str]) -> None:
    model = tmp_path / "some.keras"
    with zipfile.ZipFile(model, "w") as archive:
        for member in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(member, "{}")
    words = classes_command(classes, tmp_path / "a.edge")
    words[1] = str(model)
    done = edgewright(words, lean)
    assert done.returncode == 5, done.stderr
    assert "pip install 'edgewright[tensorflow]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "a.edge").exists()
