"""`edgewright report A.json B.json ...`: boards side by side, and their figures into the bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.text import plain

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from edgewright.optimize.contract import Contract
    from edgewright.optimize.report.boards.merge import Measurement

__all__ = ["run_boards"]

_MOST_RESULTS = 40
_MOST_ROWS = 400


def run_boards(args: argparse.Namespace, promises: Contract) -> int:
    """Merges results into a page, and writes their figures into a bundle where that is asked.

    Returns:
        The exit code of the verdict; 0 without promises.
    """
    from edgewright.optimize.contract import Status
    from edgewright.optimize.errors import SpecError
    from edgewright.optimize.report.boards.merge import merge
    from edgewright.optimize.report.boards.render import FORMATS, render_boards, write_boards
    from edgewright.optimize.report.boards.words import board_lines
    from edgewright.runtime.results.into_bundle import record_results

    if len(args.inputs) > _MOST_RESULTS:
        msg = f"{len(args.inputs)} results on one page cannot be read; give at most {_MOST_RESULTS}"
        raise SpecError(msg)
    kinds = [kind for kind in FORMATS if getattr(args, kind)]
    to_stdout = args.output == "-" or (kinds == ["json"] and args.output is None)
    if to_stdout and len(kinds) != 1:
        msg = "standard output holds one format; add --html, --json or --md"
        raise SpecError(msg)
    names = _short_names(args.inputs)
    measured = _each_once([_read(path, name, args.signers) for path, name in zip(args.inputs, names, strict=True)])
    rows = sum(len(one.result.variants) for one in measured)
    if rows > _MOST_ROWS:
        msg = f"{rows} timed variants on one page cannot be read; give results of at most {_MOST_ROWS} together"
        raise SpecError(msg)
    data = merge(measured, promises)
    if to_stdout:
        sys.stdout.write(render_boards(data, kinds[0]))
    told = sys.stderr if to_stdout else sys.stdout
    written: list[Path] = []
    if not to_stdout and (args.output is not None or args.into is None):
        written = write_boards(data, Path(args.output or "boards"), kinds)
    if not (to_stdout and promises.empty):
        print("\n".join(board_lines(data)), file=told)
    if written:
        print(f"written to {', '.join(plain(str(path)) for path in written)}")
    if args.into is not None:
        done = record_results(
            args.into,
            [(one.result, one.signature) for one in measured],
            only_signed=args.signers is not None,
        )
        print(
            f"{args.into} holds {done.entries} more measured figures; its digest was {done.old[:16]}..., and is now "
            f"{done.new[:16]}...",
            file=told,
        )
    return Status(data["verdict"]).exit_code


def _read(path: Path, name: str, signers: Path | None) -> Measurement:
    from edgewright.optimize.report.boards.merge import Measurement
    from edgewright.runtime.results.codec import read_result
    from edgewright.runtime.results.signing import check_signature

    result, data = read_result(path)
    return Measurement(name, result, check_signature(path, data, signers))


def _short_names(paths: Sequence[Path]) -> list[str]:
    """File names, with as many folders as tell them apart."""

    def last(path: Path, parts: int) -> str:
        return "/".join(path.absolute().parts[-parts:])

    found = []
    for path in paths:
        others = {other.absolute() for other in paths} - {path.absolute()}
        enough = (n for n in range(1, len(path.absolute().parts)) if last(path, n) not in {last(o, n) for o in others})
        found.append(last(path, next(enough, len(path.absolute().parts))))
    return found


def _each_once(measured: Sequence[Measurement]) -> list[Measurement]:
    """A measurement that was given twice would look like two; of a copy with a signature and one without, the former."""
    kept: list[Measurement] = []
    for one in measured:
        place = next((at for at, other in enumerate(kept) if other.result == one.result), None)
        if place is None:
            kept.append(one)
            continue
        first = kept[place]
        if one.signature.signer and not first.signature.signer:
            kept[place] = one
        what = "was given twice" if one.file == first.file else f"holds the same measurement as {first.file}"
        print(plain(f"edgewright report: {one.file} {what}; it counts once"), file=sys.stderr)
    return kept
