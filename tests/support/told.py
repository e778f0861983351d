"""Checks of the doctor with given answers, in place of the processes that would find them out."""

from __future__ import annotations

from typing import Any

from edgewright.cli.doctor.look import Look, System, Wishes


class Told:
    """Answers without asking; see ``edgewright.cli.doctor.look.Asking``."""

    def __init__(self, answers: dict[str, dict[str, Any]]) -> None:
        self._answers = answers
        self.asked: dict[str, dict[str, Any]] = {}

    def start(self, key: str, probe: str, request: dict[str, Any] | None = None, patience_s: float = 60.0) -> None:
        del probe, patience_s
        self.asked[key] = request or {}

    def started(self, key: str) -> bool:
        return key in self._answers

    def answer(self, key: str) -> dict[str, Any]:
        return self._answers[key]


def look(
    answers: dict[str, dict[str, Any]] | None = None, wishes: Wishes | None = None, system: System | None = None
) -> Look:
    """What checks are given, with these answers and no others."""
    return Look(Told(answers or {}), wishes or Wishes(), system or System())
