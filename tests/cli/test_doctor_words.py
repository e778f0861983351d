"""Rules that every finding in the doctor's code keeps, read off the code itself: no machine shows all of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgewright.cli import doctor

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = sorted(Path(doctor.__file__).parent.glob("*.py"))
DOUBLED = re.compile(r"\b([A-Za-z]+) \1\b")


def findings_without_remedy(source: str) -> Iterator[int]:
    """Lines of findings that may be other than ok and say nothing of what to do."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Finding":
            if any(isinstance(argument, ast.Starred) for argument in call.args):
                continue  # read from another machine
            state = call.args[2]
            fine = isinstance(state, ast.Name) and state.id == "OK"
            remedy = call.args[4] if len(call.args) > 4 else None
            if not fine and (remedy is None or (isinstance(remedy, ast.Constant) and not remedy.value)):
                yield call.lineno


def doubled_words(source: str) -> Iterator[str]:
    for text in ast.walk(ast.parse(source)):
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and (found := DOUBLED.search(text.value)):
            yield found.group()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_is_not_well_has_a_remedy(file: Path) -> None:
    assert list(findings_without_remedy(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_word_is_said_twice(file: Path) -> None:
    assert list(doubled_words(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("call", "caught"),
    [
        ('Finding("a", "b", OK, "c")', False),
        ('Finding("a", "b", WARN, "c")', True),
        ('Finding("a", "b", WARN, "c", "")', True),
        ('Finding("a", "b", UNKNOWN, "c", remedy)', False),
        ('Finding("a", "b", BAD if x else OK, "c")', True),
        ("Finding(*texts)", False),
    ],
)
def test_the_search_finds_what_it_looks_for(call: str, caught: bool) -> None:
    assert bool(list(findings_without_remedy(call))) is caught
    assert list(doubled_words('x = "the the board"')) == ["the the"]


def test_there_is_something_to_search() -> None:
    assert sum(file.read_text(encoding="utf-8").count("Finding(") for file in FILES) > 80


def test_every_constant_name_of_a_finding_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/doctor.md").read_text(encoding="utf-8")
    for file in FILES:
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Finding":
                for word in call.args[:2]:
                    if isinstance(word, ast.Constant):
                        assert str(word.value) in page, f"{file.name}:{call.lineno}: {word.value}"
