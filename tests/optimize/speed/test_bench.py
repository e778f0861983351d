"""Timing in processes that take turns: what is reported, and what happens when one of them fails."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from bundles import detector_parts, picture, write_classifier, write_detector

from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.errors import IntegrityError
from edgewright.bundle.manifest import Latency, Precision
from edgewright.bundle.writer import write_bundle
from edgewright.cli.main import main
from edgewright.optimize.contract import Contract, Figures, Measured, Status, judge
from edgewright.optimize.errors import JudgeError
from edgewright.optimize.speed import latency_of, measure_speed, speedup_of
from edgewright.runtime import bench
from edgewright.runtime.bench import BenchError, BenchSettings, bench_bundle, time_variants
from edgewright.runtime.bench_process import BenchProcess, Started
from edgewright.runtime.bench_ratio import ratio_of
from edgewright.runtime.errors import ModelMismatchError
from edgewright.runtime.machine import describe_machine, load_average, peak_memory_bytes

if TYPE_CHECKING:
    from pathlib import Path

QUICK = BenchSettings(blocks=4, frames_per_block=5, warmup=2, timeout_s=60)
NAME = "float32-onnx"


@pytest.fixture(scope="module")
def two_variants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the same tiny model twice."""
    manifest, payload = detector_parts()
    twin = replace(manifest.variants[0], name="twin", precision=Precision.INT8)
    target = tmp_path_factory.mktemp("bench") / "two.edge"
    golden = manifest.golden
    assert golden is not None
    manifest = replace(manifest, variants=(manifest.variants[0], twin), golden=None)
    del payload[golden.file]
    write_bundle(target, manifest, payload)
    return target


def test_two_variants_take_turns(two_variants: Path) -> None:
    turns: list[tuple[int, int]] = []
    frames = [picture(1), picture(2, 64, 80)]
    report = time_variants(two_variants, [NAME, "twin"], frames, QUICK, on_block=lambda *turn: turns.append(turn))
    assert turns == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [row.variant for row in report.variants] == [NAME, "twin"]
    for row in report.variants:
        assert row.frames == len(row.totals_ms) == 20
        for stage in row.stages.values():
            assert 0 < stage.p50 <= stage.p95 <= stage.p99
        parts = sum(row.stages[stage].p50 for stage in ("preprocess", "inference", "decode"))
        assert row.stages["total"].p50 >= 0.5 * parts
        assert row.peak_memory_bytes is not None
        assert row.peak_memory_bytes > 10_000_000
        assert row.first_result_ms > 0
    ratio = report.ratio("twin")
    assert ratio is not None
    assert (ratio.baseline, ratio.pairs) == (NAME, 4)
    assert report.ratio(NAME) is None
    assert report.conditions.frame_size == (48, 32)
    assert report.conditions.engine.startswith("onnxruntime ")
    latency = latency_of(report, "twin")
    assert (latency.runs, latency.threads, latency.speedup) == (20, 1, ratio.value)
    assert latency_of(report, NAME).speedup is None
    measured = speedup_of(report, "twin")
    assert measured is not None
    assert measured.samples == 20


class FakeProcess:
    """Answers at once, and writes down whose turn it was."""

    turns: ClassVar[list[str]] = []

    def __init__(self, _bundle: Path, variant: str, *_more: object, **_named: object) -> None:
        self._variant = variant

    def __enter__(self) -> FakeProcess:  # noqa: PYI034 - as the real one, for Python 3.10
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def wait_ready(self) -> Started:
        return Started((), 1.0)

    def finish(self) -> None:
        pass

    def run(self, frames: int) -> dict[str, list[float]]:
        FakeProcess.turns.append(f"{self._variant} {frames}")
        cold, warm = [9.0, 5.0][:frames], [1.0] * (frames - 2)
        return {stage: [*cold, *warm] for stage in ("preprocess", "inference", "decode", "total", "processor")}


def test_neither_variant_is_always_first(two_variants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "BenchProcess", FakeProcess)
    monkeypatch.setattr(FakeProcess, "turns", [])
    time_variants(two_variants, [NAME, "twin"], [picture()], replace(QUICK, warmup=3))
    first, second = f"{NAME} 7", "twin 7"
    warm = [f"{NAME} 3", "twin 3"]
    assert FakeProcess.turns == [*warm, first, second, second, first, first, second, second, first]


