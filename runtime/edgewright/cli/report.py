"""`edgewright report`: renders again the report that a bundle carries, judges its figures anew, or compares boards."""

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

Boards side by side, out of what 'edgewright bench BUNDLE -o RESULT.json' wrote on each of them:
  $ edgewright report pi4.json pi5.json orin.json -o boards.html

With promises the verdict is printed, and is the exit code (0 PASS, 3 FAIL, 4 INCONCLUSIVE). Nothing is written for a
bundle then; the page of boards is, and the promises limit which variant a board may run.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="BUNDLE|RESULT.json", help="one bundle, or the results of boards"
    )
    parser.add_argument("--html", action="store_true", help="write report.html")
    parser.add_argument("--md", action="store_true", help="write report.md and its pictures")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, or write it with -o DIR")
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="folder (default: BUNDLE-report; boards/ for results), or a file for boards; - for stdout",
    )
    boards = parser.add_argument_group("boards")
    boards.add_argument("--signers", type=Path, metavar="FILE", help="whose signatures count (ssh-keygen's format)")
    boards.add_argument("--into", type=Path, metavar="BUNDLE", help="write the boards' figures into this bundle")

    contract = parser.add_argument_group("promises", "judge the recorded figures by these instead of rendering")
    contract.add_argument("--max-drop", type=float, metavar="POINTS", help="points of the metric that may be lost")
    contract.add_argument("--min-agreement", type=float, metavar="PERCENT", help="of float's answers to be kept")
    contract.add_argument("--min-speedup", type=float, metavar="RATIO", help="float time over INT8 time")
    contract.add_argument("--max-size", metavar="SIZE", help="of the INT8 model file, such as 4MB or 3.5MiB")


def run(args: argparse.Namespace) -> int:
    """Renders the report, judges it again, or sets boards side by side."""
    from edgewright.optimize.errors import SpecError
    from edgewright.runtime.results.codec import is_result

    results = [path for path in args.inputs if is_result(path)]
    if len(results) == len(args.inputs):
        from edgewright.cli.report_boards import run_boards

        return run_boards(args, _contract(args))
    if len(args.inputs) > 1:
        bundle = next(path for path in args.inputs if path not in results)
        msg = f"{bundle} is no result file; give one bundle, or result files (RESULT.json) only"
        raise SpecError(msg)
    if args.signers is not None or args.into is not None:
        msg = "--signers and --into are about result files (RESULT.json), not about a bundle's report"
        raise SpecError(msg)
    return _run_bundle(args, args.inputs[0])


def _run_bundle(args: argparse.Namespace, path: Path) -> int:
    from edgewright.optimize.errors import SpecError
    from edgewright.optimize.report.render import render_html, render_markdown
    from edgewright.optimize.report.write import FORMATS, read_report, write_report

    with open_bundle(path) as bundle:
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
    folder = Path(args.output) if args.output else path.with_name(f"{path.stem}-report")
    for written in write_report(report, folder, formats):
        print(written)
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
        print(json.dumps({"bundle": str(args.inputs[0]), "verdict": verdict_values(verdict)}))
    else:
        print(f"{verdict.status.value}  {title}")
        for clause in verdict.clauses:
            print(f"  {clause.status.value:<13}{clause.sentence}")
    return verdict.status.exit_code
