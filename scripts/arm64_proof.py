"""The steps of ``scripts/arm64``, in order."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arm64_bundle import CLIP, altered, make_bundle, operator_models, sampled
from arm64_checks import (
    all_stored,
    answers_words,
    bench,
    imports,
    inputs_words,
    operators,
    outputs,
    refused,
    runs_alike,
    verified,
    watch,
    whole_frames,
)
from arm64_cloud import cloud
from arm64_compare import output_steps
from arm64_page import page
from arm64_progress import Progress
from arm64_root import CPUS, Failed, ensure_tools, host, make_system, user_cache, wheel_of
from arm64_side import Proof, Side

if TYPE_CHECKING:
    import argparse

    from arm64_root import System

__all__ = ["prove"]

OK, BAD_INPUT, DIFFERENT, MISSING = 0, 2, 3, 5


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
    engines = here.child(*answers_words(here))["engines"]
    here.child(*inputs_words(here))
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
        watched = [watch(here, *what, receiver) for what in plan]
        for number, name in enumerate(proof.args.cpu or CPUS):
            there = Side(name, proof, CPUS[name], system)
            row = {"name": name, "board": CPUS[name].board, "facts": imports(there)}
            row["verify"] = verified(there)
            row["refused"] = refused(there, wrong)
            row |= outputs(there, variants, tolerance, steps)
            row["operators"] = [] if fused is None else operators(there)
            row["inputs"] = whole_frames(there)
            row["runs"] = runs_alike(there, plan, receiver, watched)
            if number == 0 and not proof.args.no_bench:
                row["bench"] = bench(there, [variant.name for variant in integer])
            told["cpus"].append(row)
    all_stored(proof, receiver, told["cpus"], watched)
    return told


def _copy(bundle: Path, target: Path) -> None:
    if bundle.is_dir():
        shutil.copytree(bundle, target)
    else:
        shutil.copy(bundle, target)


def _machine() -> str:
    from edgewright.runtime.machine import describe_machine

    return str(describe_machine())
