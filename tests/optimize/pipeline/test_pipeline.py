"""From a float model to a judged bundle, by the command and by the function."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import write_classifier, write_clip, write_detector, write_labels, write_photos

from edgewright.bundle.reader import open_bundle
from edgewright.cli.main import main
from edgewright.optimize.chain.effort import parse_chain
from edgewright.optimize.contract import Contract
from edgewright.optimize.data.plan import DataChoice
from edgewright.optimize.pipeline import OptimizeRequest, run_optimize
from edgewright.optimize.request import EngineChoice
from edgewright.runtime.bench import BenchSettings
from edgewright.runtime.session import open_session
from edgewright.runtime.verify import verify_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.bundle.manifest import Manifest


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with detector, classifier, clip, photos and labels."""
    folder = tmp_path_factory.mktemp("parts")
    write_detector(folder)
    write_classifier(folder)
    # One frame a second: every fourth one stands for itself.
    write_clip(folder / "clip.avi", 96, rate=1)
    write_labels(folder / "labels.json", range(3, 96, 4))
    write_photos(folder / "photos", 24)
    write_photos(folder / "classes", 24, start=100, by_class=True, film=False)
    return folder


# One pass and one form: what tiny models are timed at must not decide what a test sees.
PLAIN = ("--passes", "minmax", "--ship", "int8")


def detect(parts: Path, output: Path, *more: str) -> int:
    clip = parts / "clip.avi"
    arguments = ["optimize", str(parts / "detector.onnx"), "--spec", str(parts / "spec.toml"), "-o", str(output)]
    pictures = ["--calibrate", f"{clip}#::4", "--select", f"{clip}#2::4", "--agree", f"{clip}#1::4"]
    return main([*arguments, *pictures, *PLAIN, "--runs", "40", *more])


def labelled(parts: Path) -> tuple[str, ...]:
    return ("--labels", str(parts / "labels.json"), "--images", str(parts / "clip.avi"))


def manifest_of(path: Path) -> Manifest:
    with open_bundle(path) as bundle:
        return bundle.manifest


def test_a_detector(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "spot.edge"
    promises = ["--max-drop", "60", "--min-agreement", "20", "--max-size", "1MB"]
    assert detect(parts, output, *labelled(parts), *promises, "--keep-float", "--version", "7") == 0
    said = capsys.readouterr()
    assert said.out.startswith("PASS  bright 7\n")
    assert "[1] load the model" in said.err
    manifest = manifest_of(output)
    assert [variant.name for variant in manifest.variants] == ["int8", "float"]
    assert manifest.provenance.verdict == "PASS"
    assert manifest.provenance.recipe["calibrate"] == "clip.avi#::4"
    assert manifest.provenance.recipe["passes"] == "minmax"
    assert "output" not in manifest.provenance.recipe
    assert manifest.calibration is not None
    assert manifest.calibration.count == 24
    figures = {(metric.name, metric.variant): metric for metric in manifest.metrics}
    assert {name for name, _ in figures} == {
        "ap50", "ap50_drop", "ap", "ap_drop", "boxes_kept", "boxes_extra", "mean_iou", "score_rmse", "agreement_ap50",
    }  # fmt: skip
    assert figures["ap50", "float"].value > 0.5
    assert figures["ap50", "float"].samples == 24
    assert figures["boxes_kept", "int8"].value == pytest.approx(1.0)
    for metric in manifest.metrics:
        assert metric.low < metric.high
        assert metric.confidence == 0.95
        assert len(metric.dataset) == 64
    assert figures["ap50", "int8"].dataset != figures["boxes_kept", "int8"].dataset
    int8, float_ = (variant.latency[0] for variant in manifest.variants)
    assert (int8.runs, float_.runs) == (40, 40)
    assert int8.speedup is not None
    assert float_.speedup is None
    assert manifest.golden is not None
    assert manifest.golden.count == 3


def test_the_bundle_proves_itself(parts: Path, tmp_path: Path) -> None:
    output = tmp_path / "spot"
    assert detect(parts, output, "--keep-float") == 0
    report = verify_bundle(output)
    assert report.ok
    assert {(check.variant, check.output) for check in report.checks} == {
        (variant, name) for variant in ("int8", "float") for name in ("codes", "logits")
    }
    with open_bundle(output) as bundle:
        assert bundle.manifest.variant("int8").engine == {}
        open_session(bundle)


@pytest.mark.parametrize(
    ("promises", "status", "code"),
    [
        pytest.param(["--max-size", "100B"], "FAIL", 3, id="too large"),
        pytest.param(["--min-speedup", "1000"], "FAIL", 3, id="too slow"),
        pytest.param(["--min-agreement", "99"], "INCONCLUSIVE", 4, id="too few frames"),
        pytest.param([], "UNJUDGED", 0, id="nothing promised"),
    ],
)
def test_the_verdict_is_the_exit_code_and_the_bundle_is_there(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], promises: list[str], status: str, code: int
) -> None:
    output = tmp_path / "spot.edge"
    assert detect(parts, output, *promises, "--json") == code
    said = capsys.readouterr()
    assert said.err == ""
    report = json.loads(said.out)["report"]
    assert report["verdict"]["status"] == status
    assert manifest_of(output).provenance.verdict == status
    if status == "INCONCLUSIVE":
        assert report["verdict"]["clauses"][0]["frames_needed"] > 24
    assert [variant.name for variant in manifest_of(output).variants] == ["int8"]


