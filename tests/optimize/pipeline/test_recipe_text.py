"""What is written as a recipe is read back as it was."""

from __future__ import annotations

import tomllib
from hypothesis import given
from hypothesis import strategies as st

from edgewright.optimize.recipe import recipe_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(TEXT, st.integers(-(2**62), 2**62), st.booleans(), st.floats(allow_nan=False, allow_infinity=False))


@given(st.dictionaries(st.from_regex(r"[a-z]{1,9}(_[a-z]{1,9})?", fullmatch=True), st.one_of(VALUES, st.lists(TEXT))))
def test_a_recipe_is_read_back(values: dict[str, object]) -> None:
    read = tomllib.loads(recipe_text(values))
    assert {key.replace("-", "_"): value for key, value in read.items()} == values
