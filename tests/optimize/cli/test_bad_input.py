"""Bad input: one clear message, exit code 2, and nothing half-written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from small_disk import run_limited
from tiny_models import write_classifier, write_clip, write_detector, write_labels, write_photos

from edgewright.cli.main import main
from edgewright.cli.optimize import RECIPE_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Model, spec, clip and labels that would all be right."""
    write_detector(tmp_path)
    write_classifier(tmp_path)
    write_clip(tmp_path / "clip.avi", 24)
    write_labels(tmp_path / "labels.json", range(0, 24, 2))
    return tmp_path


def words(home: Path, **changes: str | None) -> list[str]:
    """A command line that would work, with some flags changed (or dropped by None)."""
    flags = {
        "spec": str(home / "spec.toml"),
        "calibrate": f"{home / 'clip.avi'}#::4",
        "agree": f"{home / 'clip.avi'}#1::4",
    }
    flags |= {"output": str(home / "out" / "spot.edge"), "runs": "20"}
    given = {**flags, **changes}
    model = given.pop("model", str(home / "detector.onnx"))
    told = [f"--{key.replace('_', '-')}={value}" for key, value in given.items() if value is not None]
    return ["optimize", *([model] if model else []), *told]


def empty(home: Path) -> str:
    (home / "empty").mkdir()
    return str(home / "empty")


def broken_video(home: Path) -> str:
    (home / "broken.mp4").write_bytes(bytes(range(256)) * 64)
    return str(home / "broken.mp4")


def wrong_labels(home: Path) -> dict[str, str]:
    return {"labels": str(write_labels(home / "far.json", range(20, 40))), "images": str(home / "clip.avi")}


def recipe(text: str) -> Callable[[Path], dict[str, str]]:
    def make(home: Path) -> dict[str, str]:
        (home / "recipe.toml").write_text(text)
        return {"recipe": str(home / "recipe.toml")}

    return make


def crop_from(home: Path) -> dict[str, str | None]:
    return {"model": str(home / "classifier.onnx"), "spec": None, "task": "classify", "crop_from": "100000"}


