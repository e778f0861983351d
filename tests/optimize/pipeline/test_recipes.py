"""The recipe beside the report makes the same file again, bit for bit, and tries nothing."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from chain_models import classes_command

from edgewright.bundle.reader import open_bundle
from edgewright.cli.main import main

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path


def shipped(bundle: Path) -> tuple[str, str]:
    with open_bundle(bundle) as opened:
        variant = opened.manifest.variants[0]
        return variant.name, variant.sha256


def again(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[tuple[str, str], dict[str, Any]]:
    """Runs the recipe of ``a.edge`` without any cached step; what it shipped, and its report."""
    recipe = str(folder / "a-report" / "recipe.toml")
    main(["optimize", "--recipe", recipe, "-o", str(folder / "b.edge"), "--no-cache", "--json", *more])
    return shipped(folder / "b.edge"), json.loads(capsys.readouterr().out)["report"]


@pytest.mark.parametrize(
    ("more", "name"),
    [
        pytest.param(["--ship", "uint8-input"], "uint8-input", id="uint8 input"),
        pytest.param(["--ship", "dynamic"], "dynamic", id="dynamic"),
        pytest.param(["--ship", "int8", "--leave-float", "deep"], "int8", id="a node left in float"),
        pytest.param(["--ship", "int8", "--min-agreement", "100"], "int8", id="mixed precision"),
        pytest.param(["--ship", "int8", "--effort", "best"], "int8", id="best"),
    ],
)
def test_a_recipe_makes_the_same_file(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], name: str
) -> None:
    main(classes_command(classes, tmp_path / "a.edge", *more))
    capsys.readouterr()
    recipe = tomllib.loads((tmp_path / "a-report" / "recipe.toml").read_text())
    assert "effort" not in recipe
    assert recipe["ship"] == name
    if "--min-agreement" in more or "--leave-float" in more:
        assert recipe["leave-float"]
    made, report = again(tmp_path, capsys)
    assert made == shipped(tmp_path / "a.edge")
    assert made[0] == name
    assert not any("not kept" in row["why"] and not row["kept"] for row in report["story"]["trials"])
    assert recipe["passes"][0] == report["story"]["trials"][0]["name"]


def test_a_node_that_is_not_there_is_named(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(classes_command(classes, tmp_path / "a.edge", "--leave-float", "deep,dep")) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "'dep'" in said
    assert "deep" in said
    assert not (tmp_path / "a.edge").exists()


def test_a_form_that_the_chain_does_not_make_is_refused_before_any_work(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(classes_command(classes, tmp_path / "a.edge", "--passes", "minmax", "--ship", "dynamic")) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == ["edgewright optimize: --ship dynamic: this chain makes int8 only; name dynamic in --passes as well"]
    assert main(classes_command(classes, tmp_path / "a.edge", "--ship", "int4")) == 2
    assert "there is no form 'int4'" in capsys.readouterr().err


def test_a_form_that_cannot_be_made_of_the_model_is_refused_with_the_reason(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = classes_command(classes, tmp_path / "a.edge", "--passes", "minmax,weight-only", "--ship", "weight-only")
    assert main(words) == 2
    assert "--ship weight-only: " in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())
