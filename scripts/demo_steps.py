"""The demo's steps once environment and samples are there; called by ``scripts/demo``.

Every step is a command that a user would type; each is printed before it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "person"
DEVICE = "demo-camera"
READY_S = 60
PLACES = (
    ("bundle", "person.edge"),
    ("report", "report/report.html"),
    ("annotated video", "seen.mp4"),
    ("database", "fleet.db"),
)


@dataclass(frozen=True)
class Clip:
    """What the demo watches.

    Attributes:
        path: The video.
        labels: Ground truth, or None when the clip has none.
        calibrate: Slice of the clip that sets the integers.
        select: Slice that chooses among candidates.
        agree: Slice on which float and INT8 are compared.
        limits: The contract.
    """

    path: Path
    labels: Path | None
    calibrate: str
    select: str
    agree: str
    limits: tuple[str, ...]


def main() -> int:
    """Runs the demo and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--started", type=int, default=int(time.time()), help="when the demo began, seconds since 1970")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "demo", help="folder for what it makes")
    parser.add_argument("--effort", default="balanced", help="of the optimizer")
    args = parser.parse_args()
    samples = sample_folder()
    clip = choose_clip(samples)
    out: Path = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for pattern in ("fleet.db*", "outbox.db*", "ready"):
        for old in out.glob(pattern):
            old.unlink()
    report = optimize(samples, clip, out, args.effort)
    announce(4, "prove the bundle on this machine")
    edgewright("verify", out / "person.edge")
    announce(5, "start the cloud side: embedded broker on loopback, SQLite")
    with ingest(out) as broker:
        announce(6, "watch the clip, track, send events")
        seen = watch(clip, broker, out)
    stored = json.loads((out / "ingest.json").read_text(encoding="utf-8"))
    announce(7, "what came of it")
    figures = collect(report, seen, stored, time.time() - args.started)
    print(table(figures, out))
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if figures["events_emitted"] != figures["events_in_database"]:
        print("demo: the database does not hold what was emitted", file=sys.stderr)
        return 1
    return 0


def announce(step: int, what: str) -> None:
    """The progress line of one stage."""
    print(f"[{step}/7] {what}", flush=True)


def sample_folder() -> Path:
    """Where ``scripts/samples`` put them."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("EDGEWRIGHT_SAMPLES") or Path(cache) / "edgewright" / "samples")


def choose_clip(samples: Path) -> Clip:
    """The labelled street clip, or the small one from a Python package when that could not be had."""
    street, small = samples / "vtest.avi", samples / "carphone_pristine.mp4"
    if street.is_file():
        # Three residues, one for each purpose: the three sets share nothing.
        limits = ("--max-drop", "10", "--min-agreement", "95", "--min-speedup", "1.2", "--max-size", "4MB")
        labels = EXAMPLE / "vtest_person_dev.json"
        return Clip(street, labels, f"{street}#1::16", f"{street}#5::8", f"{street}#3::4", limits)
    print("the street clip could not be had; using the small clip, which has no labels")
    limits = ("--min-speedup", "1.2", "--max-size", "4MB")
    return Clip(small, None, f"{small}#0::4", f"{small}#1::4", f"{small}#2::4", limits)


def edgewright(*words: str | Path, capture: bool = False, fine: tuple[int, ...] = (0,)) -> str:
    """Prints and runs one command of ours; ends the demo unless its exit code is one of ``fine``."""
    line = [str(word) for word in words]
    print("      $ .venv/bin/edgewright " + shorter(shlex.join(line)), flush=True)
    command = [sys.executable, "-m", "edgewright.cli.main", *line]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE if capture else None, text=True, check=False)
    if done.returncode not in fine:
        sys.exit(f"demo: edgewright {line[0]} ended with exit code {done.returncode}")
    return done.stdout or ""


def shorter(word: str) -> str:
    """A path as a person would write it."""
    return word.replace(str(ROOT) + os.sep, "").replace(str(Path.home()), "~")


def optimize(samples: Path, clip: Clip, out: Path, effort: str) -> dict[str, Any]:
    """Step 3: the judged bundle; gives the report's data."""
    announce(3, "optimize: export, quantize, try what helps, judge (the longest step)")
    labelled = ("--labels", clip.labels, "--images", clip.path) if clip.labels else ()
    edgewright(
        *("optimize", "examples.person.model:factory", "--weights", samples / "frozen_inference_graph.pb"),
        *("--calibrate", clip.calibrate, "--select", clip.select, "--agree", clip.agree),
        *(*labelled, *clip.limits, "--effort", effort),
        *("-o", out / "person.edge", "--report", out / "report"),
        # A contract missed on this machine is a result to look at, not the end of the demo.
        fine=(0, 3, 4),
    )
    data: dict[str, Any] = json.loads((out / "report" / "report.json").read_text(encoding="utf-8"))
    return data


