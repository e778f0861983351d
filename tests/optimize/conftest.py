"""Parts that the judge's tests share: the real samples and the real person detector as a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from shared import float_model, unmeasured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.optimize.sources import FloatModel

ROOT = Path(__file__).resolve().parents[2]
# What their tests start only times models, which tests/runtime/bench measures the coverage of.
_ONLY_TIMING = {"chain", "pipeline", "report"}


@pytest.fixture(scope="module", autouse=True)
def _unmeasured_timing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measuring the coverage of children takes a quarter of their time."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.parent.name in _ONLY_TIMING:
            for name in set(os.environ) - set(unmeasured()):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real models and pictures; absent ones are a failure, never a skip."""
    command = [sys.executable, str(ROOT / "scripts/samples"), "--offline", "--json", "person"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    if answer["missing"]:
        pytest.fail(f"run `scripts/samples person` first; missing: {', '.join(answer['missing'])}")
    return Path(answer["cache"])


@pytest.fixture(scope="session")
def clip(samples: Path) -> str:
    """The street clip."""
    return str(samples / "vtest.avi")


@pytest.fixture(scope="session")
def person_labels() -> Path:
    """Boxes of 30 of its frames."""
    return ROOT / "examples" / "person" / "vtest_person_dev.json"


@pytest.fixture(scope="session")
def person(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    """The exported person detector."""
    return float_model(tmp_path_factory, samples, "person")


@pytest.fixture(scope="session")
def person_command(person: FloatModel, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command's first words for the person detector, as a plain file with a spec, so that torch stays out."""
    import numpy as np

    from edgewright.bundle.manifest import SsdDecode

    folder = tmp_path_factory.mktemp("person")
    pre, decode = person.spec.preprocess, person.spec.decode
    assert isinstance(decode, SsdDecode)
    (folder / "person.onnx").write_bytes(person.model)
    np.save(folder / "anchors.npy", person.spec.arrays[decode.anchors])
    spec = {
        "model": {"name": "person", "task": "detect", "labels": list(person.spec.labels)},
        "preprocess": {
            "resize": pre.resize.value,
            "width": pre.width,
            "height": pre.height,
            "scale": pre.scale,
            "mean": list(pre.mean),
            "std": list(pre.std),
        },
        "decode": {
            "head": "ssd",
            "boxes": decode.boxes,
            "scores": decode.scores,
            "anchors": "anchors.npy",
            "order": decode.order.value,
            "activation": decode.activation.value,
        },
    }
    lines = []
    for section, keys in spec.items():
        # JSON's texts, numbers and lists are TOML's, too.
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    (folder / "spec.toml").write_text("\n".join(lines), encoding="utf-8")
    return ["optimize", str(folder / "person.onnx"), "--spec", str(folder / "spec.toml")]
