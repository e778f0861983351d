"""A folder with every wheel that a board needs, made on a workstation, so that the board needs no network.

``wheelhouse.json`` lists the wheels with size and SHA-256 and says for which interpreter they are. The folder appears
whole or not at all, and making it again does nothing while it is whole and asked for the same.

Example:
    >>> target = target_of(load_profile("raspberry-pi-5"), "3.11")                    # doctest: +SKIP
    >>> house = make_wheelhouse(target, Path("wheels"), ("onnx",), print)             # doctest: +SKIP
    >>> open_wheelhouse(Path("wheels")).id == house.id                                # doctest: +SKIP
    True
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.atomic import atomic_directory
from edgewright.bundle.digest import sha256_stream
from edgewright.bundle.errors import OutputError
from edgewright.deploy.errors import DeployError
from edgewright.deploy.own_wheel import DISTRIBUTION, pack_own_wheel
from edgewright.deploy.pip_download import download_wheels
from edgewright.deploy.wheel_index import INDEX, Wheel, Wheelhouse, open_wheelhouse, write_index
from edgewright.deploy.wheel_target import PYTHONS, Target, target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "EXTRAS",
    "PYTHONS",
    "Target",
    "Wheel",
    "Wheelhouse",
    "make_wheelhouse",
    "open_wheelhouse",
    "source_constraints",
    "target_of",
]

EXTRAS = ("onnx", "tflite", "webrtc")
"""Extras that make sense on a board."""

_LARGEST_WHEEL = 2 << 30
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._]*)-([A-Za-z0-9._+!]+)(?:-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl")
# Builds of ONNX Runtime share one module's folder: of two, the one installed last would win.
_ENGINE = re.compile(r"onnxruntime([._-]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class _Request:
    """What was asked for; its digest tells whether a wheelhouse is the answer."""

    target: Target
    extras: tuple[str, ...]
    own: Path
    extra_wheels: tuple[Path, ...]
    constraints: Path | None

    def requirements(self) -> tuple[str, ...]:
        """What an environment is told to install."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        _, version = _name_and_version(self.own.name)
        named = ("==".join(_name_and_version(path.name)) for path in self.extra_wheels)
        return (f"{DISTRIBUTION}{extras}=={version}", *named)

    def digest(self) -> str:
        """SHA-256 of everything that determines the wheels, but for what the index offers that day."""
        files = [*self.extra_wheels, self.own, *([self.constraints] if self.constraints else [])]
        said = [self.target.markers(), self.target.platform_tags, self.extras, [_digest(path) for path in files]]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode("utf-8")).hexdigest()


def make_wheelhouse(
    target: Target,
    folder: Path,
    extras: Sequence[str],
    on_line: Callable[[str], None],
    *,
    constraints: Path | None = None,
    extra_wheels: Sequence[Path] = (),
) -> Wheelhouse:
    """Collects every wheel that edgewright with these extras needs on a board.

    Args:
        target: The board's interpreter.
        folder: Where the wheels go: a new folder, an empty one, or an earlier wheelhouse, which is kept when it is the
            same and whole, and replaced when not.
        extras: Any of ``EXTRAS``.
        on_line: Told what is being fetched.
        constraints: A constraints file of pip's; None for whatever fits.
        extra_wheels: Wheels that no index has, such as NVIDIA's ``onnxruntime_gpu``, which takes the place of the
            ``onnx`` extra's own.

    Returns:
        The wheelhouse, checked.

    Raises:
        DeployError: A wheel does not exist, no index could be reached, or the folder holds something else.
        OutputError: The folder cannot be written; what was there before still is.
        BrokenPackageError: This environment has no pip.
    """
    _check_request(extras, constraints, extra_wheels)
    has_engine = any(_ENGINE.match(path.name) for path in extra_wheels)
    wanted = tuple(name for name in EXTRAS if name in extras and not (has_engine and name == "onnx"))
    try:
        with tempfile.TemporaryDirectory(prefix="edgewright-wheel-") as scratch:
            own = pack_own_wheel(Path(scratch))
            request = _Request(target, wanted, own, tuple(extra_wheels), constraints)
            former = _former(folder)
            if former is not None and former.request == request.digest():
                return former
            return _make(request, folder, on_line)
    except OSError as error:  # packing our own wheel, in a temporary folder
        msg = f"cannot write a temporary file: {error.strerror or error}; make room in {tempfile.gettempdir()}"
        raise OutputError(msg) from error


def source_constraints() -> Path | None:
    """The constraints file of the source checkout that edgewright runs from; None where there is none."""
    try:
        origin = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        described = json.loads(origin or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return None
    url = described.get("url", "")
    if not described.get("dir_info", {}).get("editable") or not url.startswith("file://"):
        return None
    found = Path(url.removeprefix("file://")) / "constraints.txt"
    return found if found.is_file() else None


def _check_request(extras: Sequence[str], constraints: Path | None, extra_wheels: Sequence[Path]) -> None:
    unknown = [name for name in extras if name not in EXTRAS]
    if unknown:
        msg = f"no extra {unknown[0][:40]!r} for boards; there are {', '.join(EXTRAS)}"
        raise DeployError(msg)
    if constraints is not None and not constraints.is_file():
        msg = f"there is no constraints file {constraints}"
        raise DeployError(msg)
    for path in extra_wheels:
        if not path.is_file() or not _NAME.fullmatch(path.name):
            msg = f"{path} is no wheel; name a file such as onnxruntime_gpu-1.23.0-cp310-cp310-linux_aarch64.whl"
            raise DeployError(msg)


def _former(folder: Path) -> Wheelhouse | None:
    """The wheelhouse that is there; None when it has to be made, anew or at all."""
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return None
        if not (folder / INDEX).is_file():
            msg = f"{folder} is no wheelhouse and not empty; name a new folder"
            raise DeployError(msg)
    except OSError as error:
        msg = f"cannot read {folder}: {error.strerror or error}"
        raise DeployError(msg) from error
    try:
        return open_wheelhouse(folder)
    except DeployError:  # damaged: that is why it is made again
        return None


def _make(request: _Request, folder: Path, on_line: Callable[[str], None]) -> Wheelhouse:
    with atomic_directory(folder) as beside:
        extras = f"[{','.join(request.extras)}]" if request.extras else ""
        named = [f"{request.own}{extras}", *(str(path.resolve()) for path in request.extra_wheels)]
        download_wheels(request.target, named, beside, request.constraints, on_line)
        for path in (request.own, *request.extra_wheels):
            if not (beside / path.name).exists():  # pip copies local wheels, too; not every version does
                shutil.copyfile(path, beside / path.name)
        wheels = tuple(
            Wheel(path.name, path.stat().st_size, _digest(path), beside) for path in sorted(beside.glob("*.whl"))
        )
        write_index(
            Wheelhouse(beside, request.target, request.extras, request.requirements(), wheels, request.digest())
        )
    return open_wheelhouse(folder)


def _name_and_version(file_name: str) -> tuple[str, str]:
    match = _NAME.fullmatch(file_name)
    if match is None:
        msg = f"{file_name} is not named as wheels are"
        raise DeployError(msg)
    return match[1].replace("_", "-"), match[2]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return sha256_stream(stream, _LARGEST_WHEEL)[0]
