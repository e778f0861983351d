"""What the documentation shows: every command is run by some test, and where and with what is said.

The commands themselves run in ``test_demo`` and in ``test_docs_*``, see ``docs_commands``.
"""

from __future__ import annotations

import os
import re

import pytest
from docs_commands import HELP, PAGES, PARTS, ROOT, commands, commands_of, shown

from edgewright.cli import main as cli


def test_a_page_that_uses_samples_fetches_them_first() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        used = re.search(r"\$cache|\$data|\.cache/edgewright/samples|vtest\.avi|carphone", text)
        fetched = text.find("scripts/samples")
        assert used is None or 0 <= fetched <= used.start() or page.parent.name in {"adr", "reference"}, page


def test_a_page_that_uses_the_examples_says_where_to_run() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if any("examples." in command for command in shown(text)):
            assert re.search(r"root of (the|a) (repository|checkout)", text), page


def test_nothing_shown_is_forgotten() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in [*PAGES, ROOT / "CONTRIBUTING.md"])
    for script in sorted(set(re.findall(r"(?m)^\s*(scripts/\w+)", text))):
        assert os.access(ROOT / script, os.X_OK), script
    assert len(commands()) >= 20
    assert all(any(verb in command for command in commands()) for verb in cli.VERBS)


def test_every_page_is_in_one_part_that_runs_its_commands() -> None:
    pages = [page for part in PARTS.values() for page in part]
    assert len(set(pages)) == len(pages)
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        if name not in pages and list(shown(page.read_text(encoding="utf-8"))):
            pytest.fail(f"nobody runs the commands of {name}: put it into a part of docs_commands.PARTS")
    assert HELP in pages
    assert sorted(command for part in PARTS for command in commands_of(part)) == sorted(commands())
