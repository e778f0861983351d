"""The report as files: inside the bundle, so that it travels with the model, and in a folder for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgewright.bundle.atomic import write_bytes, write_text
from edgewright.bundle.errors import BundleError
from edgewright.optimize.report.data import REPORT_VERSION, Report
from edgewright.optimize.report.render import render_html, render_markdown

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.bundle.reader import Bundle

__all__ = ["FORMATS", "read_report", "report_payload", "write_report"]

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
        data = json.loads(bundle.read(_DATA))
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
    """Writes the report for people; each file whole or not at all, others in the folder untouched.

    Args:
        report: What to write.
        folder: Where; made when missing.
        formats: Of ``FORMATS``.

    Returns:
        The report files, in the order of ``formats``; pictures lie beside them.

    Raises:
        OutputError: A file cannot be written.
    """
    texts = {
        "html": lambda: render_html(report),
        "json": lambda: json.dumps(report.data, indent=2, allow_nan=False) + "\n",
        "md": lambda: render_markdown(report),
    }
    if "md" in formats:
        for name, picture in report.pictures.items():
            write_bytes(folder / name, picture)
    files = []
    for kind in formats:
        files.append(folder / f"report.{kind}")
        write_text(files[-1], texts[kind]())
    return tuple(files)
