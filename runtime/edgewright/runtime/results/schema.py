"""What a result file says: a bundle's times on one machine, and what they were taken under.

Frozen dataclasses, no I/O; ``edgewright.runtime.results.codec`` turns them into JSON and back and checks them. A figure
that the machine could not give is None, and the reason stands in ``Snapshot.missing`` or ``Energy.why_not``.

``BundleFacts.identity`` and not the digest says which results belong together: a bundle that took in the figures of a
board has another digest, and is still the same models with the same pre- and postprocessing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping  # noqa: TC003 - the codec reads these annotations at run time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgewright.bundle.codec import manifest_to_json
from edgewright.bundle.digest import sha256_hex
from edgewright.runtime.bench import Quantiles  # noqa: TC001 - read at run time, as above
from edgewright.runtime.bench_ratio import Ratio  # noqa: TC001 - read at run time, as above
from edgewright.runtime.conditions import Snapshot  # noqa: TC001 - read at run time, as above
from edgewright.runtime.energy import Energy  # noqa: TC001 - read at run time, as above
from edgewright.runtime.errors import RuntimeFailure
from edgewright.runtime.machine import Machine  # noqa: TC001 - read at run time, as above
from edgewright.runtime.results.parts import BoardAccuracy, Fastest, Figure, Point, Soak

if TYPE_CHECKING:
    from edgewright.bundle.manifest import Manifest

__all__ = [
    "RESULT_SCHEMA",
    "RESULT_VERSION",
    "Board",
    "BoardAccuracy",
    "BoardConditions",
    "BundleFacts",
    "Fastest",
    "Figure",
    "Point",
    "Result",
    "ResultError",
    "Setting",
    "Soak",
    "VariantResult",
    "bundle_identity",
]

RESULT_SCHEMA = "edgewright-result"
RESULT_VERSION = 1


class ResultError(RuntimeFailure):
    """A result file cannot be read, is none, or may not be used for what is asked."""


@dataclass(frozen=True)
class Board:
    """The machine.

    Attributes:
        name: As people call it.
        model: What its device tree says, None without one.
        machine: Processor and system.
        emulated_by: What plays it; None for a real one.
    """

    name: str
    model: str | None
    machine: Machine
    emulated_by: str | None = None

    @property
    def emulated(self) -> bool:
        """Whether another machine plays it, so that its times say nothing."""
        return self.emulated_by is not None


@dataclass(frozen=True)
class BundleFacts:
    """What was timed.

    Attributes:
        name: Of the bundle.
        version: Of the bundle.
        digest: SHA-256 of its manifest.
        identity: See ``bundle_identity``.
        verdict: What became of its contract when it was made.
    """

    name: str
    version: str
    digest: str
    identity: str
    verdict: str


@dataclass(frozen=True)
class Setting:
    """How it was timed.

    Attributes:
        threads: Given to the engines.
        frames_per_turn: Frames that a variant ran before another had its turn.
        frame_size: (width, height).
        pictures: Different frames going round.
        pinned: Processors that every timing process kept to.
    """

    threads: int
    frames_per_turn: int
    frame_size: tuple[int, int]
    pictures: int
    pinned: tuple[int, ...] = ()


@dataclass(frozen=True)
class BoardConditions:
    """What the times were taken under.

    Attributes:
        before: Sensors before the first turn.
        after: Sensors after the last turn.
        during: Sensors now and then between turns.
        load_before: Load average before, None where the system does not tell.
        load_after: Load average after; includes the timing itself.
        energy: Taken from the supply meanwhile, by all variants together.
    """

    before: Snapshot
    after: Snapshot
    during: tuple[Point, ...] = ()
    load_before: float | None = None
    load_after: float | None = None
    energy: Energy | None = None

    @property
    def throttled(self) -> tuple[str, ...] | None:
        """What held the board back while it was timed; None where nothing tells."""
        if self.before.throttle is None or self.after.throttle is None:
            return None
        between = (word for point in self.during for word in point.throttled or ())
        return tuple(
            dict.fromkeys([*self.before.throttle.now, *between, *self.after.throttle.since(self.before.throttle)])
        )


@dataclass(frozen=True)
class VariantResult:
    """One variant on one backend.

    Attributes:
        candidate: ``VARIANT`` or ``VARIANT@BACKEND``.
        variant: Name of the variant.
        format: File format.
        precision: Arithmetic.
        sha256: Digest of its file.
        file_bytes: Size of its file.
        engine: Engine and version it ran on.
        stages: Milliseconds of ``preprocess``, ``inference``, ``decode`` and ``total``.
        processor_ms: Median processor time of a frame.
        frames: Frames timed.
        first_result_ms: From opening the bundle to the first decoded answer.
        turns_ms: Median of each turn, or of evenly spread ones; turns of one position were neighbours.
        peak_memory_bytes: Most resident memory of its process; None where the system does not tell.
        golden: Whether it gives the golden answers here; None where that was not tried.
        golden_note: By how much it does not, or why it was not tried.
        judged: What was measured of it when the bundle was made, on the workstation, by metric.
    """

    candidate: str
    variant: str
    format: str
    precision: str
    sha256: str
    file_bytes: int
    engine: str
    stages: Mapping[str, Quantiles]
    processor_ms: float
    frames: int
    first_result_ms: float
    turns_ms: tuple[float, ...]
    peak_memory_bytes: int | None = None
    golden: bool | None = None
    golden_note: str = ""
    judged: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """All of it.

    Attributes:
        made: UTC time, ISO 8601.
        tool: Name and version of what measured.
        board: Where.
        bundle: What.
        setting: How.
        conditions: Under what.
        variants: The times.
        ratios: Of each against the float one.
        left_out: What could not be timed there, and why.
        fastest: What should run there; None when nothing gives the golden answers.
        soak: The long run, None without one.
        accuracy: Of the board's own answers, where pictures were sent.
    """

    made: str
    tool: str
    board: Board
    bundle: BundleFacts
    setting: Setting
    conditions: BoardConditions
    variants: tuple[VariantResult, ...]
    ratios: tuple[Ratio, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    fastest: Fastest | None = None
    soak: Soak | None = None
    accuracy: tuple[BoardAccuracy, ...] = ()

    def variant(self, candidate: str) -> VariantResult | None:
        """The row of a candidate, None without one."""
        return next((row for row in self.variants if row.candidate == candidate), None)

    def speedup(self, candidate: str) -> Ratio | None:
        """Of an integer variant against the nearest float one, None where there is none."""
        floats = {row.candidate for row in self.variants if row.precision.startswith("float")}
        if candidate in floats:
            return None
        return next((row for row in self.ratios if row.variant == candidate and row.baseline in floats), None)


def bundle_identity(manifest: Manifest) -> str:
    """SHA-256 of a manifest without its times: what stays the same when a bundle takes in the figures of a board."""
    bare = tuple(dataclasses.replace(variant, latency=()) for variant in manifest.variants)
    return sha256_hex(manifest_to_json(dataclasses.replace(manifest, variants=bare)).encode())
