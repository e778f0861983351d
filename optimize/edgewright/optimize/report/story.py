"""How a result came about, as the report tells it: what was tried, measured, chosen and left alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Story"]


@dataclass(frozen=True, eq=False)
class Story:
    """JSON values, one field a section of the report.

    Attributes:
        trials: What the chain tried, in order (``Trial.values``).
        forms: First figures of every form (``FormFigures.values``).
        choice: Why the shipped form was chosen.
        recipe: The TOML file that makes the same result again.
        pictures: Records of the calibration and selection pictures (``SampleManifest.to_json``), by role.
        stability: How far scales move between halves of the calibration pictures.
        sensitivity: Tables of the search for regions in float; None when there was none.
        heads: What was found and mended in detection heads.
        boards: What is predicted of boards that compute other sums.
        target: The board it is for and its integers, with reasons.
        parity: Whether the forms say the same, ``outputs`` and ``layers`` (``Parity.to_json``).
        path: What became of the network after every training step (``PathRow.to_json``); empty without any.
        training: How each step was trained, and what it did (``Stepped.to_json``).
    """

    trials: Sequence[Mapping[str, Any]]
    forms: Sequence[Mapping[str, Any]]
    choice: str
    recipe: str
    pictures: Mapping[str, Any]
    stability: Mapping[str, Any]
    sensitivity: Mapping[str, Any] | None = None
    heads: Sequence[Mapping[str, Any]] = ()
    boards: Sequence[Mapping[str, Any]] = ()
    target: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    path: Sequence[Mapping[str, Any]] = ()
    training: Sequence[Mapping[str, Any]] = ()

    def values(self) -> dict[str, Any]:
        """JSON values by section."""
        return {
            "trials": list(self.trials),
            "forms": list(self.forms),
            "choice": self.choice,
            "recipe": self.recipe,
            "pictures_used": dict(self.pictures),
            "stability": dict(self.stability),
            "sensitivity": self.sensitivity,
            "heads": list(self.heads),
            "boards": list(self.boards),
            "target": dict(self.target),
            "parity": dict(self.parity),
            "path": list(self.path),
            "training": list(self.training),
        }
