"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import detector_parts, write_detector

from edgewright.bundle.golden import read_golden, write_golden
from edgewright.bundle.writer import write_bundle
from edgewright.cli.main import VERBS, main


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"edgewright {verb} " in capsys.readouterr().out.split("example", 1)[1]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_speaks_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [verb, "list"] if verb == "profiles" else [verb]
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    assert "--json" in capsys.readouterr().out


def test_help_names_every_verb_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)
    assert "4 inconclusive" in text
    assert "130 interrupted" in text


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from edgewright.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "heavy = {'numpy', 'cv2', 'onnxruntime', 'torch', 'paho', 'rich'} & set(sys.modules); sys.exit(str(heavy or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_inspect_shows_the_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_detector(tmp_path / "d.edge")
    assert main(["inspect", str(path)]) == 0
    assert "float32-onnx" in capsys.readouterr().out
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["name"] == "tiny"


def test_verify_passes_on_a_good_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_detector(tmp_path / "d.edge")
    assert main(["verify", str(path)]) == 0
    assert "PASS" in capsys.readouterr().out
    assert main(["verify", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_verify_names_the_altered_file_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_detector(tmp_path / "d")
    for name in ("models/float32.onnx", "arrays/anchors.npy", "golden.npz", "manifest.json", "manifest.json.sha256"):
        data = (path / name).read_bytes()
        (path / name).write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
        assert main(["verify", str(path)]) == 2
        captured = capsys.readouterr()
        assert name in captured.err
        assert captured.err.count("\n") == 1
        (path / name).write_bytes(data)
    assert main(["verify", str(path)]) == 0


def test_verify_fails_where_the_answers_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest, payload = detector_parts()
    assert manifest.golden is not None
    wrong = replace(manifest.golden, tolerance=dict.fromkeys(manifest.golden.tolerance, 0.0))
    other = replace(manifest, preprocess=replace(manifest.preprocess, scale=0.007), golden=wrong)
    write_bundle(tmp_path / "d.edge", other, payload)
    assert main(["verify", str(tmp_path / "d.edge")]) == 3
    assert "FAIL" in capsys.readouterr().out


def test_verify_says_when_the_contract_was_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest, payload = detector_parts()
    failed = replace(manifest, provenance=replace(manifest.provenance, verdict="FAIL"))
    write_bundle(tmp_path / "d.edge", failed, payload)
    assert main(["verify", str(tmp_path / "d.edge")]) == 0
    assert "contract ended FAIL" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "d.edge"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "FAIL"


def test_an_unknown_flag_is_answered_with_the_verbs_own_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["verify", "x.edge", "--nonsense"])
    assert stop.value.code == 2
    assert "usage: edgewright verify" in capsys.readouterr().err


def test_verify_without_golden_vectors_is_inconclusive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest, payload = detector_parts()
    write_bundle(tmp_path / "d.edge", replace(manifest, golden=None), payload)
    assert main(["verify", str(tmp_path / "d.edge")]) == 4
    assert "no golden vectors" in capsys.readouterr().out


def test_verify_refuses_golden_vectors_that_leave_something_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, payload = detector_parts()
    golden = read_golden(payload["golden.npz"])
    (name,) = golden.outputs
    without_scores = [{"boxes": answer["boxes"]} for answer in golden.outputs[name]]
    uneven = [golden.outputs[name][0], {"boxes": golden.outputs[name][1]["boxes"]}]
    for answers in ({}, {name: without_scores}, {name: uneven}, {"other": golden.outputs[name]}):
        changed = {**payload, "golden.npz": write_golden(golden.frames, answers)}
        write_bundle(tmp_path / "d.edge", manifest, changed)
        assert main(["verify", str(tmp_path / "d.edge")]) == 2
        assert "golden.npz" in capsys.readouterr().err


def test_verify_looks_at_every_variant(tmp_path: Path) -> None:
    manifest, payload = detector_parts()
    assert manifest.golden is not None
    (variant,) = manifest.variants
    both = (replace(variant, name="unproven"), variant)
    tolerance = {f"{v.name}/{o.name}": 1e-4 for v in both for o in v.outputs}
    golden = replace(manifest.golden, tolerance=tolerance)
    write_bundle(tmp_path / "d.edge", replace(manifest, variants=both, golden=golden), payload)
    assert main(["verify", str(tmp_path / "d.edge")]) == 2


@pytest.mark.parametrize("verb", ["inspect", "verify"])
def test_a_missing_bundle_is_one_clear_line(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "/nowhere/x.edge"]) == 2
    captured = capsys.readouterr()
    assert "/nowhere/x.edge" in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("verb", ["inspect", "verify", "bench", "report"])
def test_names_of_files_do_not_reach_the_terminal_as_they_are(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "/nowhere/\x1b[2J\u202eegde.edge"]) == 2
    said = capsys.readouterr().err
    assert "/nowhere/\\x1b[2J\\u202eegde.edge" in said
    assert "\x1b" not in said


def test_output_into_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "d.edge")
    command = f"{sys.executable} -m edgewright.cli.main inspect {path} --json | head -c 1 >/dev/null"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_output_onto_a_full_disk_is_one_line(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "d.edge")
    command = f"{sys.executable} -m edgewright.cli.main inspect {path} --json > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


@pytest.mark.parametrize("threads", ["0", "-1", "100000", "two", "9" * 5000])
def test_threads_are_bounded(threads: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_detector(tmp_path / "d.edge")
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(path), "--threads", threads])
    assert stop.value.code == 2
    assert "is no number of threads" in capsys.readouterr().err


def test_profiles_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles", "list"]) == 0
    assert "raspberry-pi-5" in capsys.readouterr().out
    assert main(["profiles", "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["profiles"]) >= 6
    assert main(["profiles", "show", "jetson-orin-nano"]) == 0
    assert "(vendor)" in capsys.readouterr().out
    assert main(["profiles", "show", "jetson-orin-nano", "--json"]) == 0
    cores = json.loads(capsys.readouterr().out)["cores"]
    assert (cores["value"], cores["origin"]) == (6, "vendor")
    assert main(["profiles", "show", "../../etc/passwd"]) == 2
    assert "no device profile" in capsys.readouterr().err


def test_sigterm_ends_a_verb_like_ctrl_c_and_leaves_no_temporary_files(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "d.edge")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "edgewright.cli.main", "bench", str(path), "--runs", "1000000"]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(scratch.iterdir()):
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    _, error = process.communicate()
    assert process.returncode == 130
    assert error.endswith("interrupted\n")
    assert not list(scratch.iterdir())
