"""Opening an outbox: one process at a time, and a corrupt file is put aside instead of stopping the camera."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from edgewright.sync.errors import OutboxBusyError, OutboxError
from edgewright.sync.record import KIND_RESET, Priority
from edgewright.sync.store import Store
from edgewright.sync.transaction import Changes, NewRow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgewright.sync.config import OutboxConfig

__all__ = ["OutboxLock", "is_corruption", "open_store"]

_SUFFIXES = ("", "-wal", "-shm")


def is_corruption(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file itself is broken; a full or failing disk is an ``OperationalError``."""
    return type(error) is sqlite3.DatabaseError


class OutboxLock:
    """Keeps a second process away from an outbox; the kernel lets go when this one dies, however it dies."""

    def __init__(self, path: Path) -> None:
        """Takes the lock, and makes the folder.

        Raises:
            OutboxBusyError: Another process holds it.
            OutboxError: The folder or the lock file cannot be made.
        """
        lock = path.with_name(path.name + ".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutboxError(
                f"cannot make the outbox {path}: {reason}; choose a folder that can be written"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            msg = f"the outbox {path} is in use by another process; stop it, or give this one a file of its own"
            raise OutboxBusyError(msg) from error

    def release(self) -> None:
        """Lets others in."""
        os.close(self._descriptor)


def open_store(
    path: Path, device: str, config: OutboxConfig, connect: Callable[[Path], sqlite3.Connection]
) -> tuple[Store, str | None]:
    """Opens the file, starting afresh when it is corrupt.

    Returns:
        The store, and what was wrong with the file that had to be put aside (None: nothing). Its reset is already on
        record as an ``outbox.reset`` event.

    Raises:
        OutboxError: The file cannot be opened at all, is newer than this code, or belongs to another device.
    """
    try:
        store, trouble = _open(path, device, config, connect), None
    except sqlite3.DatabaseError as error:
        if not is_corruption(error):
            raise _cannot_open(path, error) from error
        store, trouble = _start_afresh(path, device, config, connect, str(error)), str(error)
    if store.schema > store.newest_schema or store.device != device:
        found = f"schema {store.schema} of device {store.device!r}"
        store.close()
        msg = f"the outbox {path} has {found}; this is device {device!r} with schema {store.newest_schema}: "
        raise OutboxError(msg + "give it a file of its own, or deliver the old rows under the old settings first")
    return store, trouble


def _open(path: Path, device: str, config: OutboxConfig, connect: Callable[[Path], sqlite3.Connection]) -> Store:
    try:
        return Store(path, device, config, connect)
    except (KeyError, ValueError) as error:
        # A valid SQLite file whose meta table is not ours.
        raise sqlite3.DatabaseError(f"not an outbox: {error}") from error


def _cannot_open(path: Path, error: sqlite3.Error) -> OutboxError:
    return OutboxError(f"cannot open the outbox {path}: {error}; check its folder, its owner and the free space")


def _start_afresh(
    path: Path, device: str, config: OutboxConfig, connect: Callable[[Path], sqlite3.Connection], trouble: str
) -> Store:
    aside = path.with_name(path.name + ".corrupt")  # one name: at most one broken file takes space
    try:
        for suffix in _SUFFIXES:
            source = path.with_name(path.name + suffix)
            target = aside.with_name(aside.name + suffix)
            target.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                source.rename(target)
        store = _open(path, device, config, connect)
    except (OSError, sqlite3.Error) as error:
        msg = f"the outbox {path} is corrupt ({trouble}) and a new one cannot be made: {error}; move it away by hand"
        raise OutboxError(msg) from error
    payload = json.dumps({"reason": trouble[:200], "kept_as": aside.name}).encode("ascii")
    try:
        store.apply(Changes(new=[NewRow(KIND_RESET, Priority.CONTROL, time.time(), payload)]))
    except sqlite3.Error as error:
        store.close()
        raise _cannot_open(path, error) from error
    return store
