"""`edgewright report`: renders again the report that a bundle carries."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.errors import ExitCode
from edgewright.bundle.reader import open_bundle

if TYPE_CHECKING:
    import argparse

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG = """\
examples:
  edgewright report person.edge                    # report.html, report.json, report.md into person-report/
  edgewright report person.edge --html -o page     # only the page
  edgewright report person.edge --md -o -          # Markdown to standard output
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="bundle directory or .edge file")
    parser.add_argument("--html", action="store_true", help="write report.html")
    parser.add_argument("--md", action="store_true", help="write report.md and its pictures")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, or write it with -o DIR")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder (default: BUNDLE-report); - for standard output")


def run(args: argparse.Namespace) -> int:
    """Renders the report."""
    from edgewright.optimize.errors import SpecError
    from edgewright.optimize.report.render import render_html, render_markdown
    from edgewright.optimize.report.write import FORMATS, read_report, write_report

    with open_bundle(args.bundle) as bundle:
        report = read_report(bundle)
    formats = tuple(kind for kind in FORMATS if getattr(args, kind)) or FORMATS
    to_stdout = args.output == "-" or (formats == ("json",) and args.output is None)
    if to_stdout:
        if len(formats) != 1:
            msg = "standard output holds one format; add --html, --json or --md"
            raise SpecError(msg)
        if formats == ("json",):
            print(json.dumps(report.data))
        else:
            sys.stdout.write(render_html(report) if formats == ("html",) else render_markdown(report))
        return ExitCode.OK
    folder = Path(args.output) if args.output else args.bundle.with_name(f"{args.bundle.stem}-report")
    for path in write_report(report, folder, formats):
        print(path)
    return ExitCode.OK
