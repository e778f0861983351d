"""What follows for a board from what was asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import pytest
from bundles import write_classifier, write_detector
from wheels import empty_wheel

from edgewright.deploy.errors import DeployError
from edgewright.deploy.facts import Facts, Python
from edgewright.deploy.request import Request, check_variant, pack, release_for
from edgewright.deploy.wheel_index import Wheel, Wheelhouse
from edgewright.deploy.wheel_target import target_of
from edgewright.device_profiles.profile import load_profile

PI = load_profile("raspberry-pi-5")
PYTHON = Python("/usr/bin/python3", "3.11.2", 64, makes_environments=True)


@pytest.mark.parametrize(
    ("libc", "says"),
    [
        ("glibc 2.36", None),
        ("glibc 2.28", None),
        ("glibc 2.27", "holds onnxruntime for glibc 2.28, the board has 2.27"),
        ("musl", None),  # told by others
    ],
)
def test_wheels_for_a_newer_c_library_are_told_before_anything_is_sent(
    libc: str, says: str | None, tmp_path: Path
) -> None:
    own = empty_wheel(tmp_path, "edgewright", "0.1.0")
    engine = empty_wheel(tmp_path, "onnxruntime", "1.23.2", "cp311-cp311-manylinux_2_28_aarch64")
    wheels = tuple(
        Wheel(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), tmp_path)
        for path in (own, engine)
    )
    house = Wheelhouse(tmp_path, target_of(PI, "3.11"), ("onnx",), ("edgewright[onnx]==0.1.0",), wheels)
    request = Request(pack(write_detector(tmp_path / "d.edge"), tmp_path), PI, wheelhouse=house)
    facts = Facts({"machine": "aarch64", "libc": libc}, (PYTHON,))

    def release() -> str:
        return release_for(request, facts, PYTHON, PurePosixPath("/opt/incoming"), vendor_engine=False).name

    if says is None:
        assert release() == house.id
    else:
        with pytest.raises(DeployError, match=says):
            release()


def test_a_variant_that_the_board_does_not_run_is_told_with_those_that_would_do(tmp_path: Path) -> None:
    packed = pack(write_classifier(tmp_path / "c.edge"), tmp_path)
    names = [variant.name for variant in packed.manifest.variants]
    check_variant(packed, load_profile("x86-64"), None)
    check_variant(packed, load_profile("x86-64"), names[0])
    with pytest.raises(DeployError, match=f"'none-such' is none of it; c.edge has for x86-64: {names[0]}"):
        check_variant(packed, load_profile("x86-64"), "none-such")
