"""What ``scripts/arm64`` asks of an emulated board, one question a function: each notes its check and returns its figures."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from arm64_cloud import Cloud, stored_events
from arm64_compare import answers_alike, events_differ, gaps, operator_rows
from arm64_root import Done, Failed, host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arm64_side import Proof, Side

__all__ = [
    "all_stored",
    "answers_words",
    "bench",
    "imports",
    "inputs_words",
    "operators",
    "outputs",
    "refused",
    "runs_alike",
    "verified",
    "watch",
    "whole_frames",
]

OK, DIFFERENT = 0, 3
VALUES_WITHIN, ANSWERS_ALIKE, BEYOND_ONE = 0.999, 0.95, 0.001
FLOAT_FRAMES = 1
BENCH_RUNS = 5


def answers_words(side: Side) -> Sequence[str]:
    """What `arm64_child` is asked for the outputs of the pictures."""
    files = (side.path("person.edge"), side.path("fitted.npz"), side.path(f"answers-{side.name}.npz"))
    return ("answers", *files, str(FLOAT_FRAMES))


def inputs_words(side: Side) -> Sequence[str]:
    """What it is asked for the model's inputs of whole frames."""
    return ("inputs", side.path("person.edge"), side.path("frames.npz"), side.path(f"inputs-{side.name}.npz"))


def whole_frames(side: Side) -> dict[str, Any]:
    """How far whole frames differ when they reach the model: OpenCV resizes a little differently on other processors."""
    side.proof.progress.say(f"{side.name}: what the model is given for whole frames")
    side.child(*inputs_words(side))
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


def imports(side: Side) -> dict[str, Any]:
    """The device application loads with both engines, on the processor that is meant."""
    side.proof.progress.say(f"{side.name}: importing the device application")
    told = side.child("facts")
    cpu = side.cpu
    right = cpu is None or (told["part"] == cpu.part and told["dot_product"] == ("asimddp" in cpu.features))
    dot = "with" if told["dot_product"] else "without"
    detail = f"{told['machine']}, {dot} dot product, Python {told['python']}, {told['libc']}; both engines load"
    side.proof.check(f"{side.name} imports the device application", detail, ok=right and told["machine"] == "aarch64")
    return told


def verified(side: Side) -> dict[str, Any]:
    """Golden frames through every variant, by the engines that a board uses."""
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


def refused(side: Side, wrong: tuple[str, float]) -> dict[str, Any]:
    """A bundle with one golden number altered is refused for that number."""
    name, by = wrong
    side.proof.progress.say(f"{side.name}: a bundle with one golden number altered")
    done = side.edgewright("verify", side.path("altered.edge"), "--json")
    told = _json(side, "verify", done)
    bad = [f"{row['variant']}/{row['output']}" for row in told["checks"] if not row["ok"]]
    detail = f"{name} altered by {by:.3g}: exit code {done.code}, refused for {', '.join(bad) or 'nothing'}"
    side.proof.check(f"{side.name} refuses altered golden answers", detail, ok=done.code == DIFFERENT and bad == [name])
    return {"altered": name, "by": by, "exit_code": done.code, "bad": bad}


def outputs(
    side: Side, variants: Sequence[Any], tolerance: dict[str, float], steps: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Raw outputs and detections of the same pictures are near enough to this machine's."""
    proof = side.proof
    proof.progress.say(f"{side.name}: outputs of the same pictures")
    side.child(*answers_words(side))
    ours = dict(np.load(proof.work / f"answers-{host()}.npz"))
    theirs = dict(np.load(proof.work / f"answers-{side.name}.npz"))
    rows, answers = [], []
    forms = {variant.name: (variant.format.value, variant.precision.value) for variant in variants}
    for gap in gaps(ours, theirs, tolerance, steps):
        form, precision = forms[gap.variant]
        row = dataclasses.asdict(gap) | {"form": form, "precision": precision}
        rows.append(row)
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
    return {"outputs": rows, "answers": answers}


def _judged(row: dict[str, Any]) -> tuple[bool, str]:
    """Whether an output is near enough, and what near enough means."""
    within = row["within"] >= VALUES_WITHIN
    if row["precision"] == "int8" and row["form"] == "tflite" and row["beyond_one"] is not None:
        return within and row["beyond_one"] <= BEYOND_ONE, "asked: one step"
    return within, "asked: the bundle's tolerance"


def operators(side: Side) -> list[dict[str, Any]]:
    """The ONNX variant operator by operator, each from equal inputs."""
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


def watch(side: Side, variant: str, clip: str, receiver: Cloud) -> dict[str, Any]:
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


def runs_alike(
    side: Side, plan: Sequence[tuple[str, str]], receiver: Cloud, watched: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What `edgewright run` sees there arrives whole, and is what it sees here."""
    rows = []
    for (variant, clip), ours in zip(plan, watched, strict=True):
        row = watch(side, variant, clip, receiver)
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


def all_stored(
    proof: Proof, receiver: Cloud, cpus: Sequence[dict[str, Any]], watched: Sequence[dict[str, Any]]
) -> None:
    """The database holds what was emitted, and nothing else."""
    runs = [*watched, *(row for cpu in cpus for row in cpu["runs"])]
    emitted, total = sum(row["emitted"] for row in runs), receiver.summary["events_in_database"]
    broken_off = total - sum(len(stored_events(receiver.database, row["device"])) for row in runs)
    said = receiver.summary
    lost = said["conflicts"] + said["rejected"] + said["malformed"] + said["mismatched"] + said["failures"]
    extra = f" and {broken_off} of runs that the emulator broke off" if broken_off else ""
    detail = f"{emitted} emitted by {len(runs)} runs{extra} = {total} in the database, {lost} refused"
    proof.check("database", detail, ok=emitted + broken_off == total and not lost)


def bench(side: Side, variants: Sequence[str]) -> dict[str, Any]:
    """A result file of `edgewright bench` there is marked as emulated."""
    proof = side.proof
    proof.progress.say(f"{side.name}: edgewright bench, so that there is a result marked as emulated")
    name = f"emulated-{side.name}.json"
    only = [word for variant in variants for word in ("--only", variant)]
    board = ("--board", f"emulated {side.name}")
    words = ("bench", side.path("person.edge"), *only, *board, "--runs", str(BENCH_RUNS), "-o", side.path(name))
    done = side.edgewright(*words)
    result, marked = proof.work / name, False
    if result.is_file():
        marked = bool(json.loads(result.read_text(encoding="utf-8")).get("emulated"))
        proof.args.results.mkdir(parents=True, exist_ok=True)
        shutil.copy(result, proof.args.results / name)
    detail = f"{name}, its times mean nothing for a device" if done.code == OK else done.words
    proof.check(f"{side.name} result is marked as emulated", detail, ok=done.code == OK and marked)
    return {"file": name, "marked": marked}
