"""Labels that tell nothing, boards of another kind, film that is too short: no promise passes on those."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tiny_models import write_classifier, write_clip, write_detector, write_labels, write_photos

from edgewright.cli.main import main
from edgewright.optimize import target
from edgewright.optimize.report.summary import summary_lines
from edgewright.runtime.machine import describe_machine

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = ("--passes", "minmax", "--ship", "int8", "--runs", "20")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    write_detector(folder)
    write_classifier(folder)
    write_clip(folder / "clip.avi", 160, rate=1)
    write_photos(folder / "photos", 40)
    write_photos(folder / "judged", 120, start=100, film=False)
    return folder


def optimize(words: list[str], capsys: pytest.CaptureFixture[str], code: int) -> dict[str, Any]:
    assert main([*words, *PLAIN, "--json"]) == code
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def classify(parts: Path, output: Path, turned: int, *more: str) -> list[str]:
    """The classifier, judged by labels that are ``turned`` classes off."""
    labels = output.with_suffix(".csv")
    labels.write_text("".join(f"photo-{n**2:03d}.png,{(n + turned) % 3}\n" for n in range(100, 220)))
    words = ["optimize", str(parts / "classifier.onnx"), "--task", "classify", "--resize", "stretch", "-o", str(output)]
    words += ["--calibrate", str(parts / "photos"), "--labels", str(labels), "--images", str(parts / "judged")]
    return [*words, *more]


def test_labels_that_float_itself_fails_pass_nothing(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "a.edge"
    report = optimize(classify(parts, bundle, 1, "--max-drop", "20"), capsys, 4)["report"]
    (clause,) = report["verdict"]["clauses"]
    # The drop alone would pass: that is the trap.
    assert clause["high"] < 20
    assert clause["status"] == "INCONCLUSIVE"
    assert clause["frames_needed"] is None
    assert "float itself scores 0.0 % [0.0 to 3.1] on these labels, no better than chance (33 %)" in clause["sentence"]
    assert "check the labels, their order, and the preprocessing" in clause["sentence"]
    # Judged again from the bundle, by whatever limit, it stays open.
    assert main(["report", str(bundle), "--max-drop", "90", "--json"]) == 4
    assert main(["report", str(bundle), "--max-drop", "-90", "--json"]) == 4


def test_without_a_contract_a_note_says_so(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = optimize(classify(parts, tmp_path / "a.edge", 1), capsys, 0)["report"]
    page, text = ((tmp_path / "a-report" / f"report.{kind}").read_text() for kind in ("html", "md"))
    for told in (*summary_lines(report), *report["notes"]), (page,), (text,):
        assert any("float itself scores 0.0 %" in line for line in told)
    assert "These labels tell nothing" in page
    assert "These labels tell nothing" in text


def test_the_right_labels_are_not_doubted(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = optimize(classify(parts, tmp_path / "a.edge", 0, "--max-drop", "20"), capsys, 0)["report"]
    assert report["labelled"]["doubt"] is None
    assert not any("float itself" in note for note in report["notes"])


def detect(parts: Path, output: Path, *more: str) -> list[str]:
    words = ["optimize", str(parts / "detector.onnx"), "--spec", str(parts / "spec.toml"), "-o", str(output)]
    clip = parts / "clip.avi"
    return [*words, "--calibrate", f"{clip}#::4", "--select", f"{clip}#2::4", *more]


def test_boxes_of_other_frames_pass_nothing(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = json.loads(write_labels(tmp_path / "labels.json", range(3, 160, 4)).read_text())
    for box in labels["annotations"]:
        box["image_id"] = 3 + (box["image_id"] - 3 + 8) % 156
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    words = ["--labels", str(tmp_path / "labels.json"), "--images", str(parts / "clip.avi"), "--max-drop", "30"]
    report = optimize(detect(parts, tmp_path / "a.edge", *words), capsys, 4)["report"]
    (clause,) = report["verdict"]["clauses"]
    assert clause["status"] == "INCONCLUSIVE"
    assert clause["frames_needed"] is None
    assert "float itself scores AP at IoU 0.5 0.0" in clause["sentence"]


def test_a_film_too_short_names_the_seconds(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "short.avi", 60, rate=10)
    words = ["--agree", str(clip), "--min-agreement", "90"]
    report = optimize(detect(parts, tmp_path / "a.edge", *words), capsys, 4)["report"]
    (clause,) = report["verdict"]["clauses"]
    assert "spans 3 blocks of 2 s and 8 are needed, so 16 s or more" in clause["sentence"]
    assert clause["frames_needed"] == 8 * clause["samples"] // 3
    assert any("at least 8 are needed" in note and "16 s or more" in note for note in report["notes"])


def test_for_another_kind_of_processor_no_time_of_here_is_judged(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_vnni() -> object:
        machine = describe_machine()
        return type(machine)("x", "x86_64", 2, ("avx2", "avx512_vnni"), machine.system)

    monkeypatch.setattr(target, "describe_machine", with_vnni)
    bundle = tmp_path / "a.edge"
    words = ["--agree", f"{parts / 'clip.avi'}#1::4", "--profile", "generic-x86-avx2", "--min-speedup", "0.01"]
    told = optimize(detect(parts, bundle, *words), capsys, 4)
    report = told["report"]
    (clause,) = report["verdict"]["clauses"]
    assert clause["status"] == "INCONCLUSIVE"
    assert "another kind of processor" in clause["sentence"]
    assert not any("quieter machine" in note for note in report["notes"])
    assert report["judged"]["foreign"]
    page, text = ((tmp_path / "a-report" / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert "this machine's, not the board's" in page
    assert "this machine's, not the board's" in text
    assert [name.rpartition("/")[2] for name in told["files"]] == [
        "report.html",
        "report.json",
        "report.md",
        "recipe.toml",
    ]
    assert main(["report", str(bundle), "--min-speedup", "0.01", "--json"]) == 4
    capsys.readouterr()
    # A bundle without labels is told so in words that fit the verb.
    assert main(["report", str(bundle), "--max-drop", "2"]) == 2
    assert "was made without labels" in capsys.readouterr().err


def test_inspect_tells_how_it_came_about(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "a.edge"
    words = ["--agree", f"{parts / 'clip.avi'}#1::4", "--max-size", "1MB", "--profile", "generic-x86-vnni"]
    optimize(detect(parts, bundle, *words, "--leave-float", "relu"), capsys, 0)
    assert main(["inspect", str(bundle)]) == 0
    told = capsys.readouterr().out
    assert "promised     --max-size 1MB" in told
    assert "made for     generic-x86-vnni" in told
    assert "passes       minmax" in told
    assert "float nodes  1: relu" in told
    assert main(["verify", str(bundle)]) == 0
    files = capsys.readouterr().out.split(" files,")[0].rsplit(" ", 1)[-1]
    assert f"files        {files} " in told


def test_a_share_for_a_percentage_is_refused_wherever_it_is_given(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.toml").write_text("min-agreement = 0.9\n")
    words = [*detect(parts, tmp_path / "a.edge"), *PLAIN]
    for more in (["--min-agreement", "0.9"], ["--recipe", str(tmp_path / "r.toml")]):
        assert main([*words, *more]) == 2
        assert "did you mean 90?" in capsys.readouterr().err
    assert not (tmp_path / "a.edge").exists()
    assert main([*words, "--agree", f"{parts / 'clip.avi'}#1::4"]) == 0
    capsys.readouterr()
    assert main(["report", str(tmp_path / "a.edge"), "--min-agreement", "0.9"]) == 2
    assert "did you mean 90?" in capsys.readouterr().err


def test_labels_without_class_names_are_told_what_to_give(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = classify(parts, tmp_path / "a.edge", 0)
    (tmp_path / "a.csv").write_text("photo-10000.png,unicorn\n")
    assert main([*words, *PLAIN]) == 2
    said = capsys.readouterr().err
    assert "'unicorn'" in said
    assert "--class-names" in said


def test_few_selection_pictures_are_told(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--select", f"{parts / 'clip.avi'}#2:26:4", "--agree", f"{parts / 'clip.avi'}#1::4"]
    assert main([*detect(parts, tmp_path / "a.edge", *few), *PLAIN]) == 0
    said = capsys.readouterr().err
    # In time to stop and give more.
    assert 0 < said.index("only 6 selection pictures") < said.index("quantize and measure the plain candidate")
    assert said.count("only 6 selection pictures") == 1
    report = json.loads((tmp_path / "a-report" / "report.json").read_text(encoding="utf-8"))
    assert sum(note.startswith("only 6 selection pictures") for note in report["notes"]) == 1
    many = ["--agree", f"{parts / 'clip.avi'}#1::4"]
    notes = optimize(detect(parts, tmp_path / "b.edge", *many), capsys, 0)["report"]["notes"]
    assert not any("selection pictures:" in note for note in notes)
