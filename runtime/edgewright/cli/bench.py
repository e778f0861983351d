"""`edgewright bench`: times every variant of a bundle, on this machine or on a board."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.errors import ExitCode, MissingExtraError
from edgewright.cli.arguments import add_engine_arguments, threads_argument

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from edgewright.device_profiles.profile import DeviceProfile
    from edgewright.runtime.backends.choice import EngineOptions
    from edgewright.runtime.bench import BenchReport, BenchSettings

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG = """\
examples:
  edgewright bench person.edge
  edgewright bench person.edge --threads 2 --runs 500 --json
  edgewright bench person.edge --pick          # 'edgewright run person.edge' then takes the fastest
  edgewright bench person.edge --estimate board.toml     # no timing: a range, from a probed board's profile
  edgewright bench person.edge --runs 80 -o here.json    # with the machine's conditions, for 'edgewright report'

On a board that 'edgewright deploy' set up, ten minutes long, its own answers judged here:
  $ edgewright bench person.edge --remote pi@gate-1.local --soak 600 --labels labels.json --images clip.avi -o pi.json

Each variant runs in a process of its own and they take turns; a bundle made with --keep-float gives the ratio, too.
--pick times every variant on every backend that this machine has, leaves out what does not give the golden answers
here, and keeps the winner for this machine, bundle, engines and number of threads. A tie keeps the bundle's order.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="bundle directory or .edge file")
    parser.add_argument(
        "--threads", type=threads_argument, metavar="N", help="engine threads (default: as --profile says, else 1)"
    )
    parser.add_argument("--runs", type=int, default=240, metavar="N", help="timed frames a variant (default 240)")
    parser.add_argument("--only", action="append", metavar="VARIANT", help="time only this one; may be given often")
    parser.add_argument("--pick", action="store_true", help="time every backend and keep the winner for 'run'")
    parser.add_argument(
        "--estimate", metavar="PROFILE", help="time nothing: estimate it from what 'profiles probe' measured on a board"
    )
    add_engine_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    result = parser.add_argument_group("result", "a file with the times, the machine and what they were taken under")
    result.add_argument("-o", "--output", type=Path, metavar="RESULT.json", help="write it")
    result.add_argument("--soak", type=float, metavar="S", help="then run the fastest for S seconds: what heat does")
    result.add_argument("--board", metavar="NAME", help="what to call the machine (default: what it calls itself)")
    result.add_argument("--sign", type=Path, metavar="KEY", help="sign it with this OpenSSH key, beside it as .sig")
    result.add_argument("--signers", type=Path, metavar="FILE", help="whose signature counts, for --into")
    result.add_argument("--into", type=Path, metavar="BUNDLE", help="write the figures into this bundle, too")
    remote = parser.add_argument_group("board", "time it on a board over SSH, by the edgewright that is there")
    remote.add_argument("--remote", metavar="USER@HOST", help="the board")
    remote.add_argument("--port", type=int, metavar="N", help="of its SSH server")
    remote.add_argument("--identity", type=Path, metavar="KEY", help="private key for it")
    remote.add_argument("--ssh-option", action="append", metavar="KEY=VALUE", help="as ssh -o; may be given often")
    remote.add_argument(
        "--command", metavar="WORDS", help="its edgewright (default: where 'edgewright deploy' puts it)"
    )
    remote.add_argument("--labels", type=Path, metavar="FILE", help="judge its own answers to --images by these labels")
    remote.add_argument("--images", metavar="SRC", help="pictures for that; without --labels agreement is measured")
    remote.add_argument("--metric", choices=("ap50", "ap"), default="ap50", help="of a detector (default ap50)")
    asked = parser.add_argument_group("asked by a workstation", "what --remote runs on the board")
    asked.add_argument("--over", type=Path, metavar="PICTURES", help="answer these pictures instead of timing")
    asked.add_argument("--answers", type=Path, metavar="FILE", help="where the answers go")


