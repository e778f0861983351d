"""The two shapes a bundle has on disk, a directory or one ``.edge`` file, behind one seam.

A container lists its files with their sizes and opens one by name. It refuses what could trick a reader before
any byte is interpreted: links, special files, compressed or encrypted members, duplicates, odd paths.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from edgewright.bundle.errors import BundleError, IntegrityError, ManifestError
from edgewright.bundle.rules import MAX_FILES, check_path

if TYPE_CHECKING:
    from collections.abc import Mapping

# Sizes of the fixed parts of a zip (APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16).
_LOCAL_BYTES = 30
_CENTRAL_BYTES = 46
_END_BYTES = 22

__all__ = ["Container", "DirectoryContainer", "ZipContainer", "open_container"]


class Container(Protocol):
    """Read access to the files of a bundle."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Relative path to size in bytes, of every file there is."""

    def open(self, name: str) -> BinaryIO:
        """Opens one of the listed files for reading."""

    def close(self) -> None:
        """Releases what is held open."""


def open_container(path: Path) -> Container:
    """Opens a bundle directory or ``.edge`` file for reading.

    Raises:
        BundleError: There is nothing there, it cannot be read, or it is neither of the two.
        IntegrityError: It holds something a bundle never holds.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = error.strerror if isinstance(error, OSError) else error
        msg = f"cannot read bundle {path}: {reason}; give a bundle directory or an .edge file"
        raise BundleError(msg) from error
    if stat.S_ISDIR(mode):
        return DirectoryContainer(path)
    if stat.S_ISREG(mode):
        return ZipContainer(path)
    msg = f"{path} is neither a bundle directory nor an .edge file"
    raise BundleError(msg)


def _checked_name(name: str, bundle: Path) -> str:
    try:
        check_path(name)
    except ManifestError as error:
        msg = f"bundle {bundle} holds a file it must not hold: {error}"
        raise IntegrityError(msg) from error
    return name


class DirectoryContainer:
    """A bundle as a directory; links are never followed."""

    def __init__(self, root: Path) -> None:
        """Lists the files below ``root``."""
        self._root = root
        self.sizes: Mapping[str, int] = self._list()

    def _list(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        pending = [self._root]
        try:
            while pending:
                with os.scandir(pending.pop()) as entries:
                    for entry in entries:
                        self._note(entry, sizes, pending)
        except OSError as error:
            msg = f"cannot read bundle {self._root}: {error.strerror}"
            raise BundleError(msg) from error
        return sizes

    def _note(self, entry: os.DirEntry[str], sizes: dict[str, int], pending: list[Path]) -> None:
        name = Path(entry.path).relative_to(self._root).as_posix()
        if entry.is_dir(follow_symlinks=False):
            pending.append(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            sizes[_checked_name(name, self._root)] = entry.stat(follow_symlinks=False).st_size
        else:
            msg = f"bundle {self._root}: {name} is a link or a special file, bundles hold plain files only"
            raise IntegrityError(msg)
        if len(sizes) + len(pending) > MAX_FILES + 2:
            msg = f"{self._root} holds more than {MAX_FILES} files: not a bundle"
            raise IntegrityError(msg)

    def open(self, name: str) -> BinaryIO:
        """Opens a file; one that became a link since it was listed is refused."""
        try:
            descriptor = os.open(self._root / name, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            msg = f"bundle {self._root}: cannot read {name}: {error.strerror}"
            raise IntegrityError(msg) from error
        return os.fdopen(descriptor, "rb")

    def close(self) -> None:
        """Nothing is held open."""


class ZipContainer:
    """A bundle as one ``.edge`` file: a zip whose members are stored, read in place."""

    def __init__(self, path: Path) -> None:
        """Opens the archive and checks its directory."""
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            msg = f"{path} is not an .edge file, or was altered or cut short; fetch the bundle again"
            raise IntegrityError(msg) from error
        try:
            self._members = self._list()
        except BaseException:
            self._archive.close()
            raise
        self.sizes: Mapping[str, int] = {name: member.file_size for name, member in self._members.items()}

    def _list(self) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        infos = self._archive.infolist()
        if len(infos) > MAX_FILES + 2:
            msg = f"{self._path} holds {len(infos)} members: not a bundle"
            raise IntegrityError(msg)
        for member in infos:
            name = _checked_name(member.filename, self._path)
            problem = _member_problem(member)
            if name in members:
                problem = "is there twice"
            if problem:
                msg = f"{self._path}: member {name} {problem}"
                raise IntegrityError(msg)
            members[name] = member
        self._check_cover(infos)
        return members

    def _check_cover(self, infos: list[zipfile.ZipInfo]) -> None:
        """Refuses bytes that belong to no member: a prefix, a gap or a tail is nobody's content and in no digest."""
        ordered = sorted(infos, key=lambda member: member.header_offset)
        listing = sum(_CENTRAL_BYTES + len(m.orig_filename.encode()) + len(m.extra) + len(m.comment) for m in infos)
        with self._path.open("rb") as stream:
            place = 0
            for member in ordered:
                stream.seek(member.header_offset)
                header = stream.read(_LOCAL_BYTES)
                if member.header_offset != place or len(header) != _LOCAL_BYTES:
                    break
                place += _LOCAL_BYTES + sum(struct.unpack("<HH", header[26:30])) + member.compress_size
            else:
                place += listing + _END_BYTES
        if place != self._path.stat().st_size:
            msg = f"{self._path} was altered: it holds bytes that belong to no file in it; fetch the bundle again"
            raise IntegrityError(msg)

    def open(self, name: str) -> BinaryIO:
        """Opens a member."""
        try:
            return self._archive.open(self._members[name])  # type: ignore[return-value]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
            msg = f"{self._path}: {name} was altered: its place in the file cannot be read; fetch the bundle again"
            raise IntegrityError(msg) from error

    def close(self) -> None:
        """Closes the archive."""
        self._archive.close()


def _member_problem(member: zipfile.ZipInfo) -> str:
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):  # 0: zip tools that note no file type
        return "is a link or a special file, bundles hold plain files only"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        return "is compressed; bundles store their files plainly"
    return ""
