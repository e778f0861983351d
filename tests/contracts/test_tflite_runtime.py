"""The same bundle under tflite-runtime 2.14, numpy 1, in an environment of its own: the real thing, no stand-in."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import picture, write_detector
from tflite_models import both_formats_parts

from edgewright.bundle.golden import read_golden, write_golden
from edgewright.bundle.writer import write_bundle

SCRIPT = Path(__file__).parents[2] / "scripts" / "tflite_runtime"


def prove(*arguments: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, str(SCRIPT), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=170)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_old_interpreter_answers_as_the_new_one_does(tmp_path: Path) -> None:
    import cv2

    write_bundle(tmp_path / "both.edge", *both_formats_parts())
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture(index + 10, 60, 80))
    code, said = prove(str(tmp_path / "both.edge"), "--source", str(tmp_path), "--frames", "4")
    assert code == 0, said
    there, here = said["there"], said["here"]
    assert there["engine"].startswith("LiteRT 2.14.0 (tflite-runtime)")
    assert there["numpy"].startswith("1.")
    assert here["numpy"].startswith("2.")
    assert set(there["variants"]) == set(here["variants"]) == {"float32-tflite", "int8-tflite"}
    assert {row["output"] for row in said["outputs"]} == {"boxes", "scores", "answers"}
    assert all(row["ok"] for row in said["outputs"])


def test_answers_that_differ_are_code_3(tmp_path: Path) -> None:
    manifest, payload = both_formats_parts()
    assert manifest.golden is not None
    golden = read_golden(payload[manifest.golden.file])
    wrong = [
        {name: (value + 5).astype(value.dtype) for name, value in row.items()} for row in golden.outputs["int8-tflite"]
    ]
    outputs = {**golden.outputs, "int8-tflite": wrong}
    payload[manifest.golden.file] = write_golden(golden.frames, outputs)
    write_bundle(tmp_path / "wrong.edge", replace(manifest), payload)
    code, said = prove(str(tmp_path / "wrong.edge"))
    assert code == 3
    rows = said["there"]["variants"]["int8-tflite"]["golden"]
    assert not any(row["ok"] for row in rows)


@pytest.mark.parametrize("kind", ["no tflite", "no bundle"])
def test_what_there_is_nothing_to_prove_on_is_code_2(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "none.edge"
    if kind == "no tflite":
        write_detector(path)
    code, said = prove(str(path))
    assert code == 2
    assert "none.edge" in said["error"]
