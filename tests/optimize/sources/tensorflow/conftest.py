"""TensorFlow models, written once by a process of their own, and what the reading process says of the bad ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}


def run(*command: str) -> None:
    """Runs Python on something in the repository; its output is the failure's message."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=QUIET, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small models."""
    folder = tmp_path_factory.mktemp("tensorflow")
    run(str(HERE / "make_models.py"), str(folder))
    return folder


REFUSED = {
    "recurrent.keras": "Keras model",
    "grey.keras": "Keras model",
    "uint8.keras": "Keras model",
    "open.keras": "Keras model",
    "flat.keras": "Keras model",
    "two.keras": "Keras model",
    "loop": "SavedModel",
    "python": "SavedModel",
    "file": "SavedModel",
    "gamma": "SavedModel",
    "batch": "SavedModel",
    "unsigned": "SavedModel",
    "dynamic.tflite": "TFLite model",
    "int8.tflite": "TFLite model",
    "float16.tflite": "TFLite model",
    "loop.tflite": "TFLite model",
    "cut.pb": "TensorFlow frozen graph",
    "empty.pb": "TensorFlow frozen graph",
    **{
        f"{file}.pb#{inputs}#{outputs}": "TensorFlow frozen graph"
        for file, inputs, outputs in (
            ("graph", "", ""),
            ("graph", "nothing", "raw_scores"),
            ("graph", "image", "raw_scores"),
            ("graph", "as_float", "final"),
            ("graph", "raw_scores", "as_float"),
            ("strange", "as_float", "strange"),
            ("huge", "as_float", "added"),
        )
    },
}
"""What is refused once TensorFlow is up: file (and cuts of a graph), and its format."""


@pytest.fixture(scope="session")
def refusals(models: Path) -> dict[str, str]:
    """The reading process's error for each of ``REFUSED``; one process for all, for starting it is dear."""
    questions = []
    for key, kind in REFUSED.items():
        name, inputs, outputs = [*key.split("#"), "", ""][:3]
        question = {"do": "convert", "format": kind, "path": str(models / name), "where": name, "size": None}
        question |= {"inputs": inputs.split(",") if inputs else [], "outputs": outputs.split(",") if outputs else []}
        if kind == "TensorFlow frozen graph":
            question["size"] = [16, 12]
        questions.append(json.dumps(question | {"onnx": str(models / "refused.onnx")}) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "edgewright.optimize.sources.tf.child"],
        input="".join(questions),
        env=QUIET,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if len(lines) != len(REFUSED):
        pytest.fail(f"the process answered {len(lines)} of {len(REFUSED)}, then: {done.stderr[-2000:]}")
    return {key: json.loads(line).get("error", "accepted") for key, line in zip(REFUSED, lines, strict=True)}
