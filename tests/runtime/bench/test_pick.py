"""Choice by measurement: who wins, what is kept, when it no longer holds, and that `run` obeys."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bundles import write_classifier
from hypothesis import given
from hypothesis import strategies as st
from tflite_models import both_formats_parts

from edgewright.bundle.errors import IntegrityError, MissingExtraError, OutputError
from edgewright.bundle.golden import read_golden, write_golden
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.cli.main import main
from edgewright.device.board import engine_threads, named_profile
from edgewright.device.config import load_config
from edgewright.runtime import bench, picks
from edgewright.runtime.backends.choice import BackendName, EngineOptions
from edgewright.runtime.bench import BenchSettings, bench_bundle
from edgewright.runtime.bench_process import BenchError
from edgewright.runtime.bench_ratio import ratio_of
from edgewright.runtime.choose import choose
from edgewright.runtime.machine import describe_machine
from edgewright.runtime.pick import against_next, pick_fastest, winner_of
from edgewright.runtime.picks import Pick, PicksError, engines_of, find_pick, read_picks, store_pick

if TYPE_CHECKING:
    from pathlib import Path

QUICK = BenchSettings(blocks=8, frames_per_block=3, warmup=1, timeout_s=60)
ONNX, TFLITE, INT8 = "float32-onnx@onnxruntime-cpu", "float32-tflite@litert-xnnpack", "int8-tflite@litert-xnnpack"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("both") / "both.edge"
    write_bundle(target, *both_formats_parts())
    return target


def pick_for(path: Path, **changed: Any) -> Pick:
    """A pick of the integer variant that holds here, but for what is ``changed``."""
    with open_bundle(path) as bundle:
        made = Pick(
            digest=bundle.digest,
            name=bundle.manifest.name,
            machine=str(describe_machine()),
            threads=1,
            candidate=INT8,
            p50_ms={ONNX: 8.4, INT8: 7.1},
            engines=engines_of([ONNX, INT8]),
            made="2026-11-23T12:00:00+00:00",
            reason="7.1 ms vs 8.4 ms of " + ONNX,
        )
    return replace(made, **changed)


def test_the_fastest_wins_and_a_tie_keeps_the_order() -> None:
    fast, slow = [1.0] * 10, [2.0] * 10
    noisy = [1.0, 3.0] * 5
    assert winner_of(["a", "b"], {"a": slow, "b": fast}) == "b"
    assert winner_of(["a", "b"], {"a": fast, "b": slow}) == "a"
    assert winner_of(["a", "b"], {"a": [2.0] * 10, "b": noisy}) == "a"
    assert winner_of(["a", "b"], {"a": fast, "b": fast}) == "a"
    assert winner_of(["a", "b", "c"], {"a": slow, "b": [1.5] * 10, "c": fast}) == "c"
    assert winner_of(["a", "b", "c"], {"a": slow, "b": fast, "c": fast}) == "b"
    assert winner_of(["a"], {"a": slow}) == "a"


def test_few_turns_decide_nothing() -> None:
    assert winner_of(["a", "b"], {"a": [9.0] * 5, "b": [1.0] * 5}) == "a"


def test_the_ratio_with_its_interval_and_a_tie_are_always_said() -> None:
    fast, slow, noisy = [1.0] * 10, [2.0] * 10, [1.0, 3.0] * 5
    times = {"a": 2.0, "b": 1.0}
    won = against_next("b", times, {"a": slow, "b": fast})
    assert won == "2.00 times as fast as a [2.00 to 2.00] turn by turn, p50 1 and 2 ms"
    tie = against_next("a", times, {"a": slow, "b": noisy})
    assert tie.startswith("a tie within the noise: 1.00 times as fast as b [0.50 to 1.50]")
    assert tie.endswith("so the bundle's order decides")
    few = against_next("a", times, {"a": [9.0] * 5, "b": [1.0] * 5})
    assert few.startswith("a tie with b: 0.11 times as fast over 5 pairs of turns, too few")
    assert against_next("a", {"a": 2.0}, {"a": slow}) == "2 ms, and nothing else was compared"


@given(st.lists(st.lists(st.floats(0.1, 10), min_size=8, max_size=8), min_size=1, max_size=5))
def test_nobody_beats_the_winner_by_more_than_the_noise(rows: list[list[float]]) -> None:
    medians = {f"v{k}": row for k, row in enumerate(rows)}
    winner = winner_of(list(medians), medians)
    if len(rows) == 2:  # of three or more, each may beat the next, round in a circle
        (other,) = set(medians) - {winner}
        ratio = ratio_of(winner, other, medians)
        assert not (ratio.resolved and ratio.value > 1)


def test_every_variant_is_timed_on_its_own_engine(both: Path) -> None:
    report = bench_bundle(both, replace(QUICK, blocks=1))
    engines = {row.variant: row.engine.split()[0] for row in report.variants}
    assert engines == {"float32-onnx": "onnxruntime", "float32-tflite": "LiteRT", "int8-tflite": "LiteRT"}
    assert report.conditions.engine.count("LiteRT") == 1
    assert report.conditions.engine.startswith("onnxruntime ")
    assert report.left_out == {}
    # Each against the float of its own format first, and against the bundle's first float model.
    assert [(ratio.baseline, ratio.variant) for ratio in report.ratios] == [
        ("float32-onnx", "float32-tflite"),
        ("float32-tflite", "int8-tflite"),
        ("float32-onnx", "int8-tflite"),
    ]
    nearest = report.ratio("int8-tflite")
    assert nearest is not None
    assert nearest.baseline == "float32-tflite"


def test_on_every_backend_the_float_one_of_the_same_backend_comes_first(both: Path) -> None:
    report = bench_bundle(both, replace(QUICK, blocks=1), every_backend=True)
    pairs = {(ratio.baseline, ratio.variant) for ratio in report.ratios}
    assert pairs == {(ONNX, TFLITE), (TFLITE, INT8), (ONNX, INT8)}


def test_a_pick_is_made_kept_and_used(both: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "state" / "picks.json"
    arguments = ["bench", str(both), "--pick", "--runs", "40", "--picks", str(kept)]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    (pick,) = read_picks(kept)
    assert f"picked {pick.candidate}: {pick.reason}" in shown
    assert re.search(r"times as fast (as \S+ \[[0-9.]+ to [0-9.]+\] turn by turn|over 5 pairs of turns)", pick.reason)
    assert "judged when the bundle was made" in shown
    assert set(pick.p50_ms) == {ONNX, TFLITE, INT8}
    assert pick.engines[INT8].startswith("LiteRT ")
    with open_bundle(both) as bundle:
        choice = choose(bundle, picks=kept)
        assert f"{choice.variant}@{choice.backend.value if choice.backend else None}" == pick.candidate
        assert choice.why == f"picked on {pick.made[:10]}: {pick.reason}"
        assert choice.notes == ()
        asked = choose(bundle, "float32-tflite", picks=kept)
        assert (asked.variant, asked.backend, asked.why) == ("float32-tflite", None, "as asked")
    assert main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["pick"]["candidate"] in {ONNX, TFLITE, INT8}
    assert said["excluded"] == {}
    assert len(read_picks(kept)) == 1


def test_a_pick_for_a_profile_is_made_with_the_threads_that_its_run_takes(both: Path, tmp_path: Path) -> None:
    board, kept, cores = tmp_path / "board.toml", tmp_path / "picks.json", os.cpu_count() or 1
    value = f'{{ value = {cores}, origin = "assumed", source = "a test" }}'
    board.write_text(f'extends = "x86-64"\nthreads = {value}\n')
    words = ["bench", str(both), "--pick", "--runs", "10", "--picks", str(kept), "--profile", str(board)]
    assert main(words) == 0
    assert [pick.threads for pick in read_picks(kept)] == [cores]
    settings = load_config(None, {"model": {"bundle": str(both), "profile": str(board)}}).model
    with open_bundle(both) as bundle:
        run = choose(bundle, None, engine_threads(settings.threads, named_profile(settings)), picks=kept)
        assert run.why.startswith("picked on ")
    assert main([*words, "--threads", "1"]) == 0
    assert {pick.threads for pick in read_picks(kept)} == {cores, 1}


def test_what_gives_other_answers_here_cannot_win(tmp_path: Path) -> None:
    manifest, payload = both_formats_parts()
    assert manifest.golden is not None
    golden = read_golden(payload[manifest.golden.file])
    wrong = [{name: value + np.float32(3) for name, value in row.items()} for row in golden.outputs["float32-onnx"]]
    outputs = {**golden.outputs, "float32-onnx": wrong, "float32-tflite": wrong}
    payload[manifest.golden.file] = write_golden(golden.frames, outputs)
    write_bundle(tmp_path / "b.edge", manifest, payload)
    found = pick_fastest(tmp_path / "b.edge", replace(QUICK, blocks=2))
    assert found.pick.candidate == INT8
    assert set(found.excluded) == {ONNX, TFLITE}
    assert "off by 3, 1e-05 is allowed" in found.excluded[ONNX]
    assert "nothing else was compared" in found.pick.reason


def test_nothing_that_answers_right(tmp_path: Path) -> None:
    manifest, payload = both_formats_parts()
    assert manifest.golden is not None
    golden = read_golden(payload[manifest.golden.file])
    outputs = {
        variant: [{name: (value + 3).astype(value.dtype) for name, value in row.items()} for row in rows]
        for variant, rows in golden.outputs.items()
    }
    payload[manifest.golden.file] = write_golden(golden.frames, outputs)
    write_bundle(tmp_path / "b.edge", manifest, payload)
    with pytest.raises(BenchError, match="gives its golden answers on this machine"):
        pick_fastest(tmp_path / "b.edge", replace(QUICK, blocks=1))


def test_a_bundle_without_frames_cannot_be_picked_from(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="no golden frames"):
        pick_fastest(write_classifier(tmp_path / "c.edge"), QUICK)


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"digest": "0" * 64}, "the bundle changed since"),
        ({"machine": "a toaster"}, "made on another machine, a toaster"),
        ({"threads": 4}, r"made for 4 thread\(s\), not for 1"),
        ({"engines": {ONNX: "onnxruntime 1.0", INT8: "x"}}, "onnxruntime 1.0 is now onnxruntime 1"),
        ({"candidate": "int4-tflite@litert-xnnpack"}, "names nothing that this bundle has"),
        ({"candidate": "int8-tflite@litert-delegate"}, "no delegate library was named"),
        ({"candidate": "int8-tflite"}, "names nothing"),
    ],
)
def test_a_pick_that_no_longer_holds_is_a_note(both: Path, tmp_path: Path, changed: dict[str, Any], note: str) -> None:
    stale = pick_for(both, **changed)
    store_pick(tmp_path / "picks.json", replace(stale, p50_ms={**stale.p50_ms, stale.candidate: 1.0}))
    with open_bundle(both) as bundle:
        choice = choose(bundle, picks=tmp_path / "picks.json")
    assert choice.variant == "float32-onnx"
    assert choice.why == "the bundle's first variant"
    (told,) = choice.notes
    assert re.search(note, told), told
    assert "bench BUNDLE --pick" in told


def test_a_pick_that_holds(both: Path, tmp_path: Path) -> None:
    store_pick(tmp_path / "picks.json", pick_for(both))
    with open_bundle(both) as bundle:
        assert choose(bundle, picks=tmp_path / "picks.json").variant == "int8-tflite"
        # Another bundle of the same name leaves it alone.
        store_pick(tmp_path / "picks.json", pick_for(both, digest="1" * 64))
        assert choose(bundle, picks=tmp_path / "picks.json").variant == "int8-tflite"


def test_a_backend_that_is_asked_for_takes_a_variant_that_it_runs(both: Path, tmp_path: Path) -> None:
    store_pick(tmp_path / "picks.json", pick_for(both, candidate=ONNX))
    with open_bundle(both) as bundle:
        choice = choose(bundle, backend=BackendName.LITERT_XNNPACK, picks=tmp_path / "picks.json")
    assert (choice.variant, choice.backend) == ("float32-tflite", BackendName.LITERT_XNNPACK)


def test_a_preferred_backend_that_is_missing_is_a_note(both: Path, tmp_path: Path) -> None:
    wishes = EngineOptions((BackendName.ONNXRUNTIME_TENSORRT, BackendName.ONNXRUNTIME_CPU))
    with open_bundle(both) as bundle:
        (note,) = choose(bundle, options=wishes, picks=tmp_path / "none.json").notes
    assert note.startswith(
        "onnxruntime-tensorrt is preferred and cannot run: this build of onnxruntime has no Tensorrt"
    )


DAMAGED = {
    "empty": b"",
    "noise": b"\xff\xfe",
    "list": b"[]",
    "no schema": b"{}",
    "half": b'{"schema": 1, "picks": [',
    "deep": b"[" * 100_000,
    "odd pick": b'{"schema": 1, "picks": [{"digest": 1}]}',
    "huge": b" " * (2 << 20),
    "newer": b'{"schema": 2, "picks": []}',
}


@pytest.mark.parametrize("data", list(DAMAGED.values()), ids=list(DAMAGED))
def test_a_file_that_is_none_is_kept_and_named(both: Path, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "picks.json"
    path.write_bytes(data)
    with pytest.raises(PicksError, match=r"picks\.json"):
        store_pick(path, pick_for(both))
    assert path.read_bytes() == data
    with open_bundle(both) as bundle:
        choice = choose(bundle, picks=path)
    assert choice.variant == "float32-onnx"
    assert "picks.json" in choice.notes[0]


def test_a_file_that_is_none_is_told_before_the_timing(
    both: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("dear diary")
    assert main(["bench", str(both), "--pick", "--picks", str(tmp_path / "notes.txt")]) == 2
    shown = capsys.readouterr()
    assert "notes.txt is no file of picks" in shown.err
    assert "timing" not in shown.err


def test_a_place_that_cannot_be_written(both: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((PicksError, OutputError), match="file"):
        store_pick(tmp_path / "file" / "picks.json", pick_for(both))


def test_old_picks_are_forgotten(both: Path, tmp_path: Path) -> None:
    path = tmp_path / "picks.json"
    rows = [asdict(pick_for(both, digest=f"{k:064x}")) for k in range(100)]
    path.write_text(json.dumps({"schema": 1, "picks": rows}))
    store_pick(path, pick_for(both))
    kept = read_picks(path)
    assert len(kept) == 100
    assert kept[-1] == pick_for(both)
    assert kept[0].digest == f"{1:064x}"


@given(st.text(max_size=20), st.floats(0.001, 1e6), st.integers(1, 64))
def test_what_is_stored_comes_back(
    tmp_path_factory: pytest.TempPathFactory, text: str, ms: float, threads: int
) -> None:
    path = tmp_path_factory.mktemp("picks") / "picks.json"
    pick = Pick("0" * 64, text, text, threads, ONNX, {ONNX: ms}, {ONNX: text}, text, text)
    store_pick(path, pick)
    assert read_picks(path) == (pick,)


def test_where_picks_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEWRIGHT_PICKS", str(tmp_path / "mine.json"))
    assert picks.picks_path() == tmp_path / "mine.json"
    monkeypatch.delenv("EDGEWRIGHT_PICKS")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert picks.picks_path() == tmp_path / "edgewright" / "picks.json"


def test_a_variant_without_an_engine_is_left_out_and_named(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        bench, "without_engine", lambda variants: {v.name: "no engine" for v in variants if "onnx" in v.name}
    )
    report = bench_bundle(both, replace(QUICK, blocks=1))
    assert [row.variant for row in report.variants] == ["float32-tflite", "int8-tflite"]
    assert report.left_out == {"float32-onnx": "no engine"}
    monkeypatch.setattr(bench, "without_engine", lambda variants: dict.fromkeys((v.name for v in variants), "none"))
    with pytest.raises(MissingExtraError, match=r"edgewright\[onnx\]"):
        bench_bundle(both, QUICK)


def test_what_an_engine_refuses_is_left_out_of_a_pick(tmp_path: Path) -> None:
    manifest, payload = both_formats_parts()
    broken = replace(manifest.variants[2], engine={"from_the_future": 1})
    write_bundle(tmp_path / "b.edge", replace(manifest, variants=(*manifest.variants[:2], broken)), payload)
    found = pick_fastest(tmp_path / "b.edge", replace(QUICK, blocks=1))
    assert set(found.excluded) == {INT8}
    assert "from_the_future" in found.excluded[INT8]
    with pytest.raises(BenchError, match="from_the_future"):
        bench_bundle(tmp_path / "b.edge", replace(QUICK, blocks=1))


def test_no_pick_and_no_note(both: Path) -> None:
    with open_bundle(both) as bundle:
        assert find_pick((), bundle, 1) == (None, None)
