"""`edgewright inspect`: what a bundle holds, after checking that it holds just that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.codec import manifest_to_json
from edgewright.bundle.errors import ExitCode
from edgewright.bundle.reader import open_bundle

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from edgewright.bundle.manifest import Manifest, Metric, Variant
    from edgewright.bundle.reader import Bundle

EPILOG = "example:\n  edgewright inspect person.edge\n  edgewright inspect person.edge --json | python -m json.tool"


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
    labels = ", ".join(manifest.labels[:8]) + (", ..." if len(manifest.labels) > 8 else "")
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
    yield f"  files        {len(manifest.files)}, {sum(entry.bytes for entry in manifest.files):,} bytes"


def _schema(manifest: Manifest) -> str:
    return f"{manifest.schema_major}.{manifest.schema_minor}"


def _variant_lines(variant: Variant) -> Iterator[str]:
    yield f"  variant      {variant.name}: {variant.format.value} {variant.precision.value}, {variant.bytes:,} bytes"
    for row in variant.latency:
        ratio = f", {row.speedup:.2f}x float" if row.speedup is not None else ""
        times = f"p50 {row.p50_ms:.1f} p95 {row.p95_ms:.1f} p99 {row.p99_ms:.1f} ms"
        yield f"               {times}{ratio} on {row.threads} thread(s) of {row.machine}"


def _metric(row: Metric) -> str:
    interval = f"[{row.low:.4g} .. {row.high:.4g}] at {row.confidence:.0%}"
    return f"{row.name} of {row.variant}: {row.value:.4g} {interval}, {row.samples} frames"
