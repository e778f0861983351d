"""Writing a bundle, whole or not at all.

The same payload and manifest give the same bytes: zip members carry no times and stand in sorted order.
"""

from __future__ import annotations

import dataclasses
import zipfile
from typing import TYPE_CHECKING

from edgewright.bundle.atomic import atomic_directory, atomic_path
from edgewright.bundle.codec import manifest_to_json
from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.errors import OutputError
from edgewright.bundle.manifest import FileEntry, Manifest
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.rules import DIGEST_FILE, MANIFEST_FILE, check_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["BUNDLE_SUFFIX", "write_bundle"]

BUNDLE_SUFFIX = ".edge"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE_0644 = 0o100644 << 16


def write_bundle(target: Path, manifest: Manifest, payload: Mapping[str, bytes]) -> Manifest:
    """Writes a bundle and reads it back before it appears.

    Args:
        target: ``NAME.edge`` for one file, anything else for a directory.
        manifest: Its ``files`` are replaced by what ``payload`` holds; all else is written as given.
        payload: Path in the bundle to content.

    Returns:
        The manifest as written.

    Raises:
        ManifestError: The manifest does not fit the payload.
        OutputError: The target cannot be written, or is a directory that is not a bundle.
    """
    files = tuple(FileEntry(path, len(payload[path]), sha256_hex(payload[path])) for path in sorted(payload))
    written = dataclasses.replace(manifest, files=files)
    check_manifest(written)
    text = manifest_to_json(written).encode("utf-8")
    content = {
        MANIFEST_FILE: text,
        DIGEST_FILE: f"{sha256_hex(text)}  {MANIFEST_FILE}\n".encode(),
        **{path: payload[path] for path in sorted(payload)},
    }
    if target.suffix == BUNDLE_SUFFIX:
        _write_file(target, content)
    else:
        _write_directory(target, content)
    return written


def _write_file(target: Path, content: Mapping[str, bytes]) -> None:
    if target.is_dir():
        msg = f"cannot write bundle {target}: a directory of that name is there; choose another name"
        raise OutputError(msg)
    with atomic_path(target) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, data in content.items():
                info = zipfile.ZipInfo(name, date_time=_EPOCH)
                info.external_attr = _REGULAR_FILE_0644
                archive.writestr(info, data)
        open_bundle(temporary).close()


def _write_directory(target: Path, content: Mapping[str, bytes]) -> None:
    if target.exists() and not (target / MANIFEST_FILE).is_file():
        msg = f"cannot write bundle {target}: it exists and is not a bundle; remove it or choose another name"
        raise OutputError(msg)
    with atomic_directory(target) as temporary:
        for name, data in content.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        open_bundle(temporary).close()
