"""Result files of boards that were never measured, for tests of what reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgewright.runtime.bench import Quantiles
from edgewright.runtime.bench_ratio import Ratio, ratio_of
from edgewright.runtime.conditions import Snapshot, Throttle
from edgewright.runtime.energy import Energy
from edgewright.runtime.machine import Machine
from edgewright.runtime.results.fastest import fastest_of
from edgewright.runtime.results.schema import (
    Board,
    BoardConditions,
    BundleFacts,
    Figure,
    Point,
    Result,
    Setting,
    Soak,
    VariantResult,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

DIGEST = "a" * 64


def row(name: str, ms: float, *, precision: str = "int8", turns: int = 48, **changed: Any) -> VariantResult:
    """A variant that took about ``ms``."""
    times = Quantiles(ms, 1.1 * ms, 1.3 * ms)
    small = Quantiles(0.1 * ms, 0.12 * ms, 0.2 * ms)
    made = VariantResult(
        candidate=name,
        variant=name,
        format="onnx",
        precision=precision,
        sha256=DIGEST,
        file_bytes=3_600_000 if precision == "int8" else 12_100_000,
        engine="onnxruntime 1.32.0",
        stages={"preprocess": small, "inference": times, "decode": small, "total": times},
        processor_ms=ms,
        frames=5 * turns,
        first_result_ms=900.0,
        turns_ms=tuple(ms * (1 + 0.002 * (turn % 5)) for turn in range(turns)),
        peak_memory_bytes=120_000_000,
        golden=True,
        judged={
            "ap50": Figure(0.621, 0.50, 0.74, 30),
            **({"ap50_drop": Figure(0.0005, -0.034, 0.035, 30)} if precision == "int8" else {}),
        },
    )
    return replace(made, **changed)


def ratios(rows: Sequence[VariantResult]) -> tuple[Ratio, ...]:
    medians = {each.candidate: each.turns_ms for each in rows}
    base = next(each.candidate for each in rows if each.precision.startswith("float"))
    return tuple(ratio_of(base, name, medians) for name in medians if name != base)


def result(
    name: str = "Pi 5", rows: Sequence[VariantResult] = (), *, celsius: float | None = 60.0, **changed: Any
) -> Result:
    """A board that was timed well, with a long run."""
    rows = rows or (row("int8", 40.0), row("float", 70.0, precision="float32"))
    throttle = None if celsius is None else Throttle("Raspberry Pi firmware")
    sensors = {} if celsius is None else {"cpu-thermal": celsius}
    missing = (
        {"throttle": "nothing tells it", "temperature": "no sensor", "governor": "none"} if celsius is None else {}
    )
    seen = Snapshot({"policy0": "ondemand"}, {"0": 2400.0}, sensors, throttle, 3 << 30, 4 << 30, missing)
    points = tuple(
        Point(10.0 * step, 25, 40.0 + step, 44.0 + step, 2400.0 - 10 * step, celsius and celsius + step, ())
        for step in range(1, 13)
    )
    made = Result(
        made="2026-11-23T21:00:00+00:00",
        tool="edgewright 0.1",
        board=Board(name, "Raspberry Pi 5", Machine("Cortex-A76", "aarch64", 4, ("asimddp",), "Linux 6.6")),
        bundle=BundleFacts("person", "1", DIGEST, "b" * 64, "PASS"),
        setting=Setting(1, 5, (768, 576), 3, (3,)),
        conditions=BoardConditions(seen, seen, (), 0.1, 1.0, Energy(None, None, 20.0, "no sensor")),
        variants=tuple(rows),
        ratios=changed["ratios"] if "ratios" in changed else ratios(rows),
        fastest=fastest_of(rows),
        soak=Soak("int8", 120.0, 120.0, 300, points, Energy("INA3221", 600.0, 120.0)),
    )
    return replace(made, **changed)
