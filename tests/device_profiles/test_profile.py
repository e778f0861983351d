"""Boards as data."""

from __future__ import annotations

import pytest

from edgewright.device_profiles.errors import ProfileError
from edgewright.device_profiles.profile import IntegerDot, Origin, list_profiles, load_profile
from edgewright.runtime.backends.choice import BackendName, backends_of_profile


@pytest.mark.parametrize("name", list_profiles())
def test_every_profile_loads_and_says_how_it_knows(name: str) -> None:
    profile = load_profile(name)
    assert profile.description
    assert profile.architecture is not None
    assert all(known.origin in Origin for known in profile.known().values())
    assert all(known.source for known in profile.known().values())


def test_a_profile_takes_over_what_it_does_not_say() -> None:
    board = load_profile("raspberry-pi-5")
    assert board.lineage == ("armv8.2-dotprod", "armv8-a")
    assert board.instructions is not None
    assert "asimddp" in board.instructions.value
    assert board.architecture == load_profile("armv8-a").architecture


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(ProfileError, match="raspberry-pi-5"):
        load_profile("toaster")


@pytest.mark.parametrize("name", list_profiles())
def test_every_profile_says_which_integers_its_engines_run_best(name: str) -> None:
    profile = load_profile(name)
    assert profile.backends is not None
    for backend in profile.backends.value:
        if backend == "onnxruntime-cuda":  # has hardly any integer operators
            continue
        form = profile.formats[backend]
        assert len(form.known()) == 4
        assert all(f"{backend}.{field}" in profile.known() for field in form.known())


def test_what_sums_of_products_do_is_known_where_the_processor_is() -> None:
    assert load_profile("generic-x86-avx2").saturates
    assert not load_profile("generic-x86-vnni").saturates
    assert load_profile("x86-64").integer_dot is None
    for board in ("raspberry-pi-4", "raspberry-pi-5", "jetson-orin-nano", "generic-arm64"):
        dot = load_profile(board).integer_dot
        assert dot is not None
        assert dot.value == IntegerDot.EXACT


def test_formats_are_taken_over_field_by_field() -> None:
    form = load_profile("generic-x86-avx2").formats["onnxruntime-cpu"]
    assert form.weight_bits is not None
    assert form.weight_bits.value == 7
    vnni = load_profile("generic-x86-vnni").formats["onnxruntime-cpu"]
    assert vnni.activations == load_profile("x86-64").formats["onnxruntime-cpu"].activations


@pytest.mark.parametrize("name", list_profiles())
def test_every_backend_of_a_profile_is_one_that_the_runtime_knows(name: str) -> None:
    backends = backends_of_profile(load_profile(name))
    assert BackendName.ONNXRUNTIME_CPU in backends
    assert BackendName.LITERT_XNNPACK in backends


def test_a_jetson_prefers_its_accelerator() -> None:
    first, second, *_ = backends_of_profile(load_profile("jetson-orin-nano"))
    assert (first, second) == (BackendName.ONNXRUNTIME_TENSORRT, BackendName.ONNXRUNTIME_CUDA)
