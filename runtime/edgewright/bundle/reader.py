"""Opening a bundle: everything is checked before any engine sees a byte of it.

Invariants:

- ``open_bundle`` returns only when path, size and digest of every file agree with the manifest, the manifest
  agrees with ``manifest.json.sha256``, and no undeclared file is there.
- Declared sizes bound what is read, so a bomb stops at its declaration.
- ``Bundle.read`` checks the digest again: what it returns is what was declared, whatever happened on disk since.

Example:
    >>> with open_bundle(Path("person.edge")) as bundle:          # doctest: +SKIP
    ...     model = bundle.read(bundle.manifest.variants[0].file)
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

from edgewright.bundle.arrays import read_npy
from edgewright.bundle.codec import manifest_from_json
from edgewright.bundle.containers import open_container
from edgewright.bundle.digest import is_sha256_hex, sha256_hex, sha256_stream
from edgewright.bundle.errors import BundleError, IntegrityError
from edgewright.bundle.rules import DIGEST_FILE, MANIFEST_FILE

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from edgewright.bundle.containers import Container
    from edgewright.bundle.manifest import FileEntry, Manifest

__all__ = ["Bundle", "open_bundle"]

_MAX_MANIFEST_BYTES = 8 << 20
_MAX_DIGEST_BYTES = 200
_MAX_FILE_BYTES = 2 << 30  # what a protobuf, and so an ONNX file, can hold


class Bundle:
    """An opened, checked bundle. Close it, or use it as a context manager."""

    def __init__(self, path: Path, container: Container, manifest: Manifest, digest: str) -> None:
        """Use ``open_bundle``."""
        self.path = path
        self.manifest = manifest
        self.digest = digest
        self._container = container
        self._entries = {entry.path: entry for entry in manifest.files}

    def read(self, name: str) -> bytes:
        """The content of one declared file.

        Raises:
            IntegrityError: It is not declared, or it changed since the bundle was opened.
        """
        entry = self._entries.get(name)
        if entry is None:
            msg = f"bundle {self.path} declares no file {name!r}"
            raise IntegrityError(msg)
        data = _read_bounded(self._container, name, entry.bytes, self.path)
        if len(data) != entry.bytes or sha256_hex(data) != entry.sha256:
            raise _changed(self.path, name)
        return data

    def array(self, name: str) -> NDArray[Any]:
        """One declared ``.npy`` file as a read-only array.

        Raises:
            IntegrityError: It is not declared, changed, or not a plain array.
        """
        return read_npy(self.read(name), f"{self.path}: {name}")

    def close(self) -> None:
        """Releases the file."""
        self._container.close()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the bundle."""
        self.close()


def open_bundle(path: Path) -> Bundle:
    """Opens a bundle and checks all of it.

    Args:
        path: A bundle directory or an ``.edge`` file.

    Returns:
        The bundle; ``digest`` is the SHA-256 of its manifest and so stands for every byte in it.

    Raises:
        BundleError: It cannot be read at all.
        ManifestError: The manifest says something it must not say.
        SchemaVersionError: It was written for a newer reader.
        IntegrityError: A file is missing, altered, undeclared, linked or too large; the message names it.
    """
    container = open_container(path)
    try:
        text, digest = _read_manifest(container, path)
        manifest = manifest_from_json(text)
        _check_listing(container, manifest, path)
        for entry in manifest.files:
            _check_file(container, entry, path)
    except BaseException:
        container.close()
        raise
    return Bundle(path, container, manifest, digest)


def _changed(bundle: Path, name: str) -> IntegrityError:
    return IntegrityError(
        f"bundle {bundle}: {name} was altered: its SHA-256 is not the declared one; fetch the bundle again"
    )


def _read_bounded(container: Container, name: str, limit: int, bundle: Path) -> bytes:
    try:
        with container.open(name) as stream:
            return stream.read(limit + 1)
    except (zipfile.BadZipFile, EOFError) as error:  # CRC of the archive disagrees
        raise _changed(bundle, name) from error
    except OSError as error:
        msg = f"bundle {bundle}: cannot read {name}: {error.strerror or error}"
        raise BundleError(msg) from error


def _read_manifest(container: Container, path: Path) -> tuple[str, str]:
    for name, limit in ((MANIFEST_FILE, _MAX_MANIFEST_BYTES), (DIGEST_FILE, _MAX_DIGEST_BYTES)):
        size = container.sizes.get(name)
        if size is None:
            msg = f"{path} is not a bundle: it has no {name}"
            raise IntegrityError(msg)
        if size > limit:
            msg = f"bundle {path}: {name} has {size} bytes, at most {limit} are read"
            raise IntegrityError(msg)
    data = _read_bounded(container, MANIFEST_FILE, _MAX_MANIFEST_BYTES, path)
    declared = _read_bounded(container, DIGEST_FILE, _MAX_DIGEST_BYTES, path)
    digest = declared[:64].decode("ascii", errors="replace")
    if not is_sha256_hex(digest) or declared != f"{digest}  {MANIFEST_FILE}\n".encode():
        msg = f"bundle {path}: {DIGEST_FILE} was altered: it must hold one SHA-256 and the name {MANIFEST_FILE}"
        raise IntegrityError(msg)
    if sha256_hex(data) != digest:
        msg = f"bundle {path}: {MANIFEST_FILE} was altered: it does not match {DIGEST_FILE}; fetch the bundle again"
        raise IntegrityError(msg)
    try:
        return data.decode("utf-8"), digest
    except UnicodeDecodeError as error:
        msg = f"bundle {path}: {MANIFEST_FILE} is not UTF-8: {error}"
        raise IntegrityError(msg) from error


def _check_listing(container: Container, manifest: Manifest, path: Path) -> None:
    declared = {entry.path for entry in manifest.files} | {MANIFEST_FILE, DIGEST_FILE}
    missing = sorted(declared - set(container.sizes))
    if missing:
        msg = f"bundle {path}: {missing[0]} is missing"
        raise IntegrityError(msg)
    foreign = sorted(set(container.sizes) - declared)
    if foreign:
        msg = f"bundle {path}: {foreign[0]} is not declared in {MANIFEST_FILE}"
        raise IntegrityError(msg)
    largest = max(manifest.files, key=lambda entry: entry.bytes)
    if largest.bytes > _MAX_FILE_BYTES:
        msg = f"bundle {path}: {largest.path} declares {largest.bytes} bytes, at most {_MAX_FILE_BYTES} are read"
        raise IntegrityError(msg)


def _check_file(container: Container, entry: FileEntry, path: Path) -> None:
    size = container.sizes[entry.path]
    if size != entry.bytes:
        msg = f"bundle {path}: {entry.path} has {size} bytes, {entry.bytes} are declared; fetch the bundle again"
        raise IntegrityError(msg)
    try:
        with container.open(entry.path) as stream:
            digest, _ = sha256_stream(stream, entry.bytes)
    except (zipfile.BadZipFile, EOFError) as error:
        raise _changed(path, entry.path) from error
    except OSError as error:
        msg = f"bundle {path}: cannot read {entry.path}: {error.strerror or error}"
        raise BundleError(msg) from error
    if digest != entry.sha256:
        raise _changed(path, entry.path)