def test_the_first_frames_of_a_turn_do_not_count(two_variants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "BenchProcess", FakeProcess)
    report = time_variants(two_variants, [NAME, "twin"], [picture()], QUICK)
    assert [set(row.totals_ms) for row in report.variants] == [{1.0}, {1.0}]
    assert [row.frames for row in report.variants] == [20, 20]
    counted = time_variants(two_variants, [NAME, "twin"], [picture()], replace(QUICK, settle=0))
    assert max(counted.variants[0].totals_ms) == 9.0


def test_the_model_alone_has_a_ratio_of_its_own(two_variants: Path) -> None:
    report = time_variants(two_variants, [NAME, "twin"], [picture()], QUICK)
    (whole,), (alone,) = report.ratios, report.inference_ratios
    assert (alone.baseline, alone.variant, alone.pairs) == (whole.baseline, whole.variant, whole.pairs)
    assert alone.value != whole.value


def test_a_slower_variant_is_found_slower(tmp_path: Path) -> None:
    from tiny_models import slow_detector_onnx

    manifest, payload = detector_parts()
    model = slow_detector_onnx(payload[manifest.variants[0].file])
    slow = replace(
        manifest.variants[0], name="slow", file="models/slow.onnx", bytes=len(model), sha256=sha256_hex(model)
    )
    payload["models/slow.onnx"] = model
    golden = manifest.golden
    assert golden is not None
    del payload[golden.file]
    write_bundle(tmp_path / "b.edge", replace(manifest, variants=(manifest.variants[0], slow), golden=None), payload)
    report = time_variants(tmp_path / "b.edge", [NAME, "slow"], [picture()], replace(QUICK, blocks=8))
    ratio = report.ratio("slow")
    assert ratio is not None
    assert ratio.value < 1
    back = time_variants(tmp_path / "b.edge", [NAME, "slow"], [picture()], replace(QUICK, blocks=8), baseline="slow")
    other = back.ratio(NAME)
    assert other is not None
    assert other.value > 1


def test_the_ratio_is_baseline_over_variant() -> None:
    slow = [20.0, 22.0, 18.0, 21.0, 19.0, 24.0, 20.0, 26.0, 20.0, 20.0]
    ratio = ratio_of("float", "int8", {"float": slow, "int8": [10.0] * 10})
    # Sorted: 1.8 1.9 2 2 2 2 2.1 2.2 2.4 2.6; of ten values the second and the ninth bound the median at 97.9 %.
    assert (ratio.value, ratio.low, ratio.high, ratio.pairs) == (2.0, 1.9, 2.4, 10)
    assert ratio.resolved


@pytest.mark.parametrize(("count", "cut"), [(8, 0), (9, 1), (24, 6), (48, 16)])
def test_the_interval_of_a_median(count: int, cut: int) -> None:
    times = [float(k + 1) for k in range(count)]
    ratio = ratio_of("a", "b", {"a": times, "b": [1.0] * count})
    assert (ratio.low, ratio.high) == (times[cut], times[-1 - cut])


@pytest.mark.parametrize("pairs", [1, 2, 7])
def test_few_pairs_resolve_nothing(pairs: int) -> None:
    ratio = ratio_of("a", "b", {"a": [3.0] * pairs, "b": [1.0] * pairs})
    assert (ratio.value, ratio.low, ratio.resolved) == (3.0, 0.0, False)
    assert judge(Contract(min_speedup=1.5), Figures(speedup=Measured(3.0, ratio.low, ratio.high, 9))).clauses[
        0
    ].status is (Status.INCONCLUSIVE)


@pytest.mark.parametrize("pairs", [8, 10, 24, 48])
def test_the_ratio_s_interval_covers_the_truth(pairs: int) -> None:
    random = np.random.default_rng(3)
    rows = [
        ratio_of(
            "a", "b", {"a": 1.6 * np.exp(random.normal(0, 0.08, pairs)), "b": np.exp(random.normal(0, 0.08, pairs))}
        )
        for _ in range(400)
    ]
    assert sum(row.low <= 1.6 <= row.high for row in rows) >= 0.93 * 400
    assert sum(row.low > 1.6 for row in rows) <= 0.04 * 400


def test_golden_frames_are_timed_at_the_size_that_optimize_timed(tmp_path: Path) -> None:
    manifest, payload = detector_parts()
    latency = Latency("m", 1, 10, 1.0, 1.0, 1.0, extra={"frame_size": [640, 360]})
    variant = replace(manifest.variants[0], latency=(latency,))
    write_bundle(tmp_path / "b.edge", replace(manifest, variants=(variant,)), payload)
    assert bench_bundle(tmp_path / "b.edge", QUICK).conditions.frame_size == (640, 360)


