"""A profile that was written reads back as the same profile."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.device_profiles.errors import ProfileError
from edgewright.device_profiles.flat import assemble, flatten
from edgewright.device_profiles.profile import (
    DeviceProfile,
    Known,
    Origin,
    list_profiles,
    load_profile,
    parse_profile,
    profile_toml,
)
from edgewright.device_profiles.rules import (
    BACKENDS,
    FIELDS,
    FORMAT_FIELDS,
    KERNEL,
    PROVIDER_OPTIONS,
    Flag,
    Number,
    Scalar,
    Text,
    Texts,
    text_problem,
)

# The first of two is at most the second.
BOUNDS = (("threads", "cores"), ("warn_celsius", "throttle_celsius"), ("memory_max_mb", "memory_mb"))
WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
LINES = st.lists(WORDS, min_size=1, max_size=4).map(" ".join).filter(lambda text: text_problem(text) is None)
PIPELINE = "v4l2src device=/dev/video{sensor} ! video/x-raw,width={width},height={height},framerate={fps}/1 ! appsink"


def values(rule: Any) -> st.SearchStrategy[Any]:
    if isinstance(rule, Number):
        return st.integers(int(rule.low), int(rule.high)) if rule.whole else st.floats(rule.low, rule.high)
    if isinstance(rule, Flag):
        return st.booleans()
    if isinstance(rule, Scalar):
        return st.booleans() | st.integers(-(2**40), 2**40) | st.from_regex(r"[A-Z_.:]{1,12}", fullmatch=True)
    if isinstance(rule, Texts):
        return st.lists(values(rule.item), min_size=1, max_size=4, unique=True).map(tuple)
    assert isinstance(rule, Text)
    if rule.choices:
        return st.sampled_from(rule.choices)
    return LINES if rule.pattern is None else st.from_regex(rule.pattern, fullmatch=True).filter(str.isprintable)


def known(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Known[Any]]:
    return st.builds(Known, value, st.sampled_from(Origin), LINES)


@st.composite
def profiles(draw: st.DrawFn) -> DeviceProfile:
    base = draw(st.none() | st.sampled_from(list_profiles()).map(load_profile))
    flat = {} if base is None else flatten(base)
    backends = st.sampled_from(BACKENDS)
    for name in draw(st.sets(st.sampled_from(sorted(set(FIELDS) - {*sum(BOUNDS, ())})), max_size=6)):
        flat[name,] = draw(known(values(FIELDS[name]).filter(lambda value: value != "")))
    for names in draw(st.sets(st.sampled_from(BOUNDS))):
        for name, value in zip(names, sorted(draw(st.tuples(*[st.integers(64, 120)] * 2))), strict=True):
            flat[name,] = draw(known(st.just(value)))
    for name in draw(st.sets(st.sampled_from(sorted(FORMAT_FIELDS)), max_size=3)):
        flat["formats", draw(backends), name] = draw(known(values(FORMAT_FIELDS[name])))
    for name in draw(st.sets(st.sampled_from(sorted(PROVIDER_OPTIONS)), max_size=2)):
        flat["providers", "onnxruntime-cuda", "options", name] = draw(known(values(Scalar())))
    for name in draw(st.sets(st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True), max_size=3)):
        flat["kernels", draw(backends), name] = draw(known(values(KERNEL)))
    if draw(st.booleans()):
        flat["gstreamer", "usb"] = draw(known(st.just(PIPELINE)))
    lineage = () if base is None else (base.name, *base.lineage)
    # A file without a description takes over that of the profile it extends.
    description = draw(LINES)
    return assemble("board", description, lineage, flat)


@settings(max_examples=40)
@given(profiles())
def test_written_and_read_a_profile_is_the_same(profile: DeviceProfile) -> None:
    assert parse_profile(profile_toml(profile), "another name") == profile


@pytest.mark.parametrize("name", list_profiles())
def test_a_shipped_profile_is_written_with_what_differs_from_the_one_it_extends(name: str) -> None:
    profile = dataclasses.replace(load_profile(name), name="copy")
    text = profile_toml(profile)
    assert parse_profile(text, "x") == profile
    assert ("extends" in text) == bool(profile.lineage)
    if name == "generic-arm64":
        assert "cores" not in text
        assert "formats" not in text


def test_a_profile_that_lacks_what_it_extends_cannot_be_written() -> None:
    less = dataclasses.replace(load_profile("raspberry-pi-5"), name="less", backends=None)
    with pytest.raises(ProfileError, match="extends 'armv8.2-dotprod' and lacks its backends"):
        profile_toml(less)
