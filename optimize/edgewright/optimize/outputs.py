"""Refusing what could never be written, before minutes of work; saying where room is missing, when it is."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from typing import TYPE_CHECKING

from edgewright.bundle.errors import OutputError
from edgewright.bundle.rules import MANIFEST_FILE
from edgewright.bundle.writer import BUNDLE_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["check_outputs", "room_for_temporary_files"]


@contextlib.contextmanager
def room_for_temporary_files() -> Iterator[None]:
    """Says where room is missing when a library fails to write a temporary file; other failures pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            raise
        msg = (
            f"cannot write temporary files in {tempfile.gettempdir()}: {error.strerror}; make room there, or set TMPDIR "
            "to a folder that has some; nothing was written to the output"
        )
        raise OutputError(msg) from error


def check_outputs(output: Path, folder: Path) -> None:
    """Refuses a bundle or a report that could never be written.

    Args:
        output: The bundle.
        folder: The report's.

    Raises:
        OutputError: Saying what stands in the way.
    """
    if output.suffix == BUNDLE_SUFFIX and output.is_dir():
        msg = f"cannot write bundle {output}: a directory of that name is there; choose another name"
        raise OutputError(msg)
    if folder.exists() and not folder.is_dir():
        msg = f"cannot write the report to {folder}: a file of that name is there; choose another folder with --report"
        raise OutputError(msg)
    if output.is_dir() and not (output / MANIFEST_FILE).is_file():
        msg = f"cannot write bundle {output}: it exists and is not a bundle; remove it or choose another name"
        raise OutputError(msg)
    for target in (output, folder):
        parent = next(parent for parent in target.absolute().parents if parent.exists())
        try:
            tempfile.TemporaryFile(dir=parent).close()
        except OSError as error:
            msg = f"cannot write {target}: {error.strerror or error} ({parent}); choose another place or make room"
            raise OutputError(msg) from error
