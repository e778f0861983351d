"""`edgewright report`: renders again the report that a bundle carries, or holds its figures against another contract."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import ExitCode
from edgewright.bundle.reader import open_bundle

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edgewright.optimize.contract import Contract

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG = """\
examples:
  edgewright report person.edge                    # report.html, report.json, report.md into person-report/
  edgewright report person.edge --html -o page     # only the page
  edgewright report person.edge --md -o -          # Markdown to standard output
  edgewright report person.edge --max-drop 10 --max-size 4MB    # judge what was measured by other promises

With promises nothing is written: the verdict is printed, and is the exit code (0 PASS, 3 FAIL, 4 INCONCLUSIVE).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="bundle directory or .edge file")
    parser.add_argument("--html", action="store_true", help="write report.html")
    parser.add_argument("--md", action="store_true", help="write report.md and its pictures")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, or write it with -o DIR")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder (default: BUNDLE-report); - for standard output")

    contract = parser.add_argument_group("promises", "judge the recorded figures by these instead of rendering")
    contract.add_argument("--max-drop", type=float, metavar="POINTS", help="points of the metric that may be lost")
    contract.add_argument("--min-agreement", type=float, metavar="PERCENT", help="of float's answers to be kept")
    contract.add_argument("--min-speedup", type=float, metavar="RATIO", help="float time over INT8 time")
    contract.add_argument("--max-size", metavar="SIZE", help="of the INT8 model file, such as 4MB or 3.5MiB")


def run(args: argparse.Namespace) -> int:
    """Renders the report, or judges it again."""
    from edgewright.optimize.errors import SpecError
    from edgewright.optimize.report.render import render_html, render_markdown
    from edgewright.optimize.report.write import FORMATS, read_report, write_report

    with open_bundle(args.bundle) as bundle:
        report = read_report(bundle)
        title = f"{bundle.manifest.name} {bundle.manifest.version}"
    contract = _contract(args)
    if not contract.empty:
        return _judge(args, contract, report.data, title)
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


def _contract(args: argparse.Namespace) -> Contract:
    from edgewright.optimize.contract import Contract
    from edgewright.optimize.sizes import parse_bytes

    size = None if args.max_size is None else parse_bytes(args.max_size)
    return Contract(args.max_drop, args.min_agreement, args.min_speedup, size)


def _judge(args: argparse.Namespace, contract: Contract, data: Mapping[str, Any], title: str) -> int:
    from edgewright.optimize.errors import SpecError
    from edgewright.optimize.judge import check_contract
    from edgewright.optimize.report.data import verdict_values
    from edgewright.optimize.report.rejudge import rejudge

    if args.output or args.html or args.md:
        msg = "promises judge the recorded figures and write nothing; leave out -o, --html and --md"
        raise SpecError(msg)
    check_contract(contract, labelled=data.get("labelled") is not None, recorded=True)
    verdict = rejudge(data, contract)
    if args.json:
        print(json.dumps({"bundle": str(args.bundle), "verdict": verdict_values(verdict)}))
    else:
        print(f"{verdict.status.value}  {title}")
        for clause in verdict.clauses:
            print(f"  {clause.status.value:<13}{clause.sentence}")
    return verdict.status.exit_code
