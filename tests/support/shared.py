"""What is dear to make and that many tests use: made once in a test run, by whichever process needs it first."""

from __future__ import annotations

import fcntl
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from edgewright.optimize.sources import FloatModel

ROOT = Path(__file__).parents[2]

# Exporting takes ten seconds, and twice that while coverage is measured: what it runs has tests of its own.
_EXPORT = """
import pickle, sys
from pathlib import Path
import numpy as np
from edgewright.optimize.sources import load_source
factory, weights, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
source = load_source(factory, weights=weights)
(folder / "model.onnx").write_bytes(source.model)
for name, array in source.spec.arrays.items():
    np.save(folder / "anchors.npy", array)
(folder / "model.pickle").write_bytes(pickle.dumps(source))
"""
_MODELS = {
    "person": ("examples.person.model:factory", "frozen_inference_graph.pb"),
    "mobilenet": ("examples.classifier.model:factory", "mobilenet_v2-b0353104.pth"),
}


def unmeasured() -> dict[str, str]:
    """An environment for children whose coverage nobody needs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")}


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that ``make`` filled, the same one for all processes of the run; nothing may be written to it."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each process has a folder of its own in that of the run.
        base = base.parent
    folder = base / f"shared-{name}"
    with (base / f"shared-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            # Whoever is stopped in the middle leaves nothing that looks finished.
            part = Path(tempfile.mkdtemp(prefix=f"shared-{name}-", dir=base))
            make(part)
            part.rename(folder)
    return folder


def exported(factory: pytest.TempPathFactory, samples: Path, name: str) -> Path:
    """A folder with a network of the examples as ``model.onnx``, and its anchors as ``anchors.npy``."""
    source, weights = _MODELS[name]

    def export(folder: Path) -> None:
        command = [sys.executable, "-c", _EXPORT, source, str(samples / weights), str(folder)]
        done = subprocess.run(command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return made_once(factory, name, export)


def float_model(factory: pytest.TempPathFactory, samples: Path, name: str) -> FloatModel:
    """The same as it was loaded, network and all."""
    model: FloatModel = pickle.loads((exported(factory, samples, name) / "model.pickle").read_bytes())
    return model
