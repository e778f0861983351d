"""Proving a bundle on this machine: digests first, then the golden vectors through the real engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import IntegrityError, MissingExtraError
from edgewright.bundle.golden import read_golden
from edgewright.bundle.reader import open_bundle
from edgewright.runtime.backends.choice import NO_WISHES
from edgewright.runtime.session import open_session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from edgewright.bundle.golden import GoldenVectors
    from edgewright.bundle.reader import Bundle
    from edgewright.runtime.backends.choice import BackendName, EngineOptions
    from edgewright.runtime.session import Session

__all__ = ["OutputCheck", "VerifyReport", "check_variant", "verify_bundle"]


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
        skipped: Variants that were not run because their engine is not installed, and what that needs.
        engines: Engine and version that each variant was run on.
    """

    name: str
    version: str
    digest: str
    verdict: str
    files: int
    checks: tuple[OutputCheck, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    engines: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether this machine repeats every golden answer it has an engine for; False when there was none."""
        return bool(self.checks) and all(check.ok for check in self.checks)


def verify_bundle(path: Path, threads: int = 1, options: EngineOptions = NO_WISHES) -> VerifyReport:
    """Checks a bundle's files, then its golden vectors on this machine.

    A device has one engine, a bundle may have variants for two: what has no engine here is left out and named.

    Args:
        path: Bundle directory or ``.edge`` file.
        threads: For the engine.
        options: What the owner of the machine says of its engines, such as the board's own order of backends.

    Returns:
        What was compared.

    Raises:
        BundleError: A file is missing, altered or undeclared; the message names it.
        RuntimeFailure: The engine refuses a variant.
        MissingExtraError: There is an engine for none of the variants.
    """
    with open_bundle(path) as bundle:
        manifest = bundle.manifest
        checks: list[OutputCheck] = []
        missing: dict[str, MissingExtraError] = {}
        engines: dict[str, str] = {}
        if manifest.golden is not None:
            golden = read_golden(bundle.read(manifest.golden.file), f"{path}: {manifest.golden.file}")
            for variant in manifest.variants:
                answer = _checked_or_missing(bundle, variant.name, golden, threads, options)
                if isinstance(answer, MissingExtraError):
                    missing[variant.name] = answer
                else:
                    checks += answer[0]
                    engines[variant.name] = answer[1]
        if missing and not checks:
            raise next(iter(missing.values()))
        skipped = {name: str(error) for name, error in missing.items()}
        files = len(manifest.files) + 2  # the manifest and its digest
        verdict = manifest.provenance.verdict
        digest = bundle.digest
        return VerifyReport(manifest.name, manifest.version, digest, verdict, files, tuple(checks), skipped, engines)


def check_variant(
    bundle: Bundle,
    variant: str,
    threads: int = 1,
    *,
    backend: BackendName | None = None,
    options: EngineOptions = NO_WISHES,
) -> tuple[OutputCheck, ...]:
    """Holds one variant on one backend against its golden answers.

    Args:
        bundle: Opened, with golden vectors.
        variant: Its name.
        threads: For the engine.
        backend: As ``open_session`` takes it.
        options: As ``open_session`` takes it.

    Raises:
        IntegrityError: The bundle carries none for it.
        RuntimeFailure: The engine refuses the variant.
        MissingExtraError: The engine is not installed.
    """
    if bundle.manifest.golden is None:
        msg = f"bundle {bundle.path} carries no golden vectors; make it again with edgewright optimize"
        raise IntegrityError(msg)
    golden = read_golden(bundle.read(bundle.manifest.golden.file), f"{bundle.path}: {bundle.manifest.golden.file}")
    _check_whole(bundle, variant, golden)
    session = open_session(bundle, variant, threads, backend=backend, options=options)
    return _compared(bundle, variant, golden, session)


def _checked_or_missing(
    bundle: Bundle, variant: str, golden: GoldenVectors, threads: int, options: EngineOptions
) -> tuple[tuple[OutputCheck, ...], str] | MissingExtraError:
    _check_whole(bundle, variant, golden)
    try:
        session = open_session(bundle, variant, threads, options=options)
    except MissingExtraError as error:
        return error
    return _compared(bundle, variant, golden, session), session.engine


def _check_whole(bundle: Bundle, variant: str, golden: GoldenVectors) -> None:
    declared = bundle.manifest.golden
    answers = golden.outputs.get(variant, ())
    wanted = {output.name for output in bundle.manifest.variant(variant).outputs}
    whole = declared is not None and len(golden.frames) == declared.count
    if not whole or any(set(answer) != wanted for answer in answers) or not answers:
        msg = (
            f"bundle {bundle.path}: {declared.file if declared else 'the manifest'} does not hold every golden frame with an "
            f"answer of variant {variant!r} for each of its outputs; the bundle is incomplete, make it again"
        )
        raise IntegrityError(msg)


def _compared(bundle: Bundle, variant: str, golden: GoldenVectors, session: Session) -> tuple[OutputCheck, ...]:
    try:
        answers = zip(golden.frames, golden.outputs[variant], strict=True)
        differences = [_differences(session.raw(frame), answer) for frame, answer in answers]
    finally:
        session.close()
    tolerance: Mapping[str, float] = {} if bundle.manifest.golden is None else bundle.manifest.golden.tolerance
    return tuple(
        OutputCheck(
            variant,
            output,
            len(differences),
            float(np.max([row[output] for row in differences])),
            tolerance[f"{variant}/{output}"],
        )
        for output in differences[0]
    )


def _differences(seen: Mapping[str, NDArray[Any]], golden: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    return {name: _difference(seen.get(name), value) for name, value in golden.items()}


def _difference(seen: NDArray[Any] | None, golden: NDArray[Any]) -> float:
    if seen is None or seen.shape != golden.shape:
        return float("inf")
    gap = np.abs(seen.astype(np.float64) - golden.astype(np.float64))
    # Two infinities of one sign are equal although their difference is not a number.
    gap[seen == golden] = 0.0
    return float(gap.max()) if np.isfinite(gap).all() else float("inf")
