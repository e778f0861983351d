"""Writing what boards measured into the bundle itself, so that its figures travel with it.

Times go to the manifest's ``latency`` of each variant, one entry a machine and number of threads; a new one takes the
place of an old one. The manifest's digest changes with that, the models, their pre- and postprocessing and the golden
answers do not (``bundle_identity``).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Latency
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.runtime.candidates import read_candidate
from edgewright.runtime.results.schema import ResultError, bundle_identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgewright.bundle.manifest import Variant
    from edgewright.runtime.results.schema import Result, VariantResult
    from edgewright.runtime.results.signing import Signature

__all__ = ["Recorded", "record_results"]


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What became of a bundle.

    Attributes:
        old: Its digest before.
        new: Its digest now.
        entries: How many figures were written.
    """

    old: str
    new: str
    entries: int


def record_results(bundle: Path, results: Sequence[tuple[Result, Signature]], *, only_signed: bool = False) -> Recorded:
    """Writes results into a bundle, whole or not at all.

    Args:
        bundle: Bundle directory or ``.edge`` file; takes their place.
        results: Of that bundle, with what is known of who signed them.
        only_signed: Whether a result must be signed by somebody who is listed.

    Raises:
        ResultError: A result is of another bundle, of an emulated board, or not signed as it must be.
        BundleError: The bundle is not right.
        OutputError: It cannot be written; it is as it was.
    """
    with open_bundle(bundle) as opened:
        manifest, old = opened.manifest, opened.digest
        identity = bundle_identity(manifest)
        for result, signature in results:
            _check(result, identity, bundle)
            if only_signed and not signature.signer:
                msg = f"the result of {result.board.name} is {signature}; only listed signers' results are written"
                raise ResultError(msg)
        payload = {entry.path: opened.read(entry.path) for entry in manifest.files}
    variants, count = manifest.variants, 0
    for result, signature in results:
        new = [_with_times(variant, result, signature) for variant in variants]
        count += sum(row is not variant for row, variant in zip(new, variants, strict=True))
        variants = tuple(new)
    write_bundle(bundle, dataclasses.replace(manifest, variants=variants), payload)
    with open_bundle(bundle) as opened:
        return Recorded(old, opened.digest, count)


def _check(result: Result, identity: str, bundle: Path) -> None:
    where = f"the result of {result.board.name}"
    if result.board.emulated:
        msg = f"{where} was measured on an emulated board ({result.board.emulated_by}); such times say nothing"
        raise ResultError(msg)
    if result.bundle.identity != identity:
        msg = (
            f"{where} is of {result.bundle.name} {result.bundle.version} ({result.bundle.digest[:16]}...), not of {bundle}; "
            "time this bundle there"
        )
        raise ResultError(msg)


def _with_times(variant: Variant, result: Result, signature: Signature) -> Variant:
    """On several backends, the fastest stands for the variant: that is what a board would choose."""
    rows = [row for row in result.variants if read_candidate(row.candidate).variant == variant.name]
    rows = [row for row in rows if row.golden is not False and row.sha256 == variant.sha256]
    if not rows:
        return variant
    latency = _latency(min(rows, key=lambda row: row.stages["total"].p50), result, signature)
    others = tuple(old for old in variant.latency if (old.machine, old.threads) != (latency.machine, latency.threads))
    return dataclasses.replace(variant, latency=(*others, latency))


def _latency(row: VariantResult, result: Result, signature: Signature) -> Latency:
    total = row.stages["total"]
    ratio = result.speedup(row.candidate)
    throttled, hottest = result.conditions.throttled, result.conditions.after.hottest
    extra: dict[str, Any] = {
        "frame_size": list(result.setting.frame_size),
        "engine": row.engine,
        "board": result.board.name,
        "made": result.made,
        "signed_by": signature.signer or None,
        "peak_memory_bytes": row.peak_memory_bytes,
        "throttled": None if throttled is None else list(throttled),
        "celsius": hottest,
    }
    accuracy = next((said for said in result.accuracy if said.variant == row.candidate), None)
    if accuracy is not None:
        extra["accuracy"] = {
            "metric": accuracy.metric,
            "value": accuracy.board.value,
            "reference": accuracy.reference,
            "drop_points": [accuracy.drop.value, accuracy.drop.low, accuracy.drop.high],
            "pictures": accuracy.drop.samples,
        }
    return Latency(
        machine=_machine(result),
        threads=result.setting.threads,
        runs=row.frames,
        p50_ms=total.p50,
        p95_ms=total.p95,
        p99_ms=total.p99,
        speedup=None if ratio is None else ratio.value,
        speedup_low=None if ratio is None else ratio.low,
        speedup_high=None if ratio is None else ratio.high,
        extra=extra,
    )


def _machine(result: Result) -> str:
    """Many boards share a processor's name: where the board says what it is, that stands first."""
    model, machine = result.board.model, str(result.board.machine)
    return machine if model is None or model in machine else f"{model}, {machine}"