@contextlib.contextmanager
def ingest(out: Path) -> Iterator[str]:
    """Step 5: the cloud side as a process of its own; gives the broker's URL, ends with a summary."""
    ready = out / "ready"
    words = ["ingest", "--db", f"sqlite:///{out / 'fleet.db'}", "--port", "0", "--ready-file", str(ready), "--json"]
    print("      $ .venv/bin/edgewright " + shorter(shlex.join(words)), flush=True)
    with (out / "ingest.json").open("w", encoding="utf-8") as summary:
        process = subprocess.Popen([sys.executable, "-m", "edgewright.cli.main", *words], cwd=ROOT, stdout=summary)
        try:
            deadline = time.monotonic() + READY_S
            while not ready.is_file():
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit("demo: the ingest did not start")
                time.sleep(0.1)
            yield ready.read_text(encoding="utf-8").strip()
        finally:
            process.send_signal(signal.SIGINT)
            if process.wait(timeout=READY_S):
                sys.exit(f"demo: edgewright ingest ended with exit code {process.returncode}")


def watch(clip: Clip, broker: str, out: Path) -> dict[str, Any]:
    """Step 6: the camera loop over the whole clip; gives its summary."""
    sync = ("--broker", broker, "--device", DEVICE, "--outbox", out / "outbox.db", "--drain", "60")
    output = ("--annotate", out / "seen.mp4", "--json")
    text = edgewright("run", out / "person.edge", "--source", clip.path, *sync, *output, capture=True)
    data: dict[str, Any] = json.loads(text)
    return data


def collect(report: dict[str, Any], seen: dict[str, Any], stored: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The table's figures, each from the step that measured it."""
    labelled = report.get("labelled") or {"metrics": []}
    aps = {row["variant"]: row["value"] for row in labelled["metrics"] if row["name"] == "ap50"}
    kept = next(row for row in report["agreement"]["metrics"] if row["name"] == "boxes_kept")
    speed = report["speed"]["ratios"][0]
    return {
        "verdict": report["verdict"]["status"],
        "float_bytes": report["size"]["float_bytes"],
        "int8_bytes": report["size"]["judged_bytes"],
        "size_ratio": report["size"]["ratio"],
        "speed_ratio": [speed["value"], speed["low"], speed["high"]],
        "speed_resolved": speed["resolved"],
        "ap50_float": aps.get("float"),
        "ap50_int8": aps.get(report["judged"]["name"]),
        "labelled_frames": labelled["metrics"][0]["samples"] if labelled["metrics"] else 0,
        "boxes_kept": [kept["value"], kept["low"], kept["high"]],
        "agreement_frames": kept["samples"],
        "frames": seen["frames_processed"],
        "fps": seen["fps"],
        "p50_ms": seen["stages"]["end_to_end"]["p50_ms"],
        "p95_ms": seen["stages"]["end_to_end"]["p95_ms"],
        "tracks": seen["tracks"],
        "events_emitted": seen["sync"]["emitted"],
        "events_in_database": stored["events_in_database"],
        "seconds": seconds,
        "machine": report["speed"]["conditions"]["machine"]["processor"],
        "threads": report["speed"]["conditions"]["threads"],
    }


def table(figures: dict[str, Any], out: Path) -> str:
    """The table for people."""
    speed, kept = figures["speed_ratio"], figures["boxes_kept"]
    rows = [
        ("contract", figures["verdict"]),
        (
            "model file",
            f"{figures['float_bytes'] / 1e6:.2f} to {figures['int8_bytes'] / 1e6:.2f} MB: {figures['size_ratio']:.2f}x smaller",
        ),
        (
            "speed, 1 thread",
            f"{speed[0]:.2f} times faster than float [{speed[1]:.2f} to {speed[2]:.2f}]"
            if figures["speed_resolved"]
            else "the machine was too busy to tell",
        ),
        (
            "float boxes kept",
            f"{kept[0]:.1%} [{kept[1]:.1%} to {kept[2]:.1%}] on {figures['agreement_frames']} unlabelled frames",
        ),
        ("frames, tracks", f"{figures['frames']} frames at {figures['fps']:.0f} a second, {figures['tracks']} tracks"),
        ("frame to result", f"p50 {figures['p50_ms']:.1f} ms, p95 {figures['p95_ms']:.1f} ms"),
        ("events", f"{figures['events_emitted']} emitted = {figures['events_in_database']} in the database"),
        ("time", f"{figures['seconds']:.0f} s in all, on {figures['machine']}"),
    ]
    if figures["ap50_float"] is not None:
        aps = f"float {figures['ap50_float']:.3f}, INT8 {figures['ap50_int8']:.3f}"
        rows.insert(3, ("AP at IoU 0.5", f"{aps} on {figures['labelled_frames']} labelled frames"))
    width = max(len(name) for name, _ in rows)
    places = [f"  {name:{width}}  {shorter(str(out / file))}" for name, file in PLACES]
    return "\n".join(["", *(f"  {name:{width}}  {value}" for name, value in rows), "", *places])


if __name__ == "__main__":
    sys.exit(main())
