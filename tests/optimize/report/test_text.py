"""Names out of files do not reach a terminal or a report as they are."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.bundle.text import plain, plain_values
from edgewright.optimize.errors import ModelError
from edgewright.optimize.progress import PlainProgress, RichProgress

EVIL = "conv\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp.exe"
SAFE = "conv\\x1b[2J\\x1b]0;title\\x07\\x9b31m\\u202egnp.exe"


def test_sequences_are_written_out() -> None:
    assert plain(EVIL) == SAFE
    assert plain("Straße, 道路, क\u094d\u200dष\n\tnext") == "Straße, 道路, क\u094d\u200dष\n\tnext"
    assert plain_values({EVIL: [EVIL, 1, None, (True, 0.5)]}) == {SAFE: [SAFE, 1, None, [True, 0.5]]}


@given(st.text())
def test_nothing_unsafe_is_left_and_safe_text_stays(text: str) -> None:
    shown = plain(text)
    assert not [character for character in shown if unicodedata.category(character) == "Cc" and character not in "\n\t"]
    assert plain(shown) == shown
    shown.encode()


def test_progress_and_errors_say_such_names_safely(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    told = PlainProgress(stream)
    with told.stage(EVIL):
        told.note(EVIL)
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().count(SAFE) == 3
    RichProgress().note(EVIL)
    assert "\x1b" not in capsys.readouterr().err
    assert str(ModelError(f"node {EVIL} is odd")) == f"node {SAFE} is odd"
