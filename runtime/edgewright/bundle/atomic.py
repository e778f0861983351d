"""Files and directories that appear whole or not at all.

Every writer of edgewright goes through here: write beside the target, fsync, rename. A crash or a full disk
leaves what was there before.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from typing import TYPE_CHECKING

from edgewright.bundle.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["atomic_directory", "atomic_path", "write_bytes", "write_text"]


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(target: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(
        f"cannot write {target}: {reason}; nothing was left half-written, choose another place or make room"
    )


def _beside(target: Path) -> Path:
    """A name in the target's folder that nobody uses, with its suffix."""
    return target.with_name(f".{target.stem}.{secrets.token_hex(6)}{target.suffix}")


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``target`` that replaces it when the block ends well.

    Args:
        target: The file to appear. Missing parent folders are made.

    Yields:
        A path in the same folder (so the rename stays on one file system) with the target's suffix.

    Raises:
        OutputError: The folder or file cannot be written; the target is as it was.
    """
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(target)
        temporary.touch(exist_ok=False)  # with the permissions any new file gets here
        yield temporary
        _fsync_file(temporary)
        temporary.replace(target)
        _fsync_directory(target.parent)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Gives a temporary folder beside ``target`` that becomes it when the block ends well.

    An existing ``target`` directory is moved aside first and removed only after the new one stands.

    Args:
        target: The directory to appear.

    Yields:
        An empty directory in the same parent folder.

    Raises:
        OutputError: The directory cannot be written; the target is as it was.
    """
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(target)
        temporary.mkdir()
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                _fsync_file(path)
        _swap_directory(temporary, target)
        _fsync_directory(target.parent)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _swap_directory(new: Path, target: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    aside = _beside(target)
    target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def write_bytes(target: Path, data: bytes) -> None:
    """Writes ``data`` to ``target`` whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_text(target: Path, text: str) -> None:
    """Writes UTF-8 ``text`` to ``target`` whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    write_bytes(target, text.encode("utf-8"))