CASES: dict[str, tuple[Callable[[Path], dict[str, str | None]], str]] = {
    "no model": (lambda h: {"model": str(h / "lost.onnx")}, "does not exist"),
    "model not named": (lambda _: {"model": ""}, "MODEL is missing"),
    "not ONNX": (lambda h: {"model": str(h / "clip.avi")}, "not an ONNX"),
    "no output": (lambda _: {"output": None}, "-o OUT.edge is missing"),
    "no calibration": (lambda _: {"calibrate": None}, "--calibrate SOURCE is missing"),
    "empty calibration folder": (lambda h: {"calibrate": empty(h)}, "holds no pictures"),
    "video that does not decode": (lambda h: {"calibrate": broken_video(h)}, "nor a video that decodes"),
    "agreement video that does not decode": (lambda h: {"agree": broken_video(h)}, "nor a video that decodes"),
    "labels of other pictures": (wrong_labels, "labelled pictures are not in"),
    "labels without images": (lambda h: {"labels": str(h / "labels.json")}, "needs --images"),
    "drop without labels": (lambda _: {"max_drop": "1"}, "needs --labels"),
    "judged on what it was calibrated on": (
        lambda h: {"agree": f"{h / 'clip.avi'}#::8"},
        "what chooses or judges must not have seen them",
    ),
    "no spec": (lambda _: {"spec": None}, "--task classify"),
    "spec and task": (lambda _: {"task": "classify"}, "give one of the two"),
    "classifier flag without task": (lambda _: {"top_k": "3"}, "add --task classify"),
    "nonsense size": (lambda _: {"max_size": "big"}, "not a size"),
    "nonsense promise": (lambda _: {"min_agreement": "120"}, "above 1 and up to 100"),
    "no threads": (lambda _: {"threads": "0"}, "no number of threads"),
    "too many threads": (lambda _: {"threads": "999999999999"}, "no number of threads"),
    "no runs": (lambda _: {"runs": "-5"}, "--runs cannot be -5"),
    "too many runs": (lambda _: {"runs": "99999999999"}, "give a number from 1 to 1000000"),
    "nobody's folder": (lambda _: {"calibrate": "~nosuchuser/x"}, "cannot be a path"),
    "nobody's weights": (lambda _: {"weights": "~nosuchuser/x"}, "cannot be a path"),
    "a path too long": (lambda _: {"agree": "x" * 300}, "File name too long"),
    "a model path too long": (lambda _: {"model": "x" * 300 + ".onnx"}, "File name too long"),
    "an output path too long": (lambda _: {"output": "x" * 300}, "File name too long"),
    "a path with a zero byte": (recipe('images = "a\\u0000b"'), "cannot be a path"),
    "one picture and nothing to judge on": (
        lambda h: {"calibrate": f"{h / 'clip.avi'}#5", "agree": None},
        "at least 3",
    ),
    "an existing folder that is no bundle": (lambda h: {"output": str(_folder(h / "taken"))}, "is not a bundle"),
    "a crop too large": (crop_from, "crop_from within"),
    "recipe with too many threads": (recipe("threads = 100000"), "no number of threads"),
    "output is a folder": (lambda h: {"output": str(_folder(h / "taken.edge"))}, "a directory of that name"),
    "output under a file": (lambda h: {"output": str(h / "labels.json" / "spot.edge")}, "cannot write"),
    "report is a file": (lambda h: {"report": str(h / "labels.json")}, "a file of that name"),
    "weights for a file": (lambda h: {"weights": str(h / "labels.json")}, "belongs to a package.module:factory"),
    "recipe that is not there": (lambda h: {"recipe": str(h / "lost.toml")}, "cannot read the recipe"),
    "recipe that is no TOML": (recipe("= 3"), "is not TOML"),
    "recipe with an unknown key": (recipe("max-dorp = 3"), "unknown key 'max-dorp'"),
    "recipe with a wrong type": (recipe('threads = "two"'), "threads cannot be 'two'"),
    "recipe with a bad choice": (recipe('effort = "guess"'), "it may be fast"),
    "recipe with a yes for a number": (recipe("runs = true"), "runs cannot be True"),
}


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("case", CASES)
def test_one_clear_message(home: Path, case: str, capfd: pytest.CaptureFixture[str]) -> None:
    change, message = CASES[case]
    given = change(home)
    before = sorted(path for path in home.rglob("*") if "spot" not in path.name)
    assert main(words(home, **given)) == 2
    said = capfd.readouterr()
    told = [line for line in said.err.splitlines() if line.startswith("edgewright optimize: ")]
    assert len(told) == 1
    assert message in told[0]
    assert "Traceback" not in said.err
    assert said.out == ""
    assert sorted(home.rglob("*")) == before


def test_an_older_bundle_survives_a_failed_run(home: Path) -> None:
    output = home / "out" / "spot.edge"
    output.parent.mkdir()
    output.write_bytes(b"older")
    assert main(words(home, calibrate=empty(home))) == 2
    assert output.read_bytes() == b"older"
    assert [path.name for path in output.parent.iterdir()] == ["spot.edge"]


def test_a_full_disk_for_temporary_files(home: Path) -> None:
    done = run_limited(words(home), 1024)
    assert done.returncode == 2
    told = done.stderr.splitlines()[-1]
    assert told.startswith("edgewright optimize: cannot write")
    assert not (home / "out").exists()


def test_a_usage_error_is_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["optimize", "--nonsense"])
    assert left.value.code == 2
    assert "--nonsense" in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("optimize", "report", "bench"):
        with pytest.raises(SystemExit) as left:
            main([verb, "--help"])
        assert left.value.code == 0
        assert f"  edgewright {verb} " in capsys.readouterr().out


def test_every_flag_may_stand_in_a_recipe() -> None:
    import argparse

    from edgewright.cli.optimize import add_arguments

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    flags = {action.dest for action in parser._actions} - {"help", "recipe", "json", "plan", "explain"}
    tables = {"step", "distort"}
    assert flags | tables == set(RECIPE_KEYS)


def test_classifier_size(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = str(write_photos(home / "photos", 9))
    given = {
        "model": str(home / "classifier.onnx"),
        "spec": None,
        "task": "classify",
        "calibrate": photos,
        "agree": None,
    }
    assert main(words(home, **given, size="big")) == 2
    assert "WIDTHxHEIGHT" in capsys.readouterr().err
