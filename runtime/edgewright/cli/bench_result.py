"""The half of `edgewright bench` that writes results, and the one that a board runs for a workstation."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

from edgewright.bundle.errors import ExitCode

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from edgewright.runtime.backends.choice import EngineOptions
    from edgewright.runtime.bench import BenchSettings
    from edgewright.runtime.results.schema import Result

__all__ = ["check_wishes", "keep", "run_answers", "run_result"]

INTERRUPTED = 130
_MOST_PICTURES_BYTES = 512 << 20


def run_result(args: argparse.Namespace, settings: BenchSettings, options: EngineOptions) -> int:
    """Times this machine into a result."""
    from edgewright.cli.bench_lines import show_progress, show_soak
    from edgewright.runtime.results.measure import BoardTiming, measure_board
    from edgewright.runtime.results.schema import ResultError, Soak
    from edgewright.runtime.results.soak import SoakPlan, soak

    if args.labels is not None or args.images is not None:
        msg = "--labels and --images are for a board's answers and need --remote; 'edgewright optimize' judges here"
        raise ResultError(msg)
    check_wishes(args)
    if args.pick:
        _check_picks(args)
    timing = BoardTiming(settings, options, every_backend=args.pick, name=args.board, only=tuple(args.only or ()))
    result, _ = measure_board(args.bundle, timing, None if args.json else show_progress())
    if args.soak is not None:
        if result.fastest is None:
            msg = "nothing of the bundle gives its golden answers here, so there is nothing to run for long"
            raise ResultError(msg)
        plan = SoakPlan(
            result.fastest.candidate,
            args.soak,
            settings.threads,
            result.setting.frame_size,
            options,
            settings.timeout_s,
        )
        try:
            long = soak(args.bundle, plan, None if args.json else show_soak(args.soak))
        except KeyboardInterrupt:  # before its first frame: the timing must not be lost with it
            long = Soak(plan.candidate, args.soak, 0.0, 0, (), note="interrupted")
        result = replace(result, soak=long)
    keep(args, result)
    if args.pick:  # last: what was measured is not lost with a pick that cannot be kept
        _store_pick(args, result)
    return INTERRUPTED if result.soak is not None and result.soak.note == "interrupted" else ExitCode.OK


def check_wishes(args: argparse.Namespace) -> None:
    """Refuses what cannot be done, before minutes of timing.

    Raises:
        ResultError: Naming the option.
        BenchError: The long run has no length.
    """
    from edgewright.runtime.results.schema import ResultError
    from edgewright.runtime.results.soak import check_soak

    if args.soak is not None:
        check_soak(args.soak)
    if args.pick and args.only:
        msg = "--pick compares all there is; leave out --only"
        raise ResultError(msg)
    if args.sign is not None and args.output is None:
        msg = "--sign signs the result file; say where with -o RESULT.json"
        raise ResultError(msg)
    if args.output is not None:
        _check_output(args.output)
    if args.sign is not None and not args.sign.is_file():
        msg = f"there is no key {args.sign}; ssh-keygen -t ed25519 makes one"
        raise ResultError(msg)
    if args.board is not None and not (args.board.isprintable() and 0 < len(args.board) <= 60):
        msg = f"--board {args.board[:60]!a} is no name; give up to 60 printable characters"
        raise ResultError(msg)
    if args.signers is not None and args.sign is None:
        msg = "--signers says whose signature counts; sign the result with --sign KEY"
        raise ResultError(msg)
    if args.into is not None and not args.into.exists():
        msg = f"there is no bundle {args.into} to write the figures into"
        raise ResultError(msg)


def _check_output(output: Path) -> None:
    """Folders on the way are made, as for every output; what can never be written must be told before the timing."""
    from edgewright.bundle.errors import OutputError
    from edgewright.runtime.results.schema import ResultError

    if output.suffix != ".json" or output.is_dir():
        msg = f"{output} cannot be the result; name a file RESULT.json"
        raise ResultError(msg)
    parent = next(parent for parent in output.absolute().parents if parent.exists())
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        msg = f"cannot write {output}: {error.strerror or error} ({parent}); choose another place or make room"
        raise OutputError(msg) from error


def keep(args: argparse.Namespace, result: Result) -> None:
    """Writes, signs, records and prints a result."""
    from edgewright.cli.bench_lines import result_lines
    from edgewright.runtime.results.codec import result_to_json, write_result
    from edgewright.runtime.results.into_bundle import record_results
    from edgewright.runtime.results.signing import Signature, SignatureState, check_signature, sign_result

    signature = Signature(SignatureState.UNSIGNED)
    if args.output is not None:
        write_result(args.output, result)
        if args.sign is not None:
            sign_result(args.output, args.sign)
            signature = check_signature(args.output, args.output.read_bytes(), args.signers)
        else:
            _drop_old_signature(args.output)
    print(result_to_json(result) if args.json else "\n".join(result_lines(result)), end="" if args.json else "\n")
    told = sys.stderr if args.json else sys.stdout
    if args.output is not None:
        print(f"written to {args.output}, {signature}", file=told)
    if args.into is not None:
        done = record_results(args.into, [(result, signature)], only_signed=args.signers is not None)
        print(
            f"{args.into} holds {done.entries} more measured figures ({signature}); its digest was {done.old[:16]}..., "
            f"and is now {done.new[:16]}...",
            file=told,
        )


def _drop_old_signature(output: Path) -> None:
    """The signature of what was there before would make the new result look forged."""
    from edgewright.runtime.results.signing import signature_path

    signature_path(output).unlink(missing_ok=True)


def _check_picks(args: argparse.Namespace) -> None:
    from edgewright.runtime.picks import picks_path, read_picks

    read_picks(args.picks or picks_path())


def _store_pick(args: argparse.Namespace, result: Result) -> None:
    from edgewright.runtime.bench import BenchError
    from edgewright.runtime.picks import Pick, engines_of, picks_path, store_pick
    from edgewright.runtime.results.fastest import fastest_of

    found = fastest_of([each for each in result.variants if each.golden is True])
    if found is None:
        why = "; ".join(f"{each.candidate}: {each.golden_note}" for each in result.variants if not each.golden)
        msg = f"nothing of {args.bundle} gives its golden answers on this machine: {why}"
        raise BenchError(msg)
    store_pick(
        args.picks or picks_path(),
        Pick(
            digest=result.bundle.digest,
            name=result.bundle.name,
            machine=str(result.board.machine),
            threads=result.setting.threads,
            candidate=found.candidate,
            p50_ms={each.candidate: each.stages["total"].p50 for each in result.variants},
            engines=engines_of([each.candidate for each in result.variants]),
            made=result.made,
            reason=found.reason,
        ),
    )


def run_answers(args: argparse.Namespace, threads: int, options: EngineOptions) -> int:
    """Runs this machine's own session over pictures that came, and writes its answers."""
    from edgewright.bundle.atomic import write_bytes
    from edgewright.bundle.reader import open_bundle
    from edgewright.runtime.results.answers import answer, answers_bytes, unpack_pictures
    from edgewright.runtime.results.schema import ResultError

    if args.over is None or args.answers is None:
        msg = "--over PICTURES and --answers FILE belong together"
        raise ResultError(msg)
    try:
        with args.over.open("rb") as stream:
            packed = stream.read(_MOST_PICTURES_BYTES + 1)
    except OSError as error:
        msg = f"cannot read the pictures {args.over}: {error.strerror or error}"
        raise ResultError(msg) from error
    if len(packed) > _MOST_PICTURES_BYTES:
        msg = f"{args.over} is larger than {_MOST_PICTURES_BYTES} bytes; send the pictures in several files"
        raise ResultError(msg)
    with open_bundle(args.bundle) as bundle:
        names = args.only or [variant.name for variant in bundle.manifest.variants]
        found = answer(bundle, names, lambda: unpack_pictures(packed, str(args.over)), threads, options)
    write_bytes(args.answers, answers_bytes(found))
    count = len(next(iter(found.values()), []))
    print(f"{count} pictures answered by {', '.join(found)}; written to {args.answers}")
    return ExitCode.OK
