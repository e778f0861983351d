"""What a deployment was asked for, and what follows from it for a board."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from edgewright.bundle.manifest import Format
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.deploy.errors import DeployError
from edgewright.deploy.own_wheel import DISTRIBUTION
from edgewright.deploy.settings import Settings
from edgewright.deploy.steps.release import Release
from edgewright.deploy.wheel_name import needed_glibc, read_wheel_name
from edgewright.runtime.backends.choice import backends_of_profile

if TYPE_CHECKING:
    from pathlib import Path, PurePosixPath

    from edgewright.bundle.manifest import Manifest
    from edgewright.deploy.facts import Facts, Python
    from edgewright.deploy.wheelhouse import Wheelhouse
    from edgewright.device_profiles.profile import DeviceProfile

__all__ = ["Journal", "Packed", "Request", "check_variant", "formats_for", "needed_bytes", "pack", "release_for"]

_EXTRA = {Format.ONNX: "onnx", Format.TFLITE: "tflite"}
_MIB = 1 << 20
# The wheels, and beside them what they unpack to with compiled modules: 3.3 times as much, measured on x86.
_UNPACKED = 5
_ONLINE_BYTES = 700 * _MIB
_SPARE_BYTES = 64 * _MIB
_GLIBC = re.compile(r"^glibc 2\.(\d{1,3})")


class Journal(str, Enum):
    """Where the board's log lies."""

    PERSISTENT = "persistent"
    """On the disk, as the board's system has it; bounded."""
    VOLATILE = "volatile"
    """In memory only: no wear of the card, and nothing left of it after a power cut."""


@dataclass(frozen=True)
class Packed:
    """A bundle that was checked, as one file.

    Attributes:
        file: The ``.edge`` file.
        manifest: What it says of itself.
        digest: SHA-256 of the manifest.
    """

    file: Path
    manifest: Manifest
    digest: str


@dataclass(frozen=True)
class Request:
    """What is wanted.

    Attributes:
        bundle: The bundle.
        profile: The board.
        profile_text: Its TOML, where it is none that ships with edgewright.
        wheelhouse: Wheels to install from; None fetches them from the package index on the board.
        own_wheel: Edgewright's own wheel, where there is no wheelhouse.
        constraints: Versions that an online installation keeps to.
        environment: On the board, used as it is instead of a new one.
        settings: For the first ``device.toml``.
        config: A whole ``device.toml``.
        service: Whether systemd is to run it.
        journal_mb: Bound of the board's journal.
        journal: Where it lies.
        wait_s: Longest wait until the service is ready.
        longest_skew_s: How far the board's clock may be off.
    """

    bundle: Packed
    profile: DeviceProfile
    profile_text: str | None = None
    wheelhouse: Wheelhouse | None = None
    own_wheel: Path | None = None
    constraints: Path | None = None
    environment: PurePosixPath | None = None
    settings: Settings = field(default_factory=Settings)
    config: str | None = None
    service: bool = True
    journal_mb: int = 64
    journal: Journal = Journal.PERSISTENT
    wait_s: float = 120.0
    longest_skew_s: float = 300.0


def pack(path: Path, scratch: Path) -> Packed:
    """Opens a bundle, which checks all of it, and makes one file of a folder.

    Args:
        path: Bundle directory or ``.edge`` file.
        scratch: Where the file goes that is made of a folder.

    Raises:
        BundleError: It is no whole bundle.
    """
    with open_bundle(path) as bundle:
        if not path.is_dir():
            return Packed(path, bundle.manifest, bundle.digest)
        target = scratch / f"{path.name}.edge"
        write_bundle(target, bundle.manifest, {entry.path: bundle.read(entry.path) for entry in bundle.manifest.files})
    return pack(target, scratch)


def formats_for(packed: Packed, profile: DeviceProfile) -> tuple[Format, ...]:
    """The formats of the bundle that the board's backends run.

    Raises:
        DeployError: There is none.
        BackendError: The profile names a backend that there is not.
    """
    backends = backends_of_profile(profile)
    runs = {name.file_format for name in backends} if backends else set(Format)
    has = {variant.format for variant in packed.manifest.variants}
    if not has & runs:
        variants = ", ".join(variant.name for variant in packed.manifest.variants)
        flags = " ".join(sorted(f"--format {form.value}" for form in runs))
        msg = (
            f"{packed.file.name} has no variant for {profile.name}: it has {variants}, the board runs "
            f"{', '.join(name.value for name in backends)}; make it again with edgewright optimize {flags}"
        )
        raise DeployError(msg)
    return tuple(form for form in Format if form in has & runs)