@pytest.mark.parametrize("size", ["wide", [640], [0, 5], [10**9, 10**9], [True, True]])
def test_a_nonsense_size_is_not_believed(tmp_path: Path, size: object) -> None:
    manifest, payload = detector_parts()
    latency = Latency("m", 1, 10, 1.0, 1.0, 1.0, extra={"frame_size": size})
    variant = replace(manifest.variants[0], latency=(latency,))
    write_bundle(tmp_path / "b.edge", replace(manifest, variants=(variant,)), payload)
    assert bench_bundle(tmp_path / "b.edge", replace(QUICK, blocks=1)).conditions.frame_size == (48, 32)


def test_noise_larger_than_the_effect_is_flagged() -> None:
    from edgewright.runtime.bench import Ratio

    assert not Ratio("a", "b", 1.02, 0.9, 1.1, 10).resolved
    assert Ratio("a", "b", 2.0, 1.8, 2.1, 10).resolved
    assert Ratio("a", "b", 0.5, 0.4, 0.6, 10).resolved


def test_a_bundle_is_timed_on_its_golden_frames(tmp_path: Path) -> None:
    report = bench_bundle(write_detector(tmp_path / "tiny.edge"), QUICK)
    assert [row.variant for row in report.variants] == [NAME]
    assert report.ratios == ()
    assert report.conditions.pictures == 2


def test_a_bundle_without_frames_cannot_be_timed(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="carries no golden frames"):
        bench_bundle(write_classifier(tmp_path / "tiny.edge"), QUICK)


def test_an_unknown_variant(two_variants: Path) -> None:
    with pytest.raises(ModelMismatchError, match="no variant 'nosuch'"):
        time_variants(two_variants, ["nosuch"], [picture()], QUICK)


@pytest.mark.parametrize(
    ("frames", "settings"),
    [([], QUICK), ([picture()], replace(QUICK, blocks=0)), ([picture()], replace(QUICK, threads=0))],
)
def test_nothing_to_time(two_variants: Path, frames: list[np.ndarray], settings: BenchSettings) -> None:
    with pytest.raises(BenchError, match="at least one"):
        time_variants(two_variants, [NAME], frames, settings)


def test_a_model_the_engine_refuses(tmp_path: Path) -> None:
    manifest, payload = detector_parts()
    file = manifest.variants[0].file
    payload[file] = b"no model"
    broken = replace(manifest.variants[0], bytes=8, sha256=sha256_hex(b"no model"))
    write_bundle(tmp_path / "broken.edge", replace(manifest, variants=(broken,)), payload)
    with pytest.raises(JudgeError, match="cannot be timed: onnxruntime refuses the model"):
        measure_speed(tmp_path / "broken.edge", (NAME,), [picture()], QUICK, lambda _done: None)


def frames_file(folder: Path) -> Path:
    from edgewright.bundle.arrays import npz_bytes

    path = folder / "frames.npz"
    path.write_bytes(npz_bytes({"0": picture()}))
    return path


def test_a_process_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    with (
        BenchProcess(tmp_path / "nowhere.edge", NAME, 1, tmp_path / "nowhere.npz", 60) as process,
        pytest.raises(BenchError, match=r"(?s)died; its last words: .*nowhere\.npz"),
    ):
        process.wait_ready()


def test_a_process_that_hangs_is_given_up(two_variants: Path, tmp_path: Path) -> None:
    with BenchProcess(two_variants, NAME, 1, frames_file(tmp_path), 60) as process:
        process.wait_ready()
        process._timeout_s = 0.05
        with pytest.raises(BenchError, match=r"gave no answer within 0\.05 s"):
            process.run(10**7)


def test_the_machine_is_described() -> None:
    machine = describe_machine()
    assert machine.cores >= 1
    assert machine.processor in str(machine)
    assert (load_average() or 0) >= 0
    assert (peak_memory_bytes() or 0) > 0


def test_command_line(two_variants: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_detector(tmp_path / "tiny.edge")
    assert main(["bench", str(bundle), "--runs", "20", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["variants"][0]["frames"] == 20
    assert main(["bench", str(bundle), "--runs", "20"]) == 0
    out = capsys.readouterr().out
    assert "p50" in out
    assert "20 frames" in out
    for runs in ("0", "-5", "10000000"):
        assert main(["bench", str(bundle), "--runs", runs]) == 2
        assert f"--runs cannot be {runs}" in capsys.readouterr().err
    assert main(["bench", str(two_variants)]) == 2
    assert "no golden frames" in capsys.readouterr().err