def test_a_classifier_with_one_folder_of_photos(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "colour.edge"
    arguments = ["optimize", str(parts / "classifier.onnx"), "--task", "classify", "--resize", "stretch", *PLAIN]
    arguments += ["--calibrate", str(parts / "photos"), "-o", str(output), "--runs", "40"]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert "held out to choose among candidates" in said.err
    assert "held out to measure agreement" in said.err
    assert "same best class" in said.out
    figures = {metric.name: metric for metric in manifest_of(output).metrics}
    assert figures["top1_agreement"].samples == 8
    assert figures["top1_agreement"].low < 0.7


def test_a_classifier_with_labels(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    output = tmp_path / "colour.edge"
    arguments = ["optimize", str(parts / "classifier.onnx"), "--task", "classify", "--resize", "stretch", *PLAIN]
    arguments += ["--class-names", str(tmp_path / "names.txt"), "--labels", str(parts / "classes"), "--max-drop", "40"]
    arguments += ["--mean", "0", "0", "0", "--std", "1", "1", "1"]
    arguments += ["--calibrate", str(parts / "photos"), "-o", str(output), "--runs", "40", "--name", "colours"]
    assert main(arguments) == 0
    manifest = manifest_of(output)
    figures = {(metric.name, metric.variant): metric for metric in manifest.metrics}
    assert figures["top1_accuracy", "float"].value > 0.9
    assert figures["top1_accuracy_drop", "int8"].samples == 24
    assert manifest.name == "colours"
    assert manifest.labels == ("red", "green", "blue")
    assert capsys.readouterr().out.startswith("PASS  colours 1")


def test_a_recipe_gives_the_same_and_flags_win(parts: Path, tmp_path: Path) -> None:
    clip = parts / "clip.avi"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'model = "{parts / "detector.onnx"}"\nspec = "{parts / "spec.toml"}"\noutput = "{tmp_path / "a.edge"}"\n'
        f'calibrate = "{clip}#::4"\nagree = "{clip}#1::4"\nruns = 40\nmax-size = "1MB"\nkeep-float = true\n'
        'passes = ["minmax"]\nship = "int8"\n'
    )
    assert main(["optimize", "--recipe", str(recipe)]) == 0
    assert main(["optimize", "--recipe", str(recipe), "--max-size", "10B", "-o", str(tmp_path / "b.edge")]) == 3
    first, second = manifest_of(tmp_path / "a.edge"), manifest_of(tmp_path / "b.edge")
    assert first.variants[0].sha256 == second.variants[0].sha256
    assert first.calibration == second.calibration
    assert (first.provenance.recipe["max_size"], second.provenance.recipe["max_size"]) == ("1MB", "10B")


def test_the_function_without_the_command(parts: Path, tmp_path: Path) -> None:
    from edgewright.optimize.sources import load_spec

    clip = parts / "clip.avi"
    request = OptimizeRequest(
        model=str(parts / "detector.onnx"),
        output=tmp_path / "spot.edge",
        data=DataChoice(f"{clip}#::4", agree=f"{clip}#1::4"),
        spec=load_spec(parts / "spec.toml"),
        search=EngineChoice(chain=parse_chain(("minmax",)), ship="int8"),
        contract=Contract(max_size=10**6),
        timing=BenchSettings(blocks=2, frames_per_block=5),
        report=tmp_path / "elsewhere",
    )
    result = run_optimize(request)
    assert result.verdict.status.value == "PASS"
    assert result.report_files[0] == tmp_path / "elsewhere" / "report.html"
    assert result.report_files[0].is_file()


def test_no_folder_of_the_workstation_travels(parts: Path, tmp_path: Path) -> None:
    output = tmp_path / "spot"
    assert detect(parts, output, *labelled(parts)) == 0
    # The recipe beside the report is the user's own, to run again: it has paths as they were typed.
    told = [path for path in tmp_path.glob("spot-report/*") if path.name != "recipe.toml"]
    written = [path.read_bytes() for path in [*output.rglob("*"), *told] if path.is_file()]
    assert written
    assert not any(str(parts).encode() in data or str(tmp_path).encode() in data for data in written)
    assert manifest_of(output).provenance.source == "detector.onnx"


def flat_classifier(path: Path) -> Path:
    """2000 classes, none of them above one in a thousand."""
    weights = np.random.default_rng(0).normal(0, 0.02, (3, 2000)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["scores"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2000])
    graph = helper.make_graph(nodes, "flat", [image], [scores], [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_a_classifier_that_is_sure_of_nothing(parts: Path, tmp_path: Path) -> None:
    output = tmp_path / "flat.edge"
    arguments = [
        "optimize",
        str(flat_classifier(tmp_path / "flat.onnx")),
        "--task",
        "classify",
        "--resize",
        "stretch",
        *PLAIN,
    ]
    assert main([*arguments, "--calibrate", str(parts / "photos"), "-o", str(output), "--runs", "5"]) == 0
    figures = {metric.name: metric for metric in manifest_of(output).metrics}
    assert figures["top1_agreement"].samples == 8
    assert figures["top1_score_rmse"].value < 1e-3


def test_copies_of_one_picture_prove_nothing(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, copies = tmp_path / "photos", tmp_path / "copies"
    write_photos(photos, 6, film=False)
    copies.mkdir()
    for number in range(100):
        shutil.copy(parts / "photos" / "photo-000.png", copies / f"{number**2}.png")
    arguments = ["optimize", str(parts / "classifier.onnx"), "--task", "classify", "--resize", "stretch", *PLAIN]
    arguments += ["--calibrate", str(parts / "classes"), "--agree", str(copies), "--min-agreement", "50"]
    assert main([*arguments, "-o", str(tmp_path / "c.edge"), "--runs", "5"]) == 4
    said = capsys.readouterr()
    assert "99 pictures of copies left out of agreement: copies of others" in said.err
    assert "1 pictures" in said.out


@pytest.fixture(scope="module")
def person_bundle(
    person_command: list[str], person_labels: Path, clip: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The real thing on few frames; the full measurement is the demo's."""
    output = tmp_path_factory.mktemp("person") / "person.edge"
    arguments = [*person_command, "--calibrate", f"{clip}#1:160:16", "--agree", f"{clip}#3:240:16", "--keep-float"]
    arguments += ["--labels", str(person_labels), "--images", clip, "--runs", "40", "-o", str(output)]
    arguments += ["--max-size", "4MB", "--max-drop", "30", "--effort", "fast", "--ship", "int8"]
    assert main(arguments) == 0
    return output


def test_the_person_detector(person_bundle: Path) -> None:
    figures = {(metric.name, metric.variant): metric for metric in manifest_of(person_bundle).metrics}
    assert figures["ap50", "float"].value == pytest.approx(0.62, abs=0.01)
    assert figures["ap50", "int8"].value > 0.55
    assert figures["ap50_drop", "int8"].low < figures["ap50_drop", "int8"].high
    assert figures["boxes_kept", "int8"].value > 0.85
    assert verify_bundle(person_bundle).ok


@pytest.mark.parametrize(("drop", "code"), [("30", 0), ("2", 4), ("-30", 3)])
def test_other_promises_on_what_was_measured(
    person_bundle: Path, drop: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(person_bundle), "--max-drop", drop, "--max-size", "4MB", "--json"]) == code
    verdict = json.loads(capsys.readouterr().out)["verdict"]
    clause, size = verdict["clauses"]
    assert (verdict["exit_code"], size["status"]) == (code, "PASS")
    if code == 4:
        assert clause["samples"] == 30
        assert clause["frames_needed"] > 30
        assert f"at least about {clause['frames_needed']:,} labelled frames".replace(",", " ") in clause["sentence"]