def run(args: argparse.Namespace) -> int:
    """Times the bundle and prints what was found."""
    if args.estimate is not None:
        return _estimate(args)
    from edgewright.cli.bench_lines import bench_lines, show_progress
    from edgewright.device.board import engine_threads
    from edgewright.device_profiles.profile import load_profile
    from edgewright.runtime.bench import bench_bundle, settings_for

    settings = settings_for(args.runs, 1)
    if args.remote is not None:  # whose own edgewright knows how many cores there are
        from edgewright.cli.bench_remote import run_remote

        return run_remote(args)
    profile = None if args.profile is None else load_profile(args.profile)
    settings = replace(settings, threads=engine_threads(args.threads, profile))
    options = _engine_options(args, profile)
    if args.over is not None or args.answers is not None:
        from edgewright.cli.bench_result import run_answers

        return run_answers(args, settings.threads, options)
    if _wants_result(args):
        from edgewright.cli.bench_result import run_result

        return run_result(args, settings, options)
    on_block = None if args.json else show_progress()
    if args.pick:
        return _pick(args, settings, options, on_block)
    report = bench_bundle(args.bundle, settings, on_block=on_block, options=options)
    print(json.dumps(_as_json(report)) if args.json else "\n".join(bench_lines(report)))
    return ExitCode.OK


def _estimate(args: argparse.Namespace) -> int:
    if find_spec("onnx") is None:  # devices come without it
        msg = "estimating reads the operators of the model files, and onnx is not installed"
        raise MissingExtraError(msg, "optimize")
    from edgewright.device_profiles.profile import load_profile
    from edgewright.optimize.estimate import estimate_bundle

    found = estimate_bundle(args.bundle, load_profile(args.estimate))
    print(json.dumps(found.to_json()) if args.json else "\n".join(found.lines()))
    return ExitCode.OK


def _wants_result(args: argparse.Namespace) -> bool:
    asked = (
        args.output,
        args.soak,
        args.board,
        args.sign,
        args.signers,
        args.into,
        args.labels,
        args.images,
        args.only,
    )
    return any(value is not None for value in asked)


def _engine_options(args: argparse.Namespace, profile: DeviceProfile | None) -> EngineOptions:
    from edgewright.runtime.backends.choice import engine_cache_folder, engine_options

    cache = args.engine_cache or engine_cache_folder()
    return engine_options(profile, args.delegate, args.delegate_option or (), cache)


def _pick(
    args: argparse.Namespace,
    settings: BenchSettings,
    options: EngineOptions,
    on_block: Callable[[int, int], None] | None,
) -> int:
    from edgewright.cli.bench_lines import bench_lines
    from edgewright.runtime.pick import pick_fastest
    from edgewright.runtime.picks import picks_path, read_picks, store_pick

    path = args.picks or picks_path()
    read_picks(path)  # a file that is none should be told before minutes of timing
    found = pick_fastest(args.bundle, settings, options=options, on_block=on_block)
    store_pick(path, found.pick)
    if args.json:
        told = {"pick": asdict(found.pick), "excluded": dict(found.excluded), "picks": str(path)}
        print(json.dumps({**_as_json(found.bench), **told}))
        return ExitCode.OK
    print("\n".join(bench_lines(found.bench)))
    for name, reason in found.excluded.items():
        if name not in found.bench.left_out:
            print(f"{name} cannot be picked: {reason}")
    print(f"picked {found.pick.candidate}: {found.pick.reason}")
    print("only speed was compared: what a variant may lose was judged when the bundle was made")
    print(f"kept in {path}; 'edgewright run' uses it")
    return ExitCode.OK


def _as_json(report: BenchReport) -> dict[str, object]:
    ratios = [{**asdict(ratio), "resolved": ratio.resolved} for ratio in report.ratios]
    return {**asdict(report), "ratios": ratios}
