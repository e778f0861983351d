"""`edgewright inspect`: what a bundle holds, after checking that it holds just that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.codec import manifest_to_json
from edgewright.bundle.errors import BundleError, ExitCode
from edgewright.bundle.figures import milliseconds
from edgewright.bundle.reader import open_bundle

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from edgewright.bundle.manifest import Manifest, Metric, Variant
    from edgewright.bundle.reader import Bundle

EPILOG = "example:\n  edgewright inspect person.edge\n  edgewright inspect person.edge --json | python -m json.tool"

_LIMITS = ("max_drop", "min_agreement", "min_speedup", "max_size")
_REPORT = "report/report.json"
_SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="bundle directory or .edge file")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the bundle's description."""
    with open_bundle(args.bundle) as bundle:
        if args.json:
            print(json.dumps({"digest": bundle.digest, "manifest": json.loads(manifest_to_json(bundle.manifest))}))
        else:
            print("\n".join(_lines(bundle)))
    return ExitCode.OK


def _lines(bundle: Bundle) -> Iterator[str]:
    manifest = bundle.manifest
    yield f"{manifest.name} {manifest.version}  ({manifest.task.value}, verdict {manifest.provenance.verdict})"
    yield f"  bundle       {bundle.path}  sha256 {bundle.digest[:16]}..., schema {_schema(manifest)}"
    labels = ", ".join(manifest.labels[:_SHOWN]) + (", ..." if len(manifest.labels) > _SHOWN else "")
    yield f"  labels       {len(manifest.labels)}: {labels}"
    pre = manifest.preprocess
    yield f"  input        {pre.width}x{pre.height} {pre.color.value}, {pre.resize.value}"
    for variant in manifest.variants:
        yield from _variant_lines(variant)
    if manifest.calibration is not None:
        kept = manifest.calibration
        yield f"  calibration  {kept.count} samples, {kept.method}, {kept.source}"
    for metric in manifest.metrics:
        yield f"  metric       {_metric(metric)}"
    source = manifest.provenance
    yield f"  source       {source.source}  sha256 {source.source_sha256[:16]}...  made {source.created}"
    yield from _story_lines(bundle)
    # As `edgewright verify` counts: the manifest and its digest are files, too.
    content = sum(entry.bytes for entry in manifest.files)
    yield f"  files        {len(manifest.files) + 2} with manifest and digest, {content:,} bytes of content"


def _story_lines(bundle: Bundle) -> Iterator[str]:
    """What was promised, and how the model came about as far as the bundle's report tells."""
    recipe = bundle.manifest.provenance.recipe
    limits = [f"--{key.replace('_', '-')} {recipe[key]}" for key in _LIMITS if recipe.get(key) is not None]
    yield f"  promised     {', '.join(limits) or 'nothing'}"
    try:
        story = json.loads(bundle.read(_REPORT))["story"]
        yield from _made_lines(story)
    except (BundleError, ValueError, KeyError, TypeError):
        # A bundle need carry no report, and one of an earlier or later version may tell it otherwise.
        yield "  passes       not told"


def _made_lines(story: Mapping[str, Any]) -> list[str]:
    target, trials = story["target"], story["trials"]
    how = "named by hand" if target["effort"] == "by hand" else f"effort {target['effort']}, {len(trials)} tried"
    kept = [trial["name"] for trial in trials if trial["kept"]]
    # The recipe is lines of TOML whose lists are JSON, too; the device need not have a reader of TOML.
    lines = dict(line.split(" = ", 1) for line in story["recipe"].splitlines() if " = " in line)
    floats = json.loads(lines.get("leave-float", "[]"))
    shown = ", ".join(floats[:_SHOWN]) + (", ..." if len(floats) > _SHOWN else "")
    return [
        f"  made for     {target['profile'] or 'the machine it was made on'}, integers {target['scheme']}",
        f"  passes       {', '.join(kept) or 'none'} ({how})",
        f"  float nodes  {len(floats)}{f': {shown}' if floats else ''}",
    ]


def _schema(manifest: Manifest) -> str:
    return f"{manifest.schema_major}.{manifest.schema_minor}"


def _variant_lines(variant: Variant) -> Iterator[str]:
    yield f"  variant      {variant.name}: {variant.format.value} {variant.precision.value}, {variant.bytes:,} bytes"
    for row in variant.latency:
        ratio = f", {row.speedup:.2f}x float" if row.speedup is not None else ""
        p50, p95, p99 = (milliseconds(value, 1) for value in (row.p50_ms, row.p95_ms, row.p99_ms))
        times = f"p50 {p50} p95 {p95} p99 {p99} ms"
        yield f"               {times}{ratio} on {row.threads} thread(s) of {row.machine}"


def _metric(row: Metric) -> str:
    # Adding zero takes the sign off a negative one.
    value, low, high = (f"{figure + 0.0:.4g}" for figure in (row.value, row.low, row.high))
    interval = f"[{low} .. {high}] at {row.confidence:.0%}"
    return f"{row.name} of {row.variant}: {value} {interval}, {row.samples} frames"
