"""The report as files: inside the bundle, so that it travels with the model, and in a folder for people."""

from __future__ import annotations

import contextlib
import json
import os
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgewright.bundle.atomic import atomic_path
from edgewright.bundle.errors import BundleError, OutputError
from edgewright.bundle.text import plain_values
from edgewright.optimize.report.data import REPORT_VERSION, Report
from edgewright.optimize.report.render import render_html, render_markdown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edgewright.bundle.reader import Bundle

__all__ = ["FORMATS", "read_report", "report_payload", "staged_report", "write_report"]

_DATA = "report/report.json"
_PICTURES = "report/"
FORMATS = ("html", "json", "md")


def report_payload(report: Report) -> dict[str, bytes]:
    """The report's files for the bundle, by path."""
    data = json.dumps(report.data, indent=1, allow_nan=False).encode()
    return {_DATA: data, **{_PICTURES + name: picture for name, picture in report.pictures.items()}}


def read_report(bundle: Bundle) -> Report:
    """The report a bundle carries.

    Args:
        bundle: Opened and so checked.

    Raises:
        BundleError: It carries none, or one of a newer schema.
    """
    declared = {entry.path for entry in bundle.manifest.files}
    if _DATA not in declared:
        msg = f"bundle {bundle.path} carries no report; make it again with edgewright optimize"
        raise BundleError(msg)
    try:
        data = plain_values(json.loads(bundle.read(_DATA)))
        version, rows = data["schema"]["version"], data["pictures"]
        pictures = {row["file"]: bundle.read(_PICTURES + row["file"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        msg = f"bundle {bundle.path}: {_DATA} is not a report this version understands ({error})"
        raise BundleError(msg) from error
    if version != REPORT_VERSION:
        msg = f"bundle {bundle.path}: its report has schema {version}, this version renders {REPORT_VERSION}; update edgewright"
        raise BundleError(msg)
    return Report(data, pictures)


def write_report(report: Report, folder: Path, formats: tuple[str, ...] = FORMATS) -> tuple[Path, ...]:
    """Writes the report for people; all files or none, others in the folder untouched.

    Args:
        report: What to write.
        folder: Where; made when missing.
        formats: Of ``FORMATS``.

    Returns:
        The report files, in the order of ``formats``; pictures lie beside them.

    Raises:
        OutputError: A file cannot be written.
    """
    with staged_report(report, folder, formats) as files:
        return files


@contextlib.contextmanager
def staged_report(
    report: Report, folder: Path, formats: tuple[str, ...] = FORMATS, beside: Mapping[str, bytes] = MappingProxyType({})
) -> Iterator[tuple[Path, ...]]:
    """The report written beside its place, whole; it takes that place when the block ends well.

    So whatever else belongs to it is written in the block: when that fails, the report of before still stands.

    Args:
        report: What to write.
        folder: Where; made when missing, and removed again on failure.
        formats: Of ``FORMATS``.
        beside: Further files for the folder, by name.

    Yields:
        The report files to be, in the order of ``formats``.

    Raises:
        OutputError: A file cannot be written.
    """
    texts = {
        "html": lambda: render_html(report),
        "json": lambda: json.dumps(report.data, indent=2, allow_nan=False) + "\n",
        "md": lambda: render_markdown(report),
    }
    content = {folder / f"report.{kind}": texts[kind]().encode() for kind in formats}
    pictures = {folder / name: picture for name, picture in report.pictures.items()} if "md" in formats else {}
    made = next((parent for parent in (*reversed(folder.parents), folder) if not parent.exists()), None)
    try:
        with contextlib.ExitStack() as staged:
            further = {folder / name: data for name, data in beside.items()}
            for path, data in (pictures | further | content).items():
                _refuse_directory(path)
                _write(staged.enter_context(atomic_path(path)), data)
            yield tuple(content)
    except BaseException:
        _remove_empty(folder, made)
        raise


def _refuse_directory(path: Path) -> None:
    if path.is_dir():
        msg = f"cannot write {path}: a directory of that name is there; choose another folder"
        raise OutputError(msg)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        # Now, not at the end: a disk that turns out to be full must say so while nothing is replaced yet.
        os.fsync(stream.fileno())


def _remove_empty(folder: Path, made: Path | None) -> None:
    """Removes the folders that were made for nothing, from ``folder`` up to ``made``."""
    while made is not None and folder.is_relative_to(made):
        with contextlib.suppress(OSError):
            folder.rmdir()
        folder = folder.parent
