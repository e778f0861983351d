"""Whether a version is in a range: the same answers as the reference implementation gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from edgewright.cli.doctor.versions import fits

NUMBERS = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
ENDS = st.sampled_from(
    ["", "", "", "a1", "b2", "rc1", ".post1", ".dev1", "rc1.dev2", ".post1.dev3", "-1", "alpha", "c3"]
)
EPOCHS = st.sampled_from(["", "", "", "1!"])
LOCALS = st.sampled_from(["", "", "+cpu", "+cu12.4"])
VERSIONS = st.tuples(EPOCHS, NUMBERS, ENDS).map("".join)
PLAIN = st.tuples(st.sampled_from(["==", "!=", "<=", ">=", "<", ">", "~="]), VERSIONS).map("".join)
PREFIX = st.tuples(st.sampled_from(["==", "!="]), EPOCHS, NUMBERS, st.just(".*")).map("".join)
RANGES = st.lists(st.one_of(PLAIN, PREFIX), min_size=0, max_size=3).map(",".join)


@given(version=st.tuples(VERSIONS, LOCALS).map("".join), specifiers=RANGES)
def test_as_the_reference_says(version: str, specifiers: str) -> None:
    try:
        wanted = SpecifierSet(specifiers).contains(Version(version), prereleases=True)
    except InvalidSpecifier:
        assert fits(version, specifiers) in {None, False}
        return
    assert fits(version, specifiers) is wanted


@pytest.mark.parametrize(
    ("version", "specifiers"),
    [
        ("of unknown version", ">=1"),
        ("1.0", "===1.0"),
        ("1.0", "@ https://example.org/a.whl"),
        ("1.0", ">=one"),
        ("1.0", "~=1"),
        ("1.0", ">=1.*"),
        ("1.0", "==1.0+cpu"),
        ("1" * 500, ">=1"),
        ("1.0", ">=1," * 200),
    ],
)
def test_what_is_not_understood_is_not_judged(version: str, specifiers: str) -> None:
    assert fits(version, specifiers) is None


def test_one_clause_that_does_not_hold_is_enough() -> None:
    assert fits("1.0", ">=2,===1.0") is False
