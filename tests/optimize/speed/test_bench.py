"""Timing in processes that take turns: what is reported, and what happens when one of them fails."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundles import detector_parts, picture, write_classifier, write_detector

from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.manifest import Precision
from edgewright.bundle.writer import write_bundle
from edgewright.cli.main import main
from edgewright.optimize.errors import JudgeError
from edgewright.optimize.speed import latency_of, measure_speed, speedup_of
from edgewright.runtime.bench import BenchError, BenchSettings, bench_bundle, time_variants
from edgewright.runtime.bench_process import BenchProcess
from edgewright.runtime.errors import ModelMismatchError
from edgewright.runtime.machine import describe_machine, load_average, peak_memory_bytes

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

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
    ratio = report.ratio("twin")
    assert ratio is not None
    assert ratio.low <= ratio.value <= ratio.high
    assert (ratio.baseline, ratio.pairs) == (NAME, 4)
    assert report.ratio(NAME) is None
    assert report.conditions.frame_size == (48, 32)
    assert report.conditions.engine.startswith("onnxruntime ")
    latency = latency_of(report, "twin")
    assert (latency.runs, latency.threads, latency.speedup) == (20, 1, ratio.value)
    assert latency_of(report, NAME).speedup is None
    measured = speedup_of(report, "twin")
    assert measured is not None
    assert measured.samples == 4


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
    with pytest.raises(BenchError, match="carries no golden frames"):
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
    assert main(["bench", str(two_variants)]) == 2
    assert "no golden frames" in capsys.readouterr().err
