"""The board a model is for, the speed gate, the forms that are shipped, and contracts that cannot be kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from chain_models import classes_command
from tiny_models import write_classifier, write_clip, write_detector, write_labels, write_photos

from edgewright.bundle.reader import open_bundle
from edgewright.cli.main import main
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.report.summary import summary_lines
from edgewright.runtime.verify import verify_bundle

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = ("--passes", "minmax", "--ship", "int8")


def run(capsys: pytest.CaptureFixture[str], words: list[str], code: int = 0) -> dict[str, Any]:
    assert main([*words, "--json"]) == code
    report: dict[str, Any] = json.loads(capsys.readouterr().out)["report"]
    return report


def test_a_board_that_saturates_gets_other_integers_where_eight_bits_lose(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = classes_command(classes, tmp_path / "a.edge", "--profile", "generic-x86-avx2", "--ship", "int8")
    report = run(capsys, [*words, "--effort", "balanced"])
    target = report["story"]["target"]
    assert target["profile"] == "generic-x86-avx2"
    assert target["reasons"]
    with open_bundle(tmp_path / "a.edge") as bundle:
        codes = [layer.codes for layer in IntegerGraph(bundle.read("models/int8.onnx")).layers]
    seven = all(abs(layer.astype(int)).max() <= 64 for layer in codes)
    assert seven == ("7" in target["scheme"])
    board = next(row for row in report["story"]["boards"] if row["profile"] == "generic-x86-avx2")
    assert board["sentence"]
    assert board["pictures"] == 12


def test_for_another_architecture_the_clock_here_decides_nothing(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = classes_command(classes, tmp_path / "a.edge", "--profile", "raspberry-pi-4", "--passes", "minmax")
    report = run(capsys, words)
    assert "whose speed this machine cannot tell" in report["story"]["choice"]
    with open_bundle(tmp_path / "a.edge") as bundle:
        assert [variant.name for variant in bundle.manifest.variants] == ["int8"]


def test_a_board_that_nobody_knows(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(classes_command(classes, tmp_path / "a.edge", "--profile", "toaster")) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "toaster" in said[0]
    assert "raspberry-pi-4" in said[0] or "profiles list" in said[0]


@pytest.fixture(scope="module")
def gated(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the float model, for every integer form of so small a network is slower."""
    output = tmp_path_factory.mktemp("gated") / "a.edge"
    passes = ("--passes", "minmax,dynamic", "--runs", "120")
    assert main(classes_command(classes, output, *passes, "--max-size", "1MB", "--json")) == 0
    return output


def test_a_slower_integer_model_is_not_shipped(gated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_bundle(gated) as bundle:
        variants = [variant.name for variant in bundle.manifest.variants]
    if variants != ["float"]:
        pytest.fail(f"the network was to be slower in INT8, but {variants} were shipped")
    assert verify_bundle(gated).ok
    told = json.loads((gated.parent / "a-report" / "report.json").read_text())
    assert "the float model is shipped" in told["story"]["choice"]
    recipe = (gated.parent / "a-report" / "recipe.toml").read_text()
    assert "ship" not in recipe
    capsys.readouterr()
    # The float model is exactly as fast as itself: both ways of judging must say the same.
    assert main(["report", str(gated), "--min-speedup", "1.5", "--json"]) == 3
    clause = json.loads(capsys.readouterr().out)["verdict"]["clauses"][0]
    assert clause["status"] == "FAIL"
    assert main(["report", str(gated), "--min-speedup", "0.9", "--min-agreement", "99", "--json"]) == 0


def test_the_summary_says_what_is_shipped(gated: Path) -> None:
    told = json.loads((gated.parent / "a-report" / "report.json").read_text())
    assert any(line.startswith("  float model shipped: ") for line in summary_lines(told))


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spots")
    write_detector(folder)
    write_classifier(folder)
    write_clip(folder / "clip.avi", 96, rate=1)
    write_labels(folder / "labels.json", range(3, 83, 4))
    write_photos(folder / "photos", 9)
    return folder


def detect(spots: Path, output: Path, *more: str) -> list[str]:
    clip = spots / "clip.avi"
    words = ["optimize", str(spots / "detector.onnx"), "--spec", str(spots / "spec.toml"), "-o", str(output)]
    return [*words, "--calibrate", f"{clip}#::4", "--select", f"{clip}#2::4", "--runs", "20", *PLAIN, *more]


def test_a_model_that_takes_bytes_runs_like_any_other(
    spots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "a.edge"
    given = ("--passes", "mean-minmax,uint8-input", "--ship", "uint8-input", "--agree", f"{spots / 'clip.avi'}#1::4")
    report = run(capsys, detect(spots, bundle, *given))
    figures = {row["name"]: row for row in report["agreement"]["metrics"]}
    assert figures["boxes_kept"]["value"] > 0.9
    with open_bundle(bundle) as opened:
        (variant,) = opened.manifest.variants
        assert (variant.name, variant.inputs[0].dtype) == ("uint8-input", "uint8")
    assert main(["verify", str(bundle)]) == 0
    assert main(["bench", str(bundle), "--runs", "10", "--json"]) == 0
    capsys.readouterr()
    assert main(["run", str(bundle), "--source", str(spots / "clip.avi"), "--max-frames", "6", "--no-track"]) == 0
    assert "6 processed of 6 seen" in capsys.readouterr().out


def test_twenty_labelled_pictures_are_too_few_to_tell(
    spots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ("--labels", str(spots / "labels.json"), "--images", str(spots / "clip.avi"))
    report = run(capsys, detect(spots, tmp_path / "a.edge", *labels, "--max-drop", "0.5"), 4)
    assert report["verdict"]["status"] == "INCONCLUSIVE"
    clause = report["verdict"]["clauses"][0]
    assert clause["samples"] == 20
    assert clause["frames_needed"] > 20
    assert str(clause["frames_needed"]) in clause["sentence"].replace(" ", "").replace(",", "")


def test_a_contract_that_cannot_be_kept_leaves_a_labelled_best_effort(
    spots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agree = ("--agree", f"{spots / 'clip.avi'}#1::4")
    report = run(capsys, detect(spots, tmp_path / "a.edge", *agree, "--max-size", "100B"), 3)
    assert report["verdict"]["status"] == "FAIL"
    assert "100" in report["verdict"]["clauses"][0]["sentence"]
    with open_bundle(tmp_path / "a.edge") as bundle:
        assert bundle.manifest.provenance.verdict == "FAIL"
    assert (tmp_path / "a-report" / "report.html").is_file()


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(["--select", "{clip}#::8"], id="selection among calibration"),
        pytest.param(["--agree", "{clip}#::8"], id="agreement among calibration"),
        pytest.param(["--agree", "{clip}#2::8"], id="agreement among selection"),
    ],
)
def test_roles_that_share_pictures_are_refused(
    changed: list[str], spots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.format(clip=spots / "clip.avi") for word in changed]
    assert main(detect(spots, tmp_path / "a.edge", *words)) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "what chooses or judges must not have seen them" in said
    assert not list(tmp_path.iterdir())


def test_one_calibration_picture_with_pictures_to_select_by(
    spots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = spots / "clip.avi"
    words = detect(spots, tmp_path / "a.edge", "--calibrate", f"{clip}#4", "--agree", f"{clip}#1::4")
    assert main(words) == 0
    assert "only 1 calibration pictures" in capsys.readouterr().err
    assert verify_bundle(tmp_path / "a.edge").ok
