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

import contextlib
import hashlib
import json
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
from edgewright.deploy.wheel_index import INDEX, Wheel, Wheelhouse, open_wheelhouse, read_index, write_index
from edgewright.deploy.wheel_name import is_wheel_name, read_wheel_name
from edgewright.deploy.wheel_target import PYTHONS, Target, default_python, target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "EXTRAS",
    "PYTHONS",
    "Target",
    "Wheel",
    "Wheelhouse",
    "default_python",
    "make_wheelhouse",
    "open_wheelhouse",
    "source_constraints",
    "target_of",
]

EXTRAS = ("onnx", "tflite", "webrtc")
"""Extras that make sense on a board."""

_LARGEST_WHEEL = 2 << 30


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
        names = [read_wheel_name(path.name) for path in self.extra_wheels]
        version = read_wheel_name(self.own.name).version
        return (f"{DISTRIBUTION}{extras}=={version}", *(f"{name.package}=={name.version}" for name in names))

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
    replace: bool = False,
) -> Wheelhouse:
    """Collects every wheel that edgewright with these extras needs on a board.

    Args:
        target: The board's interpreter.
        folder: Where the wheels go: a new folder, an empty one, or an earlier wheelhouse for the same board and extras,
            which is kept when it is the same and whole, and replaced when not.
        extras: Any of ``EXTRAS``.
        on_line: Told what is being fetched.
        constraints: A constraints file of pip's; None for whatever fits.
        extra_wheels: Wheels that no index has, such as NVIDIA's ``onnxruntime_gpu``, which takes the place of the
            ``onnx`` extra's own.
        replace: Whether a wheelhouse for another board, Python or other extras gives way.

    Returns:
        The wheelhouse, checked.

    Raises:
        DeployError: A wheel does not exist, no index could be reached, or the folder holds something else, or what another
            board needs.
        OutputError: The folder cannot be written; what was there before still is.
        BrokenPackageError: This environment has no pip.
    """
    _check_request(extras, constraints, extra_wheels)
    has_engine = any(read_wheel_name(path.name).is_onnxruntime for path in extra_wheels)
    wanted = tuple(name for name in EXTRAS if name in extras and not (has_engine and name == "onnx"))
    listed = _listed(folder)
    if listed is not None and not replace:
        _check_same(listed, target, wanted)
    try:
        with tempfile.TemporaryDirectory(prefix="edgewright-wheel-") as scratch:
            own = pack_own_wheel(Path(scratch))
            request = _Request(target, wanted, own, tuple(extra_wheels), constraints)
            if listed is not None and listed.request == request.digest():
                # One that is damaged is made again.
                with contextlib.suppress(DeployError):
                    return open_wheelhouse(folder)
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
        if not path.is_file() or not is_wheel_name(path.name):
            msg = f"{path} is no wheel; name a file such as onnxruntime_gpu-1.23.0-cp310-cp310-linux_aarch64.whl"
            raise DeployError(msg)


def _listed(folder: Path) -> Wheelhouse | None:
    """What the wheelhouse that is there says of itself; None when there is none, or one damaged beyond telling."""
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
        return read_index(folder)
    except DeployError:
        return None


def _check_same(former: Wheelhouse, target: Target, extras: Sequence[str]) -> None:
    """Refuses to replace what another board may still be installed from."""
    if _purpose(former.target, former.extras) == _purpose(target, extras):
        return
    held, wanted = _in_words(former.target, former.extras), _in_words(target, extras)
    msg = (
        f"{former.folder} holds the wheels for {held}; asked for are those for {wanted}. Name another folder, or say "
        f"--replace to give the former up"
    )
    raise DeployError(msg)


def _purpose(target: Target, extras: Sequence[str]) -> tuple[object, ...]:
    return (target.python, target.architecture, target.platform_tags, tuple(sorted(extras)))


def _in_words(target: Target, extras: Sequence[str]) -> str:
    with_extras = f"with {' and '.join(extras)}" if extras else "without extras"
    return f"{target.named}, up to {target.platform_tags[0]}, {with_extras}"


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


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return sha256_stream(stream, _LARGEST_WHEEL)[0]
