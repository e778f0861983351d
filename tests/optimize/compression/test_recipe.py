"""The training steps of a recipe: what may be written, and what is said of what may not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgewright.cli.optimize_request import RECIPE_KEYS, build_request, merge_values
from edgewright.optimize.compression.recipe import parse_qat, parse_steps
from edgewright.optimize.compression.shipped import recipe_path, shipped_recipes
from edgewright.optimize.compression.steps import DistilStep, PruneStep, QatWhen, SparsifyStep, TuneStep
from edgewright.optimize.errors import SpecError
from edgewright.optimize.pruning.settings import Importance, TargetKind
from edgewright.optimize.recipe import load_recipe, recipe_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GIVEN = {"model": "net.onnx", "output": "net.edge", "calibrate": "pictures", "train": "pictures"}


def test_every_kind_of_step_is_read() -> None:
    steps = parse_steps(
        [
            {"do": "distil", "width": 0.5, "labels": 0.2, "train": {"epochs": 3, "rate": 1e-2}},
            {"do": "prune", "macs": 0.5, "importance": "bn", "rounds": 2, "between": 0.5, "round-to": 4},
            {"do": "sparsify", "pattern": [2, 4], "teacher": 0.0},
            {"do": "tune", "temperature": 2},
        ]
    )
    distil, prune, sparsify, tune = steps
    assert isinstance(distil, DistilStep)
    assert (distil.width, distil.terms.labels, distil.train.epochs, distil.train.rate) == (0.5, 0.2, 3.0, 1e-2)
    assert isinstance(prune, PruneStep)
    assert (prune.prune.target.kind, prune.prune.target.share) == (TargetKind.MACS, 0.5)
    assert (prune.prune.importance, prune.prune.round_to, prune.between) == (Importance.BN, 4, 0.5)
    assert isinstance(sparsify, SparsifyStep)
    assert sparsify.sparse.pattern == (2, 4)
    assert isinstance(tune, TuneStep)
    assert [step.label for step in steps] == ["1 distil", "2 prune", "3 sparsify", "4 tune"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"do": "shrink"}, "step 1 has do = 'shrink'; it may be distil, prune, sparsify, tune"),
        ("prune", "do = 'prune'"),
        ({"do": "prune"}, "step 1 \\(prune\\): a pruning target is one of macs, bytes and latency"),
        ({"do": "prune", "macs": 1.5}, "macs is 1.5"),
        ({"do": "prune", "macs": 0.5, "bytes": 0.5}, "macs, bytes was given"),
        ({"do": "prune", "macs": 0.5, "importance": "luck"}, "importance cannot be 'luck'; it may be l1, l2"),
        ({"do": "prune", "macs": 0.5, "machine": "a board"}, "unknown key 'machine'"),
        ({"do": "prune", "macs": 0.5, "between": -1}, "between is -1"),
        ({"do": "prune", "macs": 0.5, "rouns": 2}, "unknown key 'rouns'; it may have .*rounds"),
        ({"do": "prune", "mac": 0.5}, "unknown key 'mac'; it may have .*macs"),
        ({"do": "tune", "train": {"epochs": "many"}}, "train: epochs cannot be 'many'; it must be float"),
        ({"do": "tune", "train": {"epochs": 0}}, "nothing would be trained"),
        ({"do": "tune", "train": 3}, "write train = {"),
        ({"do": "tune", "labels": 0, "teacher": 0}, "nothing to learn from"),
        ({"do": "sparsify"}, "give either share"),
        ({"do": "distil", "width": 0}, "width is 0"),
    ],
)
def test_a_step_that_means_nothing_is_refused_by_name(table: object, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parse_steps([table])


def test_quantization_aware_training_is_asked_for_by_a_word_or_a_table() -> None:
    assert parse_qat({"when": "always", "train": {"epochs": 2}}).settings.train.epochs == 2.0
    assert parse_qat({}).when is QatWhen.NEEDED
    with pytest.raises(SpecError, match="when cannot be 'sometimes'; it may be never, needed, always"):
        parse_qat({"when": "sometimes"})


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_recipe_that_comes_with_the_tool_is_one(name: str) -> None:
    request = build_request(merge_values(GIVEN, name))
    assert request.compression is not None
    assert request.compression.steps or request.compression.qat.when is not QatWhen.NEVER


def test_a_file_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert recipe_path("prune-int8").name == "prune-int8.toml"
    (tmp_path / "prune-int8").write_text("")
    assert recipe_path("prune-int8") == Path("prune-int8")
    with pytest.raises(SpecError, match=r"no recipe 'prune-int9'.*prune-int8"):
        recipe_path("prune-int9")


def test_a_recipe_with_tables_is_written_as_it_was_read() -> None:
    path = recipe_path("distil-prune-int8")
    values = load_recipe(path, RECIPE_KEYS)
    assert tomllib.loads(recipe_text({**values, "model": "a.onnx"})) == {**values, "model": "a.onnx"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train": None, "qat": "always"}, "--qat trains and has no pictures for it; add --train"),
        ({}, "--train is about training, and nothing is trained; add --recipe"),
        ({"qat": "always", "student": "net.onnx"}, "--student cannot be 'net.onnx'; training takes PyTorch networks"),
        ({"qat": "always", "teacher_weights": "a.npz"}, "--teacher-weights a.npz belongs to a network"),
        ({"qat": "always", "distort": {"shft": 1}}, "unknown key 'shft'"),
    ],
)
def test_flags_that_do_not_go_together_are_named(given: dict[str, object], said: str) -> None:
    from edgewright.bundle.errors import EdgewrightError

    values = {key: value for key, value in {**GIVEN, **given}.items() if value is not None}
    with pytest.raises(EdgewrightError, match=said):
        build_request(merge_values(values, None))
