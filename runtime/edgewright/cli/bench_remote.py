"""`edgewright bench --remote`: a board times itself, its answers are judged here."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.errors import ExitCode
from edgewright.bundle.text import plain

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edgewright.deploy.host import Host
    from edgewright.deploy.remote_bench import BoardBench, Pace
    from edgewright.runtime.results.answers import Answer
    from edgewright.runtime.results.schema import BoardAccuracy, Result

__all__ = ["measure_remote", "run_remote"]

_TIMING_S = 4 * 3600.0
_ANSWERS_S = 4 * 3600.0
_MOST_ANSWERS_BYTES = 512 << 20
_INTERRUPTED = 130


def run_remote(args: argparse.Namespace) -> int:
    """Times a board into a result."""
    from edgewright.deploy.ssh import SshHost

    host = SshHost(args.remote, port=args.port, identity=args.identity, options=args.ssh_option or ())
    try:
        return measure_remote(args, host)
    finally:
        host.close()


def measure_remote(args: argparse.Namespace, host: Host, pace: Pace | None = None) -> int:
    """The same over any host.

    Args:
        args: Of the command line.
        host: The board.
        pace: How patient to be; None takes the usual.

    Returns:
        The exit code.
    """
    from edgewright.bundle.reader import open_bundle
    from edgewright.cli.bench_result import check_wishes, keep
    from edgewright.deploy.layout import Layout
    from edgewright.deploy.remote_bench import BoardBench, Pace
    from edgewright.runtime.results.schema import ResultError, bundle_identity

    check_wishes(args)
    with open_bundle(args.bundle) as bundle:
        identity = bundle_identity(bundle.manifest)
    own_profile = _own_profile(args)
    accuracy: tuple[BoardAccuracy, ...] = ()
    with BoardBench(host, args.command, _say, pace or Pace()) as board:
        remote = board.send_bundle(args.bundle)
        profile = args.profile if own_profile is None else str(board.send(own_profile, "profile.toml"))
        engine = _engine_words(args, profile)
        result, whole = _timed(args, board, str(remote), engine)
        if result.bundle.identity != identity:
            msg = f"{host.name} timed another bundle ({result.bundle.name}) than {args.bundle}; nothing was kept"
            raise ResultError(msg)
        if whole and (args.images is not None or args.labels is not None):
            accuracy = _judged(args, board, str(remote), engine, result)
    # What the board said of its accuracy is not for it to say.
    keep(args, replace(result, accuracy=accuracy))
    if args.pick:
        _say(
            f"the pick is kept there for the user who logged in; a service that 'edgewright deploy' made does not see it, "
            f"it reads {Layout().state}/picks.json"
        )
    return ExitCode.OK if whole else _INTERRUPTED


def _own_profile(args: argparse.Namespace) -> bytes | None:
    """A profile that is a file here and not there; None where a shipped one or none was named."""
    from edgewright.device_profiles.profile import load_profile
    from edgewright.device_profiles.writing import profile_toml

    if args.profile is None or not args.profile.endswith(".toml"):
        return None
    return profile_toml(load_profile(args.profile)).encode()


def _timed(args: argparse.Namespace, board: BoardBench, bundle: str, engine: list[str]) -> tuple[Result, bool]:
    from edgewright.deploy.errors import DeployError
    from edgewright.runtime.results.codec import read_result

    words = ["bench", bundle, "-o", str(board.place("result.json")), "--runs", str(args.runs), *engine]
    words += ["--pick"] if args.pick else [word for name in args.only or () for word in ("--only", name)]
    words += [] if args.picks is None else ["--picks", str(args.picks)]
    words += [] if args.soak is None else ["--soak", str(args.soak)]
    words += [] if args.board is None else ["--board", args.board]
    whole = board.run(words, _TIMING_S + (args.soak or 0.0))
    with tempfile.TemporaryDirectory(prefix="edgewright-bench-") as folder:
        local = Path(folder) / "result.json"
        try:
            board.fetch("result.json", local)
        except DeployError:
            if not whole:  # Ctrl-C came before there was anything to keep
                raise KeyboardInterrupt from None
            raise
        return read_result(local)[0], whole


def _engine_words(args: argparse.Namespace, profile: str | None) -> list[str]:
    words: list[str] = []
    for flag, value in (
        ("--threads", args.threads),
        ("--profile", profile),
        ("--delegate", args.delegate),
        ("--engine-cache", args.engine_cache),
    ):
        words += [] if value is None else [flag, str(value)]
    for option in args.delegate_option or ():
        words += ["--delegate-option", option]
    return words


def _judged(
    args: argparse.Namespace, board: BoardBench, bundle: str, engine: list[str], result: Result
) -> tuple[BoardAccuracy, ...]:
    from edgewright.bundle.manifest import Task
    from edgewright.bundle.reader import open_bundle
    from edgewright.optimize.board_accuracy import BoardPictures, judge_board
    from edgewright.runtime.results.answers import pack_pictures, read_answers
    from edgewright.runtime.results.schema import ResultError

    candidates = [row.candidate for row in result.variants]
    done = 0
    with open_bundle(args.bundle) as opened:
        boxes = opened.manifest.task is Task.DETECT

        def ask(images: Sequence[NDArray[np.uint8]]) -> Mapping[str, Sequence[Answer]]:
            nonlocal done
            _say(f"sending {len(images)} pictures, {done} done before")
            remote = board.send(pack_pictures(images), "pictures.npz")
            words = ["bench", bundle, "--over", str(remote), "--answers", str(board.place("answers.npz"))]
            words += [*engine, *(word for name in candidates for word in ("--only", name))]
            if not board.run(words, _ANSWERS_S):
                raise KeyboardInterrupt
            with tempfile.TemporaryDirectory(prefix="edgewright-bench-") as folder:
                local = Path(folder) / "answers.npz"
                board.fetch("answers.npz", local)
                if local.stat().st_size > _MOST_ANSWERS_BYTES:
                    msg = f"the board's answers take more than {_MOST_ANSWERS_BYTES} bytes; no answers are that long"
                    raise ResultError(msg)
                data = local.read_bytes()
            done += len(images)
            return read_answers(data, "the board's answers", pictures=len(images), boxes=boxes)

        pictures = BoardPictures(args.images, args.labels, args.metric)
        return judge_board(opened, candidates, pictures, ask)


def _say(line: str) -> None:
    sys.stderr.write(plain(line) + "\n")
