"""The training steps of a recipe: ``[[step]]`` and ``[qat]`` tables to settings.

[[step]]
do = "distil"
width = 0.5                       # the student: a copy with half of the channels; --student names another
labels = 0.3                      # what the loss is made of: labels, teacher, features
teacher = 1.0
train = { epochs = 8, rate = 2e-3 }

[[step]]
do = "prune"
macs = 0.5                        # what shall remain: macs, bytes or latency
importance = "activation"
rounds = 2
train = { epochs = 4, rate = 1e-3 }

[qat]
when = "needed"
train = { epochs = 1, rate = 1e-4 }
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from edgewright.optimize.compression.steps import (
    DistilStep,
    PruneStep,
    QatChoice,
    QatWhen,
    SparsifyStep,
    Terms,
    TuneStep,
)
from edgewright.optimize.compression.tables import check_keys, settings_from
from edgewright.optimize.errors import SpecError
from edgewright.optimize.pruning.settings import PruneSettings, PruneTarget
from edgewright.optimize.pruning.sparse import SparseSettings
from edgewright.optimize.qat.train import QatSettings
from edgewright.optimize.training.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgewright.optimize.compression.steps import Step

__all__ = ["parse_qat", "parse_steps"]

_KINDS = ("distil", "prune", "sparsify", "tune")
_TERMS = frozenset(field.name for field in fields(Terms))
_SHARED = frozenset({"do", "train"})
# Where a latency counts is no choice of a recipe: it is measured where the recipe runs.
_TARGETS = frozenset(field.name for field in fields(PruneTarget)) - {"machine"}
_PRUNE = frozenset(field.name.replace("_", "-") for field in fields(PruneSettings)) - {"target"}
_SPARSE = frozenset(field.name for field in fields(SparseSettings))


def parse_steps(tables: Sequence[Any]) -> tuple[Step, ...]:
    """Reads ``[[step]]`` tables.

    Args:
        tables: As TOML gives them.

    Raises:
        SpecError: A table asks for something that there is not; the message names it and what there is.
    """
    return tuple(_step(table, number) for number, table in enumerate(tables, start=1))


def parse_qat(table: Mapping[str, Any]) -> QatChoice:
    """Reads the ``[qat]`` table.

    Args:
        table: As TOML gives it.

    Raises:
        SpecError: It asks for something that there is not.
    """
    where = "[qat]"
    how = {key: value for key, value in table.items() if key not in {"when", "train"}}
    given = {"train": _train(table, where, QatSettings().train)}
    settings = settings_from(QatSettings, how, where, given=given)
    when = {"when": table.get("when", QatWhen.NEEDED.value)}
    return settings_from(QatChoice, when, where, given={"settings": settings})


def _step(table: Any, number: int) -> Step:
    if not isinstance(table, dict) or table.get("do") not in _KINDS:
        found = table.get("do") if isinstance(table, dict) else table
        msg = f"the recipe's step {number} has do = {found!r}; it may be {', '.join(_KINDS)}"
        raise SpecError(msg)
    kind = table["do"]
    where = f"step {number} ({kind})"
    given: dict[str, Any] = _given(_terms(table, where, Terms()), _train(table, where, TrainSettings()))
    given["label"] = f"{number} {kind}"
    besides = _SHARED | _TERMS
    if kind == "distil":
        return settings_from(DistilStep, table, where, besides=besides, given=given)
    if kind == "tune":
        return settings_from(TuneStep, table, where, besides=besides, given=given)
    if kind == "sparsify":
        given["sparse"] = settings_from(SparseSettings, table, where, besides=besides)
        return settings_from(SparsifyStep, table, where, besides=besides | _SPARSE, given=given)
    # Before the target is looked for: of a misspelt one it would say that there is none.
    check_keys(table, besides | _TARGETS | _PRUNE | {"between"}, where)
    given["prune"] = _prune(table, where, besides | {"between"})
    return settings_from(PruneStep, table, where, besides=besides | _TARGETS | _PRUNE, given=given)


def _prune(table: Mapping[str, Any], where: str, besides: frozenset[str]) -> PruneSettings:
    target = settings_from(PruneTarget, {key: value for key, value in table.items() if key in _TARGETS}, where)
    return settings_from(PruneSettings, table, where, besides=besides | _TARGETS, given={"target": target})


def _given(terms: Terms, train: TrainSettings) -> dict[str, Any]:
    return {"terms": terms, "train": train}


def _terms(table: Mapping[str, Any], where: str, plain: Terms) -> Terms:
    defaults = {field.name: getattr(plain, field.name) for field in fields(Terms)}
    return settings_from(Terms, defaults | {key: value for key, value in table.items() if key in _TERMS}, where)


def _train(table: Mapping[str, Any], where: str, plain: TrainSettings) -> TrainSettings:
    written = table.get("train", {})
    if not isinstance(written, dict):
        msg = f"the recipe's {where}: train cannot be {written!r}; write train = {{ epochs = 4, rate = 1e-3 }}"
        raise SpecError(msg)
    defaults = {key.replace("_", "-"): value for key, value in plain.to_json().items() if value is not None}
    return settings_from(TrainSettings, {**defaults, **written}, f"{where}, train")