def check_variant(packed: Packed, profile: DeviceProfile, name: str | None) -> None:
    """Refuses a variant that is not in the bundle, or that the board's backends do not run.

    Raises:
        DeployError: It is such a one; the message lists those that would do.
    """
    if name is None:
        return
    formats = formats_for(packed, profile)
    fitting = [variant.name for variant in packed.manifest.variants if variant.format in formats]
    if name in fitting:
        return
    found = next((variant for variant in packed.manifest.variants if variant.name == name), None)
    seen = "is none of it" if found is None else f"is a {found.format.value} file, which the board does not run"
    msg = f"--variant {name[:60]!r} {seen}; {packed.file.name} has for {profile.name}: {', '.join(fitting)}"
    raise DeployError(msg)


def needed_bytes(request: Request, *, release_there: bool = False) -> tuple[int, int]:
    """Room where releases lie, and where the bundle and the service's data do.

    The bundle arrives beside the releases and is copied from there where its place is on another disk.

    Args:
        request: What is wanted.
        release_there: Whether only the bundle is to come.
    """
    bundle = request.bundle.file.stat().st_size
    if release_there:
        release = 0
    elif request.environment is not None:
        release = _MIB
    elif request.wheelhouse is not None:
        release = _UNPACKED * request.wheelhouse.bytes
    else:
        release = _ONLINE_BYTES
    spare = 0 if release_there else _SPARE_BYTES
    return release + bundle + spare, bundle + _SPARE_BYTES


def release_for(
    request: Request, facts: Facts, python: Python, incoming: PurePosixPath, *, vendor_engine: bool
) -> Release:
    """What is to be installed there.

    Args:
        request: What is wanted.
        facts: Of the board.
        python: The interpreter to use.
        incoming: Where wheels arrive; each release has its own folder in it.
        vendor_engine: Whether the system has the vendor's ONNX Runtime, which is then used.

    Raises:
        DeployError: The wheelhouse is for another processor, or for a newer C library.
    """
    house = request.wheelhouse
    if request.environment is not None:
        digest = _digest(str(request.environment))
        return Release(f"env-{digest}", python.path, environment=request.environment)
    if house is not None:
        if house.target.architecture != facts.machine:
            msg = (
                f"the wheelhouse {house.folder} is for {house.target.named}, the board is a {facts.machine}; make one for "
                f"it: edgewright wheelhouse DIR --profile {request.profile.name} --python {python.short}"
            )
            raise DeployError(msg)
        _check_glibc(house, facts)
        requirements = tuple(map(_without_engine, house.requirements)) if vendor_engine else house.requirements
        name = house.id if not vendor_engine else f"{house.id}-system"
        files = tuple(wheel.path for wheel in house.files)
        return Release(name, python.path, files, requirements, system_packages=vendor_engine)
    if request.own_wheel is None:
        msg = "nothing says what to install; this is a defect of edgewright"
        raise DeployError(msg)
    wheel = request.own_wheel
    extras = [_EXTRA[form] for form in formats_for(request.bundle, request.profile)]
    extras = [extra for extra in extras if not (vendor_engine and extra == "onnx")]
    version = read_wheel_name(wheel.name).version
    constraints = request.constraints.read_bytes() if request.constraints is not None else b""
    digest = _digest(
        hashlib.sha256(wheel.read_bytes()).hexdigest(),
        ",".join(extras),
        hashlib.sha256(constraints).hexdigest(),
        python.short,
    )
    name = f"{version}-{digest}" + ("-system" if vendor_engine else "")
    requirement = f"{DISTRIBUTION}[{','.join(extras)}]" if extras else DISTRIBUTION
    return Release(
        name,
        python.path,
        (wheel,),
        (f"{requirement} @ file://{incoming}/wheels-{name}/{wheel.name}",),
        online=True,
        constraints=request.constraints,
        system_packages=vendor_engine,
    )


def _check_glibc(house: Wheelhouse, facts: Facts) -> None:
    """Refuses wheels that pip on the board would not take."""
    there = _GLIBC.search(facts.values.get("libc", ""))
    needed, package = needed_glibc(wheel.name for wheel in house.files)
    if there is None or int(there[1]) >= needed:
        return
    msg = (
        f"the wheelhouse {house.folder} holds {package} for glibc 2.{needed}, the board has 2.{there[1]}; make it again from "
        f'a profile with that C library (glibc = "2.{there[1]}"), or update the board\'s operating system'
    )
    raise DeployError(msg)


def _without_engine(requirement: str) -> str:
    """``edgewright[onnx,tflite]==1`` without the extra that brings an ONNX Runtime of its own."""
    name, bracket, rest = requirement.partition("[")
    if not bracket:
        return requirement
    extras, _, version = rest.partition("]")
    kept = [extra for extra in extras.split(",") if extra != "onnx"]
    return f"{name}[{','.join(kept)}]{version}" if kept else f"{name}{version}"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8")).hexdigest()[:12]
