"""Packs the edgewright that runs here into a wheel, so that a board gets exactly this one.

Works from a source checkout (an editable install) and from an ordinary install, needs neither a network nor a build
tool, and gives the same bytes for the same files.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import zipfile
from importlib import metadata
from pathlib import Path

from edgewright.deploy.errors import DeployError

__all__ = ["DISTRIBUTION", "pack_own_wheel"]

DISTRIBUTION = "edgewright"
_WHEEL = "Wheel-Version: 1.0\nGenerator: edgewright\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16
_SKIPPED = (".pyc", ".pyo")


def pack_own_wheel(folder: Path) -> Path:
    """Writes the wheel.

    Args:
        folder: Where it goes; it exists.

    Returns:
        Its path.

    Raises:
        DeployError: edgewright was not installed by pip or the like, so that nothing says what it needs.
        OSError: It cannot be written.
    """
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        msg = (
            "this edgewright was not installed, so its requirements are not known; pip install it, then run this again"
        )
        raise DeployError(msg) from error
    info = f"{DISTRIBUTION}-{distribution.version}.dist-info"
    files = {**_modules(), **_information(distribution, info)}
    files[f"{info}/RECORD"] = _record(files, info)
    target = folder / f"{DISTRIBUTION}-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _MODE
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return target


def _modules() -> dict[str, bytes]:
    """Every file of every portion: the namespace may lie in one folder, or in one for each half."""
    package = importlib.import_module(DISTRIBUTION)
    found: dict[str, bytes] = {}
    for root in map(Path, package.__path__):
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root)
            hidden = any(part == "__pycache__" or part.startswith(".") for part in inside.parts)
            if path.is_file() and not hidden and path.suffix not in _SKIPPED:
                found[f"{DISTRIBUTION}/{inside.as_posix()}"] = path.read_bytes()
    return dict(sorted(found.items()))


def _information(distribution: metadata.Distribution, info: str) -> dict[str, bytes]:
    """What pip reads, and the licence."""
    kept = {name: distribution.read_text(name) for name in ("METADATA", "entry_points.txt")}
    files = {f"{info}/{name}": text.encode("utf-8") for name, text in kept.items() if text is not None}
    files[f"{info}/WHEEL"] = _WHEEL.encode("ascii")
    for path in distribution.files or ():
        if ".dist-info" in path.parts[0] and "licenses" in path.parts:
            files[f"{info}/{'/'.join(path.parts[1:])}"] = path.read_binary()
    return files


def _record(files: dict[str, bytes], info: str) -> bytes:
    rows = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")
        rows.append(f"{name},sha256={digest},{len(data)}\n")
    return ("".join(rows) + f"{info}/RECORD,,\n").encode("ascii")
