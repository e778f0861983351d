"""`edgewright report A.json B.json ...`: boards side by side, and their figures into the bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from edgewright.optimize.contract import Contract
    from edgewright.optimize.report.boards.merge import Measurement

__all__ = ["run_boards"]

_MOST_RESULTS = 40


def run_boards(args: argparse.Namespace, promises: Contract) -> int:
    """Merges results into a page, and writes their figures into a bundle where that is asked."""
    from edgewright.optimize.errors import SpecError
    from edgewright.optimize.report.boards.merge import merge
    from edgewright.optimize.report.boards.render import FORMATS, render_boards, write_boards
    from edgewright.runtime.results.into_bundle import record_results

    if len(args.inputs) > _MOST_RESULTS:
        msg = f"{len(args.inputs)} results on one page cannot be read; give at most {_MOST_RESULTS}"
        raise SpecError(msg)
    kinds = [kind for kind in FORMATS if getattr(args, kind)]
    to_stdout = args.output == "-" or (kinds == ["json"] and args.output is None)
    if to_stdout and len(kinds) != 1:
        msg = "standard output holds one format; add --html, --json or --md"
        raise SpecError(msg)
    measured = [_read(path, args.signers) for path in args.inputs]
    data = merge(measured, promises)
    if to_stdout:
        sys.stdout.write(render_boards(data, kinds[0]))
    elif args.output is not None or args.into is None:
        for path in write_boards(data, Path(args.output or "boards"), kinds):
            print(path)
    if not to_stdout:
        for board in data["boards"]:
            print(f"{board['title']}: {board['choice']['candidate'] or 'no choice'}, {board['choice']['why']}")
    if args.into is not None:
        done = record_results(
            args.into,
            [(one.result, one.signature) for one in measured],
            only_signed=args.signers is not None,
        )
        told = sys.stderr if to_stdout else sys.stdout
        print(
            f"{args.into} holds {done.entries} more measured figures; its digest was {done.old[:16]}..., and is now "
            f"{done.new[:16]}...",
            file=told,
        )
    return ExitCode.OK


def _read(path: Path, signers: Path | None) -> Measurement:
    from edgewright.optimize.report.boards.merge import Measurement
    from edgewright.runtime.results.codec import read_result
    from edgewright.runtime.results.signing import check_signature

    result, data = read_result(path)
    return Measurement(path.name, result, check_signature(path, data, signers))
