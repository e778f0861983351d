"""Proving a bundle on this machine: digests first, then the golden vectors through the real engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import IntegrityError
from edgewright.bundle.golden import read_golden
from edgewright.bundle.reader import open_bundle
from edgewright.runtime.session import open_session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from edgewright.bundle.golden import GoldenVectors
    from edgewright.bundle.manifest import Golden
    from edgewright.bundle.reader import Bundle

__all__ = ["OutputCheck", "VerifyReport", "verify_bundle"]


@dataclass(frozen=True)
class OutputCheck:
    """One output of one variant against its golden answers.

    Attributes:
        variant: Name of the variant.
        output: Name of the output.
        frames: Golden frames compared.
        max_difference: Largest absolute difference seen.
        tolerance: Largest one the bundle allows.
    """

    variant: str
    output: str
    frames: int
    max_difference: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether it lies within the tolerance; NaN does not."""
        return self.max_difference <= self.tolerance


@dataclass(frozen=True)
class VerifyReport:
    """What ``verify_bundle`` found; that it returned at all means that every digest was right.

    Attributes:
        name: Of the bundle.
        version: Of the bundle.
        digest: SHA-256 of the manifest.
        verdict: What became of the contract when the bundle was made.
        files: Number of files whose digest was checked.
        checks: One a variant and output; empty when the bundle carries no golden vectors.
    """

    name: str
    version: str
    digest: str
    verdict: str
    files: int
    checks: tuple[OutputCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether this machine repeats every golden answer; False when there was none to repeat."""
        return bool(self.checks) and all(check.ok for check in self.checks)


def verify_bundle(path: Path, threads: int = 1) -> VerifyReport:
    """Checks a bundle's files, then its golden vectors on this machine.

    Args:
        path: Bundle directory or ``.edge`` file.
        threads: For the engine.

    Returns:
        What was compared.

    Raises:
        BundleError: A file is missing, altered or undeclared; the message names it.
        RuntimeFailure: The engine refuses a variant.
    """
    with open_bundle(path) as bundle:
        manifest = bundle.manifest
        checks: list[OutputCheck] = []
        if manifest.golden is not None:
            golden = read_golden(bundle.read(manifest.golden.file), f"{path}: {manifest.golden.file}")
            for variant in manifest.variants:
                checks += _check_variant(bundle, variant.name, golden, manifest.golden, threads)
        files = len(manifest.files) + 2  # the manifest and its digest
        verdict = manifest.provenance.verdict
        return VerifyReport(manifest.name, manifest.version, bundle.digest, verdict, files, tuple(checks))


def _check_variant(
    bundle: Bundle, variant: str, golden: GoldenVectors, declared: Golden, threads: int
) -> list[OutputCheck]:
    answers = golden.outputs.get(variant, ())
    wanted = {output.name for output in bundle.manifest.variant(variant).outputs}
    if len(golden.frames) != declared.count or any(set(answer) != wanted for answer in answers) or not answers:
        msg = (
            f"bundle {bundle.path}: {declared.file} does not hold {declared.count} frames with an answer of variant "
            f"{variant!r} for each of its outputs; the bundle is incomplete, make it again"
        )
        raise IntegrityError(msg)
    session = open_session(bundle, variant, threads)
    differences = [
        _differences(session.raw(frame), answer) for frame, answer in zip(golden.frames, answers, strict=True)
    ]
    return [
        OutputCheck(
            variant,
            output,
            len(differences),
            float(np.max([row[output] for row in differences])),
            declared.tolerance[f"{variant}/{output}"],
        )
        for output in differences[0]
    ]


def _differences(seen: Mapping[str, NDArray[Any]], golden: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    return {name: _difference(seen.get(name), value) for name, value in golden.items()}


def _difference(seen: NDArray[Any] | None, golden: NDArray[Any]) -> float:
    if seen is None or seen.shape != golden.shape:
        return float("inf")
    gap = np.abs(seen.astype(np.float64) - golden.astype(np.float64))
    # Two infinities of one sign are equal although their difference is not a number.
    gap[seen == golden] = 0.0
    return float(gap.max()) if np.isfinite(gap).all() else float("inf")
