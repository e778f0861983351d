"""Which form is shipped, by rule."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.device_profiles.profile import load_profile
from edgewright.optimize.contract import Contract, Measured
from edgewright.optimize.errors import SpecError
from edgewright.optimize.shipping import FormFigures, another_kind, choose_form
from edgewright.runtime.machine import Machine


def row(name: str, speed: float, *, loss: float = 0.1, spread: float = 0.05, **more: object) -> FormFigures:
    speedup = Measured(speed, speed - spread, speed + spread, 60)
    figures = FormFigures(name, "int8", 1000, loss=loss, agreement=97.0, speedup=speedup)
    return dataclasses.replace(figures, **more)


STATIC = row("int8", 1.8)


def test_the_fastest_faithful_form_goes() -> None:
    assert choose_form([STATIC, row("uint8-input", 2.1)], Contract()).name == "uint8-input"


def test_of_two_equally_fast_the_more_faithful_goes() -> None:
    assert choose_form([STATIC, row("uint8-input", 1.82, loss=0.2)], Contract()).name == "int8"


def test_a_form_that_is_less_faithful_beyond_noise_comes_behind() -> None:
    assert choose_form([STATIC, row("dynamic", 2.5, loss=0.9, worse=True)], Contract()).name == "int8"


def test_a_form_that_keeps_the_contract_beats_a_faster_one_that_does_not() -> None:
    slow = row("float16", 1.1, agreement=99.9)
    chosen = choose_form([STATIC, slow], Contract(min_agreement=99))
    assert chosen.name == "float16"
    assert "keeps every promise" in chosen.why
    assert choose_form([STATIC, slow], Contract(min_agreement=99, min_speedup=1.5)).name == "int8"
    assert choose_form([STATIC, dataclasses.replace(slow, bytes=10)], Contract(max_size=500)).name == "float16"


def test_the_speed_gate_ships_float_and_says_so() -> None:
    chosen = choose_form([row("int8", 0.7), row("dynamic", 0.3)], Contract())
    assert (chosen.name, chosen.judged, chosen.gated) == ("float", "int8", True)
    assert "no form is faster than the float model here (int8 0.70x, dynamic 0.30x)" in chosen.why


def test_the_gate_stays_open_while_noise_is_larger_than_the_effect() -> None:
    assert choose_form([row("int8", 0.97, spread=0.1)], Contract()).name == "int8"


def test_for_a_board_of_another_architecture_the_clock_here_says_nothing() -> None:
    assert choose_form([row("int8", 0.7), row("dynamic", 3.0)], Contract(), foreign=True).name == "int8"


def test_what_is_wanted_by_name_goes_whatever_was_measured() -> None:
    assert choose_form([STATIC, row("dynamic", 0.2, worse=True)], Contract(), "dynamic").name == "dynamic"
    with pytest.raises(SpecError, match="there is no form 'int4' to ship; this chain makes int8"):
        choose_form([STATIC], Contract(), "int4")
    broken = FormFigures("float16", "float16", 10, problem="the engine refuses it")
    with pytest.raises(SpecError, match="cannot be shipped: the engine refuses it"):
        choose_form([STATIC, broken], Contract(), "float16")


def test_a_form_that_cannot_be_run_is_never_chosen() -> None:
    broken = FormFigures("float16", "float16", 10, problem="the engine refuses it")
    assert choose_form([STATIC, broken], Contract(max_size=500)).name == "int8"


@given(st.lists(st.tuples(st.floats(0.2, 4), st.floats(0, 1), st.booleans()), min_size=1, max_size=5))
def test_whatever_is_shipped_is_not_slower_than_float_beyond_noise(rows: list[tuple[float, float, bool]]) -> None:
    forms = [row(f"f{k}", speed, loss=loss, worse=worse) for k, (speed, loss, worse) in enumerate(rows)]
    chosen = choose_form(forms, Contract())
    by_name = {form.name: form for form in forms}
    if chosen.name == "float":
        assert all(form.speedup.high < 1 for form in forms if form.speedup is not None)
    else:
        assert by_name[chosen.name].speedup.high >= 1  # type: ignore[union-attr]


X86, ARM = "x86_64", "aarch64"


@pytest.mark.parametrize(
    ("profile", "architecture", "instructions", "foreign"),
    [
        ("generic-x86-avx2", X86, ("avx2", "avx512f", "avx512_vnni"), True),
        ("generic-x86-avx2", X86, ("avx2", "avx_vnni"), True),
        ("generic-x86-avx2", X86, ("avx2",), False),
        ("generic-x86-vnni", X86, ("avx2",), True),
        ("generic-x86-vnni", X86, ("avx2", "avx_vnni"), False),
        ("generic-x86-vnni", X86, ("avx512_vnni",), True),
        ("armv8.2-dotprod", ARM, ("asimd",), True),
        ("armv8-a", ARM, ("asimd", "asimddp"), True),
        ("armv8-a", ARM, ("asimd",), False),
        ("raspberry-pi-4", X86, ("avx2",), True),
        ("x86-64", X86, ("avx2", "avx512_vnni"), False),
        ("generic-x86-avx2", X86, (), False),
    ],
)
def test_a_board_is_of_another_kind(
    profile: str, architecture: str, instructions: tuple[str, ...], foreign: bool
) -> None:
    machine = Machine("x", architecture, 4, instructions, "Linux")
    assert another_kind(load_profile(profile), machine) is foreign
