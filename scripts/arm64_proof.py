"""The steps of ``scripts/arm64``, in order."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from arm64_bundle import CLIP, altered, make_bundle, operator_models, sampled
from arm64_cloud import Cloud, cloud, stored_events
from arm64_compare import answers_alike, events_differ, gaps, operator_rows, output_steps
from arm64_page import page
from arm64_root import CPUS, Done, Failed, ensure_tools, host, make_system, run, user_cache, wheel_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from arm64_root import Cpu, System

__all__ = ["prove"]

OK, BAD_INPUT, DIFFERENT, MISSING = 0, 2, 3, 5
VALUES_WITHIN, ANSWERS_ALIKE, BEYOND_ONE = 0.999, 0.95, 0.001
FLOAT_FRAMES = 1
COMMAND_TIMEOUT_S = 1200
# proot then ends with 0, so the exit code tells nothing.
EMULATOR_DIED = "uncaught target signal"
ATTEMPTS = 5
BENCH_RUNS = 5


class Progress:
    """What is happening, on standard error: a line that counts seconds on a terminal, else a line a step."""

    def __init__(self) -> None:
        """Says nothing yet."""
        self._live = sys.stderr.isatty()
        self._text = ""
        self._since = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        if self._live:
            threading.Thread(target=self._tick, daemon=True).start()

    def say(self, text: str) -> None:
        """A new step."""
        with self._lock:
            self._clear()
            self._text, self._since = text, time.monotonic()
        if not self._live:
            print(f"... {text}", file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        """A line of the result, on standard output."""
        with self._lock:
            self._clear()
            print(text, flush=True)

    def end(self) -> None:
        """Takes the line away."""
        self._ended.set()
        with self._lock:
            self._clear()
            self._text = ""

    def _clear(self) -> None:
        if self._live:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def _tick(self) -> None:
        while not self._ended.wait(0.5):
            with self._lock:
                if self._text:
                    room = shutil.get_terminal_size().columns - 1
                    told = f"... {self._text}, {time.monotonic() - self._since:.0f} s"
                    sys.stderr.write(f"\r\033[K{told[:room]}")
                    sys.stderr.flush()


@dataclass
class Proof:
    """What is known so far.

    Attributes:
        args: From the command line.
        work: Folder that both sides see.
        progress: Where to say what happens.
        checks: What was held against what it should be.
        started: Emulated commands.
        crashes: Those in which the emulator crashed; they were run again.
        crashes_at_end: Those in which it crashed when all was said and the process ended.
    """

    args: argparse.Namespace
    work: Path
    progress: Progress
    checks: list[dict[str, Any]] = field(default_factory=list)
    started: int = 0
    crashes: int = 0
    crashes_at_end: int = 0

    def check(self, name: str, detail: str, *, ok: bool) -> None:
        """Notes and prints one."""
        self.checks.append({"name": name, "ok": bool(ok), "detail": detail})
        if not self.args.json:
            self.progress.line(f"{'ok  ' if ok else 'FAIL'} {name}: {detail}")


@dataclass(frozen=True)
class Side:
    """A place that runs Python: this machine, or an emulated one.

    Attributes:
        name: In devices' names and headings.
        proof: What it tells.
        cpu: The emulated processor, None for this machine.
        system: The emulated root, None for this machine.
    """

    name: str
    proof: Proof
    cpu: Cpu | None = None
    system: System | None = None

    def path(self, name: str) -> str:
        """A file of the working folder as this side sees it."""
        return str(self.proof.work / name) if self.cpu is None else f"/work/{name}"

    def python(self, *words: str) -> Done:
        """Runs Python; where the emulator crashed it runs again, which is counted. ``{try}`` is replaced by a number.

        Raises:
            Failed: The emulator crashed every time.
        """
        if self.cpu is None or self.system is None:
            return run([sys.executable, *numbered(words, 0)], timeout_s=COMMAND_TIMEOUT_S)
        env = self.system.environment(self.cpu)
        for attempt in range(ATTEMPTS):
            command = self.system.command(self.cpu, self.proof.work, ["/usr/bin/python3", *numbered(words, attempt)])
            done = run(command, timeout_s=COMMAND_TIMEOUT_S, env=env)
            self.proof.started += 1
            ended = re.findall(r"^CODE (\d+)$", done.err, re.MULTILINE)
            if ended:
                self.proof.crashes_at_end += EMULATOR_DIED in done.err
                return dataclasses.replace(done, code=int(ended[-1]))
            if EMULATOR_DIED not in done.err:
                return done
            self.proof.crashes += 1
            self.proof.progress.say(f"{self.name}: the emulator crashed; once more: {' '.join(words[1:4])}")
        raise Failed(f"{self.name}: the emulator crashed {ATTEMPTS} times in {' '.join(words[1:4])}: {done.words}")

    def edgewright(self, *words: str) -> Done:
        """The command line."""
        return self.python(self.path("arm64_child.py"), "edgewright", *words)

    def child(self, *words: str) -> dict[str, Any]:
        """The answer of ``arm64_child``.

        Raises:
            Failed: It gave none.
        """
        done = self.python(self.path("arm64_child.py"), *words)
        line = next((row for row in done.out.splitlines() if row.startswith("ANSWER ")), None)
        if line is None:
            raise Failed(f"{self.name}: {words[0]} ended with {done.code}: {done.words}")
        answer: dict[str, Any] = json.loads(line.removeprefix("ANSWER "))
        return answer


def numbered(words: Sequence[str], attempt: int) -> list[str]:
    """The words with the number of the attempt where they ask for it."""
    return [word.replace("{try}", str(attempt)) for word in words]


def prove(args: argparse.Namespace) -> int:
    """Everything; prints, writes the page, returns the exit code."""
    unknown = [name for name in args.cpu or () if name not in CPUS]
    if unknown or args.frames < 1 or args.pictures < 1:
        words = f"no such processor: {unknown[0]}; there are {', '.join(CPUS)}" if unknown else "give 1 frame or more"
        print(f"scripts/arm64: {words}", file=sys.stderr)
        return BAD_INPUT
    progress = Progress()
    began = time.monotonic()
    cache = user_cache() / "arm64"
    try:
        with tempfile.TemporaryDirectory(prefix="edgewright-arm64-") as name:
            proof = Proof(args, Path(name), progress)
            if args.bundle is not None and not args.bundle.exists():
                progress.end()
                print(f"scripts/arm64: there is no bundle {args.bundle}", file=sys.stderr)
                return BAD_INPUT
            ensure_tools(progress.say)
            clip = args.clip or _samples() / CLIP
            bundle = args.bundle or make_bundle(_samples(), cache, fresh=args.fresh, say=progress.say)
            wheel = wheel_of(proof.work, progress.say)
            with make_system(cache, wheel, fresh=args.fresh, say=progress.say) as system:
                told = _all(proof, system, bundle, clip)
                told["wheel"] = wheel.name
    except Failed as error:
        progress.end()
        print(
            json.dumps({"ok": False, "error": str(error)}) if args.json else f"scripts/arm64: {error}", file=_to(args)
        )
        return MISSING
    except OSError as error:
        progress.end()
        print(f"scripts/arm64: {error}", file=sys.stderr)
        return MISSING
    finally:
        progress.end()
    told |= {
        "seconds": time.monotonic() - began,
        "started": proof.started,
        "crashes": proof.crashes,
        "crashes_at_end": proof.crashes_at_end,
        "checks": proof.checks,
    }
    told["ok"] = all(row["ok"] for row in proof.checks)
    if args.output is not None:
        args.output.write_text(page(told), encoding="utf-8")
    if args.json:
        print(json.dumps(told))
    else:
        bad = [row["name"] for row in proof.checks if not row["ok"]]
        verdict = f"FAIL: {', '.join(bad)}" if bad else f"PASS: {len(proof.checks)} checks"
        print(f"{verdict}, {told['seconds']:.0f} s; times under emulation mean nothing for a device")
    return OK if told["ok"] else DIFFERENT


def _to(args: argparse.Namespace) -> Any:
    return sys.stdout if args.json else sys.stderr


def _samples() -> Path:
    import os

    told = os.environ.get("EDGEWRIGHT_SAMPLES")
    return Path(told) if told else user_cache() / "samples"


def _all(proof: Proof, system: System, bundle_path: Path, clip: Path) -> dict[str, Any]:
    from edgewright.bundle.reader import open_bundle

    if not clip.is_file():
        raise Failed(f"there is no clip {clip}; run scripts/samples person, or name one with --clip")
    work, say = proof.work, proof.progress.say
    with open_bundle(bundle_path) as bundle:
        variants = bundle.manifest.variants
        tolerance = {} if bundle.manifest.golden is None else dict(bundle.manifest.golden.tolerance)
        digest = bundle.digest
        size = (bundle.manifest.preprocess.width, bundle.manifest.preprocess.height)
        steps = {
            f"{variant.name}/{name}": value
            for variant in variants
            if variant.precision.value == "int8"
            for name, value in output_steps(bundle.read(variant.file), variant.format.value).items()
        }
    integer = [variant for variant in variants if variant.precision.value == "int8"]
    if not integer:
        raise Failed(f"{bundle_path} has no INT8 variant")
    _copy(bundle_path, work / "person.edge")
    shutil.copy(clip, work / clip.name)
    shutil.copy(Path(__file__).with_name("arm64_child.py"), work)
    count = sampled(clip, proof.args.pictures, proof.args.frames, size, work)
    wrong = altered(bundle_path, work / "altered.edge")
    fused = next((variant.name for variant in integer if variant.format.value == "onnx"), None)
    if fused is not None:
        say("taking the ONNX variant apart into its operators")
        operator_models(bundle_path, fused, work / "fitted.npz", work / "operators.npz", work)
    here = Side(host(), proof)
    say(f"{here.name}: outputs of {count} pictures")
    engines = here.child(*_answers(here))["engines"]
    here.child(*_inputs(here))
    told: dict[str, Any] = {
        "bundle": {"digest": digest, "name": bundle_path.name, "variants": [variant.name for variant in variants]},
        "host": {"machine": _machine(), "engines": engines},
        "root_mb": system.megabytes,
        "pictures": count,
        "frames": proof.args.frames,
        "clip": clip.name,
        "cpus": [],
    }
    with cloud(work) as receiver:
        plan = [*((variant.name, "fitted") for variant in integer), (integer[0].name, clip.name)]
        watched = [_watch(here, *what, receiver) for what in plan]
        for number, name in enumerate(proof.args.cpu or CPUS):
            there = Side(name, proof, CPUS[name], system)
            row = {"name": name, "board": CPUS[name].board, "facts": _facts(there)}
            row["verify"] = _verify(there)
            row["refused"] = _refused(there, wrong)
            row |= _outputs(there, variants, tolerance, steps)
            row["operators"] = [] if fused is None else _operators(there)
            row["inputs"] = _fitted(there)
            row["runs"] = _runs(there, plan, receiver, watched)
            if number == 0 and not proof.args.no_bench:
                row["bench"] = _bench(there, [variant.name for variant in integer])
            told["cpus"].append(row)
    _stored(proof, receiver, told["cpus"], watched)
    return told


def _copy(bundle: Path, target: Path) -> None:
    if bundle.is_dir():
        shutil.copytree(bundle, target)
    else:
        shutil.copy(bundle, target)


def _machine() -> str:
    from edgewright.runtime.machine import describe_machine

    return str(describe_machine())


def _answers(side: Side) -> Sequence[str]:
    files = (side.path("person.edge"), side.path("fitted.npz"), side.path(f"answers-{side.name}.npz"))
    return ("answers", *files, str(FLOAT_FRAMES))


def _inputs(side: Side) -> Sequence[str]:
    return ("inputs", side.path("person.edge"), side.path("frames.npz"), side.path(f"inputs-{side.name}.npz"))


def _fitted(side: Side) -> dict[str, Any]:
    """How far whole frames differ when they reach the model: OpenCV resizes a little differently on other processors."""
    side.proof.progress.say(f"{side.name}: what the model is given for whole frames")
    side.child(*_inputs(side))
    with (
        np.load(side.proof.work / f"inputs-{host()}.npz") as ours,
        np.load(side.proof.work / f"inputs-{side.name}.npz") as theirs,
    ):
        gap = np.stack([np.abs(ours[key].astype(np.float64) - theirs[key]) for key in ours.files])
        grey = ours[ours.files[0]].dtype.kind in "ui"
    told = {"largest": float(gap.max()), "differing": float((gap > 0).mean())}
    detail = f"{told['differing']:.1%} of the resized numbers differ, at most by {told['largest']:.3g}; asked: one grey level"
    side.proof.check(f"{side.name} model input of whole frames", detail, ok=not grey or told["largest"] <= 1)
    return told


def _facts(side: Side) -> dict[str, Any]:
    side.proof.progress.say(f"{side.name}: importing the device application")
    told = side.child("facts")
    cpu = side.cpu
    right = cpu is None or (told["part"] == cpu.part and told["dot_product"] == ("asimddp" in cpu.features))
    dot = "with" if told["dot_product"] else "without"
    detail = f"{told['machine']}, {dot} dot product, Python {told['python']}, {told['libc']}; both engines load"
    side.proof.check(f"{side.name} imports the device application", detail, ok=right and told["machine"] == "aarch64")
    return told


def _verify(side: Side) -> dict[str, Any]:
    side.proof.progress.say(f"{side.name}: edgewright verify, golden frames through every variant")
    done = side.edgewright("verify", side.path("person.edge"), "--json")
    told: dict[str, Any] = _json(side, "verify", done)
    whole = done.code == OK and told["ok"] and not told["skipped"]
    worst = max((row["max_difference"] / row["tolerance"] for row in told["checks"] if row["tolerance"]), default=0.0)
    detail = (
        f"{len(told['engines'])} variants, {len(told['checks'])} outputs, at most {worst:.0%} of the tolerance used"
    )
    side.proof.check(f"{side.name} verifies the bundle", detail, ok=whole)
    loose = [name for name, engine in told["engines"].items() if "nothing delegated" in engine]
    detail = ", ".join(dict.fromkeys(told["engines"].values()))
    side.proof.check(f"{side.name} uses the engines as a board does", detail, ok=not loose)
    return told


def _json(side: Side, what: str, done: Done) -> Any:
    try:
        return json.loads(done.out)
    except ValueError as error:
        raise Failed(f"{side.name}: edgewright {what} ended with {done.code}: {done.words}") from error


def _refused(side: Side, wrong: tuple[str, float]) -> dict[str, Any]:
    name, by = wrong
    side.proof.progress.say(f"{side.name}: a bundle with one golden number altered")
    done = side.edgewright("verify", side.path("altered.edge"), "--json")
    told = _json(side, "verify", done)
    bad = [f"{row['variant']}/{row['output']}" for row in told["checks"] if not row["ok"]]
    detail = f"{name} altered by {by:.3g}: exit code {done.code}, refused for {', '.join(bad) or 'nothing'}"
    side.proof.check(f"{side.name} refuses altered golden answers", detail, ok=done.code == DIFFERENT and bad == [name])
    return {"altered": name, "by": by, "exit_code": done.code, "bad": bad}


def _outputs(
    side: Side, variants: Sequence[Any], tolerance: dict[str, float], steps: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    proof = side.proof
    proof.progress.say(f"{side.name}: outputs of the same pictures")
    side.child(*_answers(side))
    ours = dict(np.load(proof.work / f"answers-{host()}.npz"))
    theirs = dict(np.load(proof.work / f"answers-{side.name}.npz"))
    outputs, answers = [], []
    forms = {variant.name: (variant.format.value, variant.precision.value) for variant in variants}
    for gap in gaps(ours, theirs, tolerance, steps):
        form, precision = forms[gap.variant]
        row = dataclasses.asdict(gap) | {"form": form, "precision": precision}
        outputs.append(row)
        ok, asked = _judged(row)
        stepped = ""
        if gap.largest_steps is not None and gap.beyond_one is not None:
            stepped = f" = {gap.largest_steps:.0f} steps, {gap.beyond_one:.2%} beyond one step"
        detail = f"{gap.equal:.2%} of {gap.values} bit-equal, largest difference {gap.largest:.3g}{stepped}; {asked}"
        proof.check(f"{side.name} {gap.variant} / {gap.output}", detail, ok=ok)
    for name in forms:
        alike, found, frames = answers_alike(ours, theirs, name)
        answers.append({"variant": name, "alike": alike, "found": found, "frames": frames})
        detail = f"{alike} of {found} alike in {frames} pictures"
        proof.check(f"{side.name} {name} detections", detail, ok=found > 0 and alike >= ANSWERS_ALIKE * found)
    return {"outputs": outputs, "answers": answers}


def _judged(row: dict[str, Any]) -> tuple[bool, str]:
    """Whether an output is near enough, and what near enough means."""
    within = row["within"] >= VALUES_WITHIN
    if row["precision"] == "int8" and row["form"] == "tflite" and row["beyond_one"] is not None:
        return within and row["beyond_one"] <= BEYOND_ONE, "asked: one step"
    return within, "asked: the bundle's tolerance"


def _operators(side: Side) -> list[dict[str, Any]]:
    proof = side.proof
    proof.progress.say(f"{side.name}: the ONNX variant operator by operator")
    rows = operator_rows(side.child("operators", side.path("operators.npz"))["operators"])
    for row in rows:
        # Sums and products of integers are exact; adding two grids is done in float, and a tie may fall either way.
        exact = row.kind == "QLinearConv"
        asked = "asked: bit-equal" if exact else "asked: one step"
        detail = f"{row.count} operators, {row.differing} of {row.values} values differ, at most {row.largest} steps; {asked}"
        proof.check(f"{side.name} {row.kind} from equal inputs", detail, ok=row.largest <= (0 if exact else 1))
    return [dataclasses.asdict(row) for row in rows]


def _watch(side: Side, variant: str, clip: str, receiver: Cloud) -> dict[str, Any]:
    """``edgewright run`` over the first frames of the clip."""
    proof = side.proof
    proof.progress.say(f"{side.name}: edgewright run, {proof.args.frames} frames with {variant}")
    # What the emulator broke off has sent some events already: each attempt is a device of its own.
    name = "fitted" if clip == "fitted" else "clip"
    device = f"{side.name}-{variant}-{name}-{{try}}".replace("_", "-")
    what = (side.path("person.edge"), "--source", side.path(clip), "--variant", variant)
    sync = ("--broker", receiver.url, "--device", device, "--outbox", side.path(f"outbox-{device}.db"), "--drain", "60")
    done = side.edgewright("run", *what, "--max-frames", str(proof.args.frames), *sync, "--json")
    told = _json(side, "run", done)
    attempt = max(
        int(row.stem.rpartition("-")[2]) for row in proof.work.glob(f"outbox-{device.replace('{try}', '*')}.db")
    )
    return {
        "variant": variant,
        "source": name,
        "device": device.replace("{try}", str(attempt)),
        "exit_code": done.code,
        "frames": told["frames_processed"],
        "results": told["results"],
        "engine": told["engine"],
        "emitted": told["sync"]["emitted"],
        "acknowledged": told["sync"]["stored"],
        "drained": told["drained"],
        "tracks": told["tracks"],
        "events": told["events"],
    }


def _runs(
    side: Side, plan: Sequence[tuple[str, str]], receiver: Cloud, watched: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    rows = []
    for (variant, clip), ours in zip(plan, watched, strict=True):
        row = _watch(side, variant, clip, receiver)
        what = f"{variant} {'frames at input size' if row['source'] == 'fitted' else 'whole clip'}"
        rows.append(row)
        stored = stored_events(receiver.database, row["device"])
        twins = stored_events(receiver.database, ours["device"])
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(e["kind"] for e in stored).items()))
        whole = row["exit_code"] == OK and row["drained"] and row["results"] == {"ok": row["frames"]}
        same = row["emitted"] == row["acknowledged"] == len(stored) and len(stored) > 0
        detail = f"{row['emitted']} emitted = {len(stored)} in the database ({kinds}), {row['frames']} frames"
        side.proof.check(f"{side.name} {what}, events arrive", detail, ok=whole and same)
        surplus, unlike = events_differ(twins, stored)
        row |= {"stored": len(stored), "surplus": dict(surplus), "unlike": unlike}
        detail = f"kinds and counts as on {host()}; {unlike} of {len(stored)} say something else"
        detail = f"{dict(surplus)} more or less than on {host()}, {unlike} say something else" if surplus else detail
        # Whole frames are resized differently, so a detection near its threshold may come a frame later or not.
        kinds_alike = {e["kind"] for e in stored} == {e["kind"] for e in twins}
        alike = not surplus if row["source"] == "fitted" else kinds_alike
        asked = "kinds and counts" if row["source"] == "fitted" else "kinds"
        side.proof.check(f"{side.name} {what}, events as on {host()}", f"{detail}; asked: {asked}", ok=alike)
    return rows


def _stored(proof: Proof, receiver: Cloud, cpus: Sequence[dict[str, Any]], watched: Sequence[dict[str, Any]]) -> None:
    runs = [*watched, *(row for cpu in cpus for row in cpu["runs"])]
    emitted, total = sum(row["emitted"] for row in runs), receiver.summary["events_in_database"]
    broken_off = total - sum(len(stored_events(receiver.database, row["device"])) for row in runs)
    said = receiver.summary
    lost = said["conflicts"] + said["rejected"] + said["malformed"] + said["mismatched"] + said["failures"]
    extra = f" and {broken_off} of runs that the emulator broke off" if broken_off else ""
    detail = f"{emitted} emitted by {len(runs)} runs{extra} = {total} in the database, {lost} refused"
    proof.check("database", detail, ok=emitted + broken_off == total and not lost)


def _bench(side: Side, variants: Sequence[str]) -> dict[str, Any]:
    proof = side.proof
    proof.progress.say(f"{side.name}: edgewright bench, so that there is a result marked as emulated")
    name = f"emulated-{side.name}.json"
    only = [word for variant in variants for word in ("--only", variant)]
    words = ("bench", side.path("person.edge"), *only, "--runs", str(BENCH_RUNS), "-o", side.path(name))
    done = side.edgewright(*words)
    result, marked = proof.work / name, False
    if result.is_file():
        marked = bool(json.loads(result.read_text(encoding="utf-8")).get("emulated"))
        proof.args.results.mkdir(parents=True, exist_ok=True)
        shutil.copy(result, proof.args.results / name)
    detail = f"{name}, its times mean nothing for a device" if done.code == OK else done.words
    proof.check(f"{side.name} result is marked as emulated", detail, ok=done.code == OK and marked)
    return {"file": name, "marked": marked}
