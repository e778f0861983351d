"""The steps of a recipe, run by the command on a slice of real pictures: what comes out, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgewright.bundle.reader import open_bundle
from edgewright.cli.main import main
from edgewright.runtime.session import open_session

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = """
[distort]
mirror = true

[[step]]
do = "distil"
teacher = 1.0
labels = 0.5
train = { epochs = 1, batch = 40, rate = 5e-3, threads = 1, evaluations = 2 }

[[step]]
do = "prune"
macs = 0.6
importance = "activation"
ratios = "sensitivity"
round-to = 4
rounds = 2
between = 0.2
train = { epochs = 0.5, batch = 40, rate = 5e-3, threads = 1, evaluations = 1 }

[qat]
when = "always"
pictures = 32
train = { epochs = 0.2, batch = 20, rate = 1e-4, threads = 1, evaluations = 1 }
"""


@dataclass(frozen=True)
class Run:
    bundle: Path
    report: dict[str, Any]
    folder: Path


def optimize(pictures: Path, out: Path, recipe: str, *further: str) -> int:
    out.mkdir(exist_ok=True)
    (out / "recipe.toml").write_text(recipe, encoding="utf-8")
    test = pictures / "test"
    return main(
        [
            *("optimize", "examples.fashion.residual:student", "--recipe", str(out / "recipe.toml")),
            *("--train", str(pictures / "train.npz"), "--calibrate", str(pictures / "calibrate")),
            *("--select", str(pictures / "select"), "--labels", str(test / "labels.csv"), "--images", str(test)),
            *("--passes", "minmax", "--ship", "int8", "--runs", "40", "-o", str(out / "small.edge"), *further),
        ]
    )


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("smaller")
    assert optimize(pictures, out, RECIPE, "--formats", "onnx,tflite", "--keep-float") == 0
    report = json.loads((out / "small-report/report.json").read_text(encoding="utf-8"))
    return Run(out / "small.edge", report, out)


def test_the_path_tells_what_every_step_did_in_both_formats(run: Run) -> None:
    path = run.report["story"]["path"]
    steps = [(row["step"], row["format"]) for row in path]
    assert [step for step, kind in steps if kind == "onnx"][:3] == ["float", "1 distil", "2 prune"]
    assert len([kind for _, kind in steps if kind == "tflite"]) == 4
    for kind in ("onnx", "tflite"):
        given, distilled, pruned, integer = (row for row in path if row["format"] == kind)
        assert distilled["macs"] == given["macs"]
        assert 0.35 * given["macs"] < pruned["macs"] <= 0.6 * given["macs"]
        assert pruned["parameters"] < given["parameters"]
        assert integer["bytes"] < pruned["bytes"] < given["bytes"]
        assert integer["macs"] == pruned["macs"]
        assert all(row["metric"] == "top1_accuracy" and row["p50_ms"] > 0 for row in path)


def test_the_bundle_holds_the_small_network_and_the_one_that_was_given(run: Run) -> None:
    with open_bundle(run.bundle) as bundle:
        assert bundle.manifest.variant("float").bytes > 2 * bundle.manifest.variants[0].bytes
        picture = np.full((28, 28, 3), 90, np.uint8)
        for variant in bundle.manifest.variants:
            assert len(open_session(bundle, variant.name).infer(picture).scores)


def test_the_judge_holds_it_against_the_network_that_was_given(run: Run) -> None:
    by_model = {
        row["variant"]: row["value"] for row in run.report["labelled"]["metrics"] if row["name"] == "top1_accuracy"
    }
    start = next(row for row in run.report["story"]["path"] if row["step"] == "float")
    assert by_model["float"] == pytest.approx(start["accuracy"][0])


def test_what_was_trained_is_told_and_drawn(run: Run) -> None:
    distil, prune, aware = run.report["story"]["training"]
    assert "passes over the training pictures in 10 steps" in distil["sentence"]
    assert prune["pruning"]["groups"]
    qat = next(row for row in run.report["story"]["trials"] if row["name"] == "qat")
    assert qat["kept"]
    assert "simulation and file agree on" in qat["why"]
    assert aware["sentence"] == qat["why"]
    page = (run.folder / "small-report/report.html").read_text(encoding="utf-8")
    assert "The way to a smaller network" in page
    assert "accuracy against median time of a frame" in page
    assert page.count("loss of the training pictures") == 1  # two looks make a curve, and one none
    assert "The way to a smaller network" in (run.folder / "small-report/report.md").read_text(encoding="utf-8")


def test_the_recipe_beside_the_report_holds_the_steps(run: Run) -> None:
    text = (run.folder / "small-report/recipe.toml").read_text(encoding="utf-8")
    assert text.count("[[step]]") == 2
    assert "[qat]" in text


def test_a_file_cannot_be_pruned(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Run) -> None:
    with open_bundle(run.bundle) as bundle:
        variant = bundle.manifest.variant("float")
        (tmp_path / "net.onnx").write_bytes(bundle.read(variant.file))
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[step]]\ndo = "prune"\nmacs = 0.5\n')
    code = main(
        [
            *("optimize", str(tmp_path / "net.onnx"), "--task", "classify", "--resize", "stretch"),
            *("--recipe", str(recipe), "--train", str(pictures / "train.npz")),
            *("--calibrate", str(pictures / "calibrate"), "-o", str(tmp_path / "x.edge")),
        ]
    )
    said = capsys.readouterr().err
    assert code == 2
    assert "step 1 prune trains a PyTorch network" in said
    assert "load the model" not in said
    assert not (tmp_path / "x.edge").exists()


@pytest.mark.parametrize(
    ("labels", "written", "said"),
    [
        ("teacher", None, "--train-labels teacher writes boxes for detectors, and fashion-student is no detector"),
        ("none.csv", None, "there are no labels at none.csv"),
        ("wrong.csv", "file,label\na.png,unicorn\n", "unicorn"),
        ("wrong.json", "{", "wrong.json"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_refused_by_the_plan(
    labels: str,
    written: str | None,
    said: str,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if written is not None:
        (tmp_path / labels).write_text(written, encoding="utf-8")
    recipe = '[[step]]\ndo = "tune"\ntrain = { epochs = 0.2, batch = 20, threads = 1 }\n'
    select = str(pictures / "select")
    assert optimize(pictures, tmp_path / "a", recipe, "--train", select, "--train-labels", labels, "--plan") == 2
    assert said in capsys.readouterr().err


def test_judged_pictures_are_never_trained_on(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = '[[step]]\ndo = "tune"\ntrain = { epochs = 0.2, batch = 20, threads = 1 }\n'
    code = optimize(
        pictures,
        tmp_path / "a",
        recipe,
        "--train",
        str(pictures / "select"),
        "--train-labels",
        str(pictures / "select/labels.csv"),
    )
    assert code == 2
    assert "all 40 are judged on" in capsys.readouterr().err
