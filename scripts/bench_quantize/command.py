"""``scripts/bench quantize``: the command.

    scripts/bench quantize                                        # everything; an hour or more the first time
    scripts/bench quantize --models person --engines ours-balanced,nncf
    scripts/bench quantize --quick --markdown table.md --json table.json

What is finished is kept (by digest of input, code and versions), so a second run goes on where the first ended; times
are taken anew unless all files are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_quantize.engines import ENGINES, Candidate, EngineFailure, Made, fingerprint, run_engine
from bench_quantize.environments import EnvironmentFailure
from bench_quantize.judge import Judge, baselines, time_all, write_draft
from bench_quantize.prepare import prepare
from bench_quantize.progress import Progress
from bench_quantize.rows import Rows, key_of
from bench_quantize.subjects import NAMES, ROOT, make_subject
from bench_quantize.table import markdown, verdict
from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.errors import EdgewrightError
from edgewright.runtime.bench import BenchSettings
from edgewright.runtime.machine import describe_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

_QUICK_PICTURES = 40
_SELECTION_PICTURES = 64


@dataclass(frozen=True, eq=False)
class _Bench:
    """What the steps share."""

    home: Path
    rows: Rows
    progress: Progress
    most: int | None
    blocks: int
    threads: tuple[int, ...]


def main(arguments: Sequence[str]) -> int:
    """The command; returns the exit status.

    Args:
        arguments: Those behind ``quantize``.
    """
    options = _options(arguments)
    for file in (options.json, options.markdown):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(ROOT))  # the examples are named from the root
    os.chdir(ROOT)
    home = options.cache.expanduser().absolute()
    steps = len(options.models) * (1 + len(options.engines) + len(options.threads))
    blocks = 12 if options.quick else 48
    most = _QUICK_PICTURES if options.quick else None
    bench = _Bench(home, Rows(home / "rows"), Progress(steps), most, blocks, options.threads)
    results = {
        "date": date.today().isoformat(),  # noqa: DTZ011 - the reader's own day
        "machine": str(describe_machine()),
        "quick": options.quick,
        "subjects": [_subject(name, options.engines, options.samples, bench) for name in options.models],
    }
    text = markdown(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    print(text)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench quantize", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=_names(NAMES), default=list(NAMES), help=f"of {','.join(NAMES)}")
    parser.add_argument("--engines", type=_names(ENGINES), default=list(ENGINES), help=f"of {','.join(ENGINES)}")
    parser.add_argument("--threads", type=_threads, default=(1, 2), help="of the timing, such as 1,2")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_PICTURES} report pictures and few timing blocks")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgewright"
    samples = Path(os.environ.get("EDGEWRIGHT_SAMPLES") or cache / "samples")
    parser.add_argument("--cache", type=Path, default=cache / "bench", help="environments and finished rows")
    parser.add_argument("--samples", type=Path, default=samples, help="folder of scripts/samples")
    return parser.parse_args(arguments)


def _names(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in allowed]
        if unknown:
            msg = f"no such name: {', '.join(unknown)}; there are {', '.join(allowed)}"
            raise argparse.ArgumentTypeError(msg)
        return names

    return parse


def _threads(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _subject(name: str, engines: Sequence[str], samples: Path, bench: _Bench) -> dict[str, Any]:
    bench.progress.begin(f"{name}: load, fold, make tensors")
    subject = make_subject(name, samples, bench.home / "pictures")
    prepared = prepare(subject, bench.home / "work")
    judge = Judge(prepared)
    bench.progress.end(f"{name}: {prepared.prepared and len(prepared.prepared) / 1e6:.1f} MB of float graph")
    rows, files = [], dict(baselines(prepared))
    for base, made in files.items():
        row = _judged(judge, made, bench, key_of("base", base, prepared.digest, str(bench.most), _judge_code()))
        rows.append({"engine": base, "label": made.label, "cpu_seconds": None, "peak_memory_bytes": None, **row})
    for engine in engines:
        row, candidate = _engine(engine, judge, bench)
        rows.append(row)
        if candidate is not None:
            files[engine] = candidate
    times = {str(threads): _times(judge, files, threads, bench) for threads in bench.threads}
    task = prepared.source.spec.task.value
    pictures = (
        f"Calibrated on `{_short(subject.calibrate)}`, chosen on `{_short(subject.select)}`, reported on "
        f"`{_short(subject.report)}`."
    )
    told = {"name": name, "title": subject.title, "task": task, "pictures": pictures, "rows": rows, "times": times}
    for line in verdict(told):
        sys.stderr.write(f"    {line}\n")
    return told


def _short(expression: str) -> str:
    return "/".join(Path(expression).parts[-2:]) if "#" not in expression else Path(expression).name


def _engine(engine: str, judge: Judge, bench: _Bench) -> tuple[dict[str, Any], Candidate | None]:
    prepared, progress = judge.prepared, bench.progress
    name = prepared.subject.name
    progress.begin(f"{name}: {engine}")
    key = key_of(engine, prepared.digest, fingerprint(engine), str(bench.most), _judge_code())
    row, candidate = bench.rows.get(key), bench.rows.get_candidate(key)
    if row is not None and candidate is not None:
        progress.end(f"{name}: {engine}", cached=True)
        return row, candidate
    try:
        made = run_engine(engine, prepared, bench.home)
        candidate = _choose(judge, made)
        row = {
            "engine": engine,
            "label": candidate.label,
            "tried": [one.label for one in made.candidates],
            "seconds": made.seconds,
            "cpu_seconds": made.cpu_seconds,
            "peak_memory_bytes": made.peak_memory_bytes,
            "versions": dict(made.versions),
            **_judged(judge, candidate, bench, None),
        }
    except (EngineFailure, EnvironmentFailure, EdgewrightError) as error:
        progress.end(f"{name}: {engine} cannot: {error}")
        return {"engine": engine, "failure": str(error)}, None
    bench.rows.put_candidate(key, candidate)
    bench.rows.put(key, row)
    progress.end(f"{name}: {engine}")
    return row, candidate


def _choose(judge: Judge, made: Made) -> Candidate:
    """The candidate that agrees best with float on the selection pictures."""
    if len(made.candidates) == 1:
        return made.candidates[0]

    def rank(candidate: Candidate) -> tuple[float, float]:
        seen = judge.fidelity(candidate, "select", _SELECTION_PICTURES)
        second = seen.get("cosine") or seen.get("agreement_ap50") or [0.0]
        return (seen["headline"] or [0.0])[0], second[0]

    return max(made.candidates, key=rank)


def _judged(judge: Judge, candidate: Candidate, bench: _Bench, key: str | None) -> dict[str, Any]:
    kept = bench.rows.get(key) if key is not None else None
    if kept is not None:
        return kept
    row = {
        "bytes": len(candidate.model),
        "report": judge.fidelity(candidate, "report", bench.most),
        "labelled": judge.accuracy(candidate),
    }
    if key is not None:
        bench.rows.put(key, row)
    return row


def _times(judge: Judge, files: dict[str, Candidate], threads: int, bench: _Bench) -> dict[str, Any]:
    name = judge.prepared.subject.name
    bench.progress.begin(f"{name}: {len(files)} files take turns, {threads} threads")
    digests = [f"{engine} {sha256_hex(made.model)}" for engine, made in sorted(files.items())]
    key = key_of("times", *digests, str(threads), str(bench.blocks), str(describe_machine()))
    kept = bench.rows.get(key)
    if kept is None:
        draft = judge.prepared.folder / "all"
        write_draft(draft, judge.prepared, files)
        settings = BenchSettings(threads=threads, blocks=bench.blocks)
        kept = time_all(draft, list(files), judge.timed_pictures(), settings, bench.progress.within)
        bench.rows.put(key, kept)
        bench.progress.end(f"{name}: timed")
    else:
        bench.progress.end(f"{name}: timed", cached=True)
    return kept


def _judge_code() -> str:
    """Digest of what judges, so that a changed judge judges again."""
    folder = Path(__file__).resolve().parent
    return sha256_hex(b"".join((folder / name).read_bytes() for name in ("judge.py", "subjects.py", "pictures.py")))
