"""Why a step ran again, said so that one can act on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgewright.optimize.steps import StepCache, StepInput, StepKey, StepOutput, StepRecord, explain, input_of
from edgewright.optimize.steps.record import read_run, write_run

TOOLS = {"onnxruntime": "1.32.0", "edgewright": "0.1.0+aaaa"}
PICTURES = input_of(b"pictures", "clip.avi#1::8")
CALIBRATE = StepKey("calibrate", 1, {"method": "minmax"}, {"pictures": PICTURES}, TOOLS)
QUANTIZE = StepKey("quantize", 1, {}, {"ranges": input_of(b"ranges", source="calibrate")}, TOOLS)


def record(key: StepKey, *, hit: bool = False) -> StepRecord:
    return StepRecord.of(key, hit=hit)


BEFORE = (record(CALIBRATE), record(QUANTIZE))


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (
            replace(CALIBRATE, inputs={"pictures": input_of(b"others", "clip.avi#2::8")}),
            "calibrate: re-ran because its input `pictures` changed (clip.avi#1::8 -> clip.avi#2::8)",
        ),
        (
            replace(CALIBRATE, inputs={"pictures": StepInput("0" * 64, "clip.avi#1::8")}),
            (
                f"calibrate: re-ran because its input `pictures` changed (clip.avi#1::8 {PICTURES.digest[:8]} -> "
                "clip.avi#1::8 00000000)"
            ),
        ),
        (
            replace(QUANTIZE, inputs={"ranges": input_of(b"others", source="calibrate")}),
            "quantize: re-ran because its input `ranges` changed, which came from calibrate",
        ),
        (
            replace(CALIBRATE, inputs={"model": input_of(b"m"), "pictures": PICTURES}),
            "calibrate: re-ran because its inputs changed (`model` is new)",
        ),
        (replace(CALIBRATE, inputs={}), "calibrate: re-ran because its inputs changed (`pictures` is gone)"),
        (
            replace(CALIBRATE, params={"method": "entropy", "bins": 2048}),
            (
                "calibrate: re-ran because its setting bins changed (none -> 2048); its setting method changed "
                '("minmax" -> "entropy")'
            ),
        ),
        (replace(CALIBRATE, version=2), "calibrate: re-ran because the step's own version changed (1 -> 2)"),
        (
            replace(CALIBRATE, tools={**TOOLS, "onnxruntime": "1.33.0"}),
            "calibrate: re-ran because the version of onnxruntime changed (1.32.0 -> 1.33.0)",
        ),
        (
            replace(CALIBRATE, tools={**TOOLS, "edgewright": "0.1.0+bbbb"}),
            "calibrate: re-ran because the code of edgewright changed",
        ),
        (CALIBRATE, "calibrate: cache entry evicted"),
        (replace(CALIBRATE, name="prune"), "prune: the last run had no such step"),
    ],
)
def test_the_ingredient_that_changed_is_named(now: StepKey, says: str) -> None:
    assert [str(line) for line in explain(BEFORE, [record(now)])] == [says]


def test_a_first_run_and_hits() -> None:
    assert str(explain(None, [record(CALIBRATE)])[0]) == "calibrate: first run"
    assert str(explain(BEFORE, [record(CALIBRATE, hit=True)])[0]) == "calibrate: from the cache"


def test_steps_of_one_name_are_told_apart_by_their_order() -> None:
    trials = [record(replace(CALIBRATE, name="trial", params={"n": n})) for n in (1, 2)]
    now = [trials[0], record(replace(CALIBRATE, name="trial", params={"n": 5}))]
    first, second = explain(trials, now)
    assert str(first) == "trial: cache entry evicted"
    assert str(second) == "trial: re-ran because its setting n changed (2 -> 5)"


def test_long_settings_are_shortened() -> None:
    now = replace(CALIBRATE, params={"method": "minmax", "keep": ["node"] * 100})
    assert len(str(explain(BEFORE, [record(now)])[0])) < 150


def run(folder: Path, pictures: bytes, label: str) -> list[str]:
    """Two steps, the second of which reads what the first gave."""
    cache = StepCache(folder)
    given = {"pictures": input_of(pictures, label)}
    ranges = cache.step(StepKey("calibrate", inputs=given, tools=TOOLS), lambda: StepOutput({"ranges": pictures}))
    key = StepKey("quantize", inputs={"ranges": ranges.as_input("ranges")}, tools=TOOLS)
    cache.step(key, lambda: StepOutput({"model": ranges.artefacts["ranges"] * 2}))
    return [str(line) for line in cache.finish("out.edge")]


def test_a_run_explains_itself_by_the_last(tmp_path: Path) -> None:
    assert run(tmp_path, b"one", "clip.avi#1::8") == ["calibrate: first run", "quantize: first run"]
    assert run(tmp_path, b"one", "moved.avi#1::8") == ["calibrate: from the cache", "quantize: from the cache"]
    assert run(tmp_path, b"two", "clip.avi#2::8") == [
        "calibrate: re-ran because its input `pictures` changed (moved.avi#1::8 -> clip.avi#2::8)",
        "quantize: re-ran because its input `ranges` changed, which came from calibrate",
    ]
    for path in tmp_path.rglob("*.step"):
        path.unlink()
    assert run(tmp_path, b"two", "clip.avi#2::8") == [
        "calibrate: cache entry evicted",
        "quantize: cache entry evicted",
    ]


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    key = replace(CALIBRATE, params={"nested": {"list": (1, 2.5, None)}})
    write_run(tmp_path, "out.edge", [record(key, hit=True)])
    assert read_run(tmp_path, "out.edge") == (record(key, hit=True),)
    assert read_run(tmp_path, "another.edge") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "output": "o", "steps": [{"name": 1}]}', "\xff"])
def test_a_damaged_record_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    write_run(tmp_path, "o", [])
    next(tmp_path.rglob("*.json")).write_text(text, encoding="latin-1")
    assert read_run(tmp_path, "o") is None
