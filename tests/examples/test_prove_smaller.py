"""``scripts/prove_smaller``: what it reads out of a report, and when it calls a promise kept."""

from __future__ import annotations

import copy
import importlib.util
import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@pytest.fixture(scope="module")
def figures(root: Path) -> ModuleType:
    """The module beside the script that reads reports."""
    found = importlib.util.spec_from_file_location("smaller_figures", root / "scripts/smaller_figures.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def row(step: str, form: str, precision: str, macs: int, size: int, **measured: Any) -> dict[str, Any]:
    given = {"speedup": None, "drop": None, "accuracy": [0.93, 0.925, 0.935], "metric": "top1_accuracy"} | measured
    return (
        {"step": step, "format": form, "precision": precision, "macs": macs, "bytes": size}
        | given
        | {
            "parameters": macs // 30,
            "p50_ms": 0.4,
            "agreement": None,
            "failures": [],
        }
    )


# The way of the residual network of examples/fashion, as a report recorded it.
ONNX = [
    row("float", "onnx", "float32", 12523488, 1575554),
    row("1 prune", "onnx", "float32", 6260864, 831443, speedup=[1.793, 1.72, 1.86], drop=[0.54, 0.249, 0.835]),
    row("int8", "onnx", "int8", 6260864, 246594, speedup=[3.07, 2.878, 3.205], drop=[0.53, 0.234, 0.829]),
]
TFLITE = [
    row("float", "tflite", "float32", 12523488, 1574000),
    row("1 prune", "tflite", "float32", 6260864, 829904, speedup=[1.79, 1.738, 1.857], drop=[0.54, 0.249, 0.835]),
    row("int8-tflite", "tflite", "int8", 6260864, 233168, speedup=[4.208, 3.913, 4.573], drop=[0.49, 0.194, 0.789]),
]


def report(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"story": {"path": copy.deepcopy(list(rows))}}


def test_figures_of_the_way_by_format(figures: ModuleType) -> None:
    read = figures.read_pruned(report(*ONNX, *TFLITE))
    assert set(read["formats"]) == {"onnx", "tflite"}
    assert read["formats"]["tflite"]["proved"] is True
    assert read["formats"]["tflite"]["int8"]["times_smaller"] == 6.75
    assert read["formats"]["onnx"]["pruned"]["macs_left"] == 0.4999
    assert read["formats"]["onnx"]["int8"]["times_faster"] == [3.07, 2.88, 3.21]


def test_an_interval_around_the_limit_is_neither_kept_nor_broken(figures: ModuleType) -> None:
    read = figures.read_pruned(report(*ONNX, *TFLITE))
    kept = read["formats"]["onnx"]["kept"]
    assert {name for name, answer in kept.items() if answer is not True} == {"int8_faster"}
    assert kept["int8_faster"] is None
    assert read["proved"] is None


@pytest.mark.parametrize(
    ("index", "change", "broken"),
    [
        (1, {"macs": 6400000}, "macs"),
        (1, {"speedup": [1.4, 1.35, 1.45]}, "pruned_faster"),
        (1, {"drop": [1.5, 1.2, 1.8]}, "pruned_lost"),
        (2, {"speedup": [2.5, 2.4, 2.6]}, "int8_faster"),
        (2, {"bytes": 300000}, "int8_smaller"),
        (2, {"drop": [2.0, 1.6, 2.4]}, "int8_lost"),
        (1, {"failures": ["the time did not fall"]}, "steps"),
    ],
)
def test_each_broken_promise_is_found(figures: ModuleType, index: int, change: dict[str, Any], broken: str) -> None:
    recorded = report(*TFLITE)
    recorded["story"]["path"][index] |= change
    read = figures.read_pruned(recorded)
    assert read["proved"] is False
    assert {name for name, answer in read["formats"]["tflite"]["kept"].items() if answer is False} == {broken}


def test_without_an_interval_or_a_way_nothing_is_told(figures: ModuleType) -> None:
    recorded = report(*TFLITE)
    recorded["story"]["path"][2]["speedup"] = [4.2, None, None]
    assert figures.read_pruned(recorded)["proved"] is None
    for read in (figures.read_pruned, figures.read_person):
        assert read(report())["proved"] is None
        assert read(report(TFLITE[0]))["proved"] is None


def test_a_detector_needs_one_format_that_keeps_all(figures: ModuleType) -> None:
    recorded = report(*ONNX, *TFLITE)
    assert figures.read_person(recorded)["proved"] is True
    recorded["story"]["path"][5]["drop"] = [5.0, 4.0, 6.0]
    assert figures.read_person(recorded)["proved"] is True
    recorded["story"]["path"][2]["drop"] = [5.0, 4.0, 6.0]
    assert figures.read_person(recorded)["proved"] is False
    # A detector may well find more than before.
    recorded["story"]["path"][2]["drop"] = [-2.0, -5.0, 1.0]
    assert figures.read_person(recorded)["proved"] is True


def test_difference_over_pairs(figures: ModuleType) -> None:
    value, low, high = figures.paired_difference([3.0, 4.0, 5.0], [1.0, 2.0, 2.5])
    assert value == pytest.approx(13 / 6)
    # By hand: deviations 0.2887, t of two degrees of freedom 4.3027.
    assert high - value == pytest.approx(4.3027 * 0.28868 / math.sqrt(3), rel=1e-3)
    assert value - low == pytest.approx(high - value)
    assert figures.paired_difference([3.0], [1.0])[1:] == [-math.inf, math.inf]


def test_what_is_missing_ends_the_script_with_two(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(root / "scripts/prove_smaller"), "--data", str(tmp_path), "kill"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert answer["proved"] is None
    assert "examples.fashion.data" in answer["kill"]["why"]
    assert "scripts/samples fashion" in done.stderr


def test_parts_that_are_not_there_are_refused(root: Path) -> None:
    command = [sys.executable, str(root / "scripts/prove_smaller"), "shrink"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "prune, distil, qat, person, kill" in done.stderr
