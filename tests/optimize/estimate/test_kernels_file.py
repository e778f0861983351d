"""The packed kernels are what the script makes of them, and are small."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import io
import sys
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from edgewright.optimize.estimate.rates import read_rates
from edgewright.runtime.probing.kernels import KERNELS_FILE, stored_kernels

ROOT = Path(__file__).resolve().parents[3]
LARGEST = 300_000


@pytest.fixture(scope="module")
def shipped() -> bytes:
    return resources.files("edgewright.runtime.probing").joinpath(KERNELS_FILE).read_bytes()


@pytest.fixture(scope="module")
def script() -> Any:
    loader = importlib.machinery.SourceFileLoader("make_kernels", str(ROOT / "scripts/make_kernels"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # its dataclasses look themselves up
    loader.exec_module(module)
    return module


def _members(packed: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_shipped_kernels_are_what_the_script_makes(shipped: bytes, script: Any) -> None:
    found, made = _members(shipped), _members(script.pack())
    assert sorted(found) == sorted(made)
    # Not `found == made`: the difference of megabytes would be printed.
    assert [name for name in found if found[name] != made[name]] == []


def test_they_are_small_and_come_with_the_package(shipped: bytes) -> None:
    assert len(shipped) < LARGEST


def test_every_kernel_is_there_for_both_formats_and_precisions(shipped: bytes, script: Any) -> None:
    kernels = stored_kernels(shipped)
    assert len(kernels) == 4 * len(script.KERNELS)
    assert {kernel.precision for kernel in kernels} == {"float32", "int8"}
    assert all(kernel.work > 0 for kernel in kernels)


def test_the_estimator_knows_every_key(shipped: bytes) -> None:
    from edgewright.device_profiles.profile import Known, Origin

    for kernel in stored_kernels(shipped):
        rates, _ = read_rates({kernel.key: Known(1.0, Origin.MEASURED, "a test")})
        assert list(rates) == [kernel.precision], kernel.key
