"""What `edgewright doctor` says, on this machine and on ones that lack something."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
from told import look

from edgewright.cli import doctor
from edgewright.cli.doctor import asking, child, child_engines, command, engines, extras, packages
from edgewright.cli.doctor.findings import Finding, read_findings, shown_lines


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    return {f"{finding.group}/{finding.name}": finding for finding in command.diagnose()}


def test_it_looks_at_everything(findings: dict[str, Finding]) -> None:
    wanted = {
        "machine/python",
        "machine/processor",
        "machine/int8",
        "packages/edgewright",
        "packages/base",
        "packages/optimize",
        "engine/CPUExecutionProvider",
        "engine/integer sums",
        "engine/SmoothQuant",
        "engine/LiteRT",
        "engine/XNNPACK",
        "neural-compressor/version",
        "neural-compressor/tuner",
        "neural-compressor/torch flow",
        "neural-compressor/onnx",
        "neural-compressor/pruning",
        "neural-compressor/distillation",
        "machine/memory",
        "machine/swap",
        "heat/temperature",
        "disk/space",
        "disk/file system",
        "disk/root",
        "disk/fsync",
        "disk/wear",
        "clock/plausible",
        "clock/synchronised",
        "clock/rtc",
        "service/state",
    }
    assert wanted <= set(findings)
    assert {finding.state for finding in findings.values()} <= {"ok", "unknown", "warn", "missing", "bad"}
    assert all(finding.remedy for finding in findings.values() if finding.state != "ok")


def test_what_the_other_tests_use_is_found_to_work(findings: dict[str, Finding]) -> None:
    for name in ("packages/optimize", "engine/CPUExecutionProvider", "engine/LiteRT", "neural-compressor/tuner"):
        assert findings[name].state == "ok", findings[name]
    flow = findings["neural-compressor/torch flow"]
    assert (flow.state == "ok") is (find_spec("torchao") is not None), flow


def test_onnxruntimes_smooth_quant_is_tried_and_not_believed(findings: dict[str, Finding]) -> None:
    finding = findings["engine/SmoothQuant"]
    done = subprocess.run(
        [sys.executable, "-c", "import neural_compressor.adaptor.ox_utils.smooth_quant"],
        check=False,
        capture_output=True,
    )
    assert (finding.state == "ok") is (done.returncode == 0)
    assert "neural_compressor.adaptor" in finding.text


def test_the_product_is_the_one_it_claims() -> None:
    model = onnx.load_model_from_string(child_engines._PRODUCT)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["MatMulInteger"]


def speak(monkeypatch: pytest.MonkeyPatch, found: list[Finding], *arguments: str) -> int:
    monkeypatch.setattr(command, "diagnose", lambda _wishes: tuple(found))
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    return doctor.run(parser.parse_args(arguments))


FINE = Finding("engine", "CPU", "ok", "loads")
LESS = Finding("engine", "GPU", "warn", "does not load", "leave it")
DARK = Finding("heat", "sensor", "unknown", "there is none", "look")
DEAD = Finding("broker", "reach", "bad", "nobody is there", "start it")
LACK = Finding("packages", "onnx", "missing", "lacks onnxruntime", "pip install 'edgewright[onnx]'")


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([FINE], 0),
        ([FINE, DARK], 0),
        ([FINE, LESS, DARK], 0),
        ([FINE, LESS, LACK], 5),
        ([FINE, DARK, DEAD], 2),
        ([DEAD, LACK], 5),
    ],
)
def test_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: list[Finding], code: int
) -> None:
    assert speak(monkeypatch, found) == code
    text = capsys.readouterr().out
    assert all(finding.text in text and finding.remedy in text for finding in found)
    assert speak(monkeypatch, found, "--json") == code
    data = json.loads(capsys.readouterr().out)
    assert data["ok"] is (code == 0)
    assert read_findings(data) == tuple(found)


def test_the_summary_names_again_what_is_less_than_well() -> None:
    found = [FINE, DEAD, DARK, LESS, FINE, LACK, DEAD]
    lines = list(shown_lines(found))
    assert lines[lines.index("summary: 2 ok, 1 unknown, 1 warn, 1 missing, 2 bad") + 1 :] == [
        f"  warn    engine/GPU: {LESS.text}",
        "          -> leave it",
        f"  missing packages/onnx: {LACK.text}",
        "          -> pip install 'edgewright[onnx]'",
        f"  bad     broker/reach (2 times): {DEAD.text}",
        "          -> start it",
        "3 of 7 findings need attention",
    ]


@pytest.mark.parametrize(
    ("found", "last"),
    [([FINE], "nothing is broken"), ([FINE, DARK, LESS], "nothing that could be examined is broken")],
)
def test_the_last_line_claims_no_more_than_was_seen(found: list[Finding], last: str) -> None:
    assert list(shown_lines(found))[-1] == last


def test_the_json_keeps_its_form() -> None:
    assert set(command.to_json((LACK,))) == {"ok", "findings"}
    assert command.to_json((LACK,))["findings"] == [
        {
            "group": "packages",
            "name": "onnx",
            "state": "missing",
            "text": "lacks onnxruntime",
            "remedy": "pip install 'edgewright[onnx]'",
        }
    ]


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"findings": 3},
        {"findings": [3]},
        {"findings": [{"group": "a"}]},
        {"findings": [{"group": "a", "name": "b", "state": "fine", "text": "", "remedy": ""}]},
        {"findings": [{"group": "a", "name": 1, "state": "ok", "text": "", "remedy": ""}]},
        {"findings": [3] * 2000},
    ],
)
def test_findings_of_another_machine_are_checked(data: object) -> None:
    with pytest.raises(ValueError, match="finding"):
        read_findings(data)


def test_what_another_machine_says_cannot_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speak(monkeypatch, [Finding("gr\x1b[2Joup", "name", "ok", "text\x1b[31m", "remedy\x07")])
    assert "\x1b" not in capsys.readouterr().out


def packages_of(monkeypatch: pytest.MonkeyPatch, installed: dict[str, str]) -> dict[str, Finding]:
    """What is said of packages on a machine that has only these."""
    lines = [
        "numpy<3,>=2",
        "tomli>=2; python_version < '3.11'",
        "onnxruntime<2,>=1.23; extra == 'onnx'",
        "onnx>=1.21; extra == 'optimize'",
        "psutil>=5.9; extra == 'optimize'",
        "psycopg[binary]<4,>=3.2; extra == 'cloud'",
        "neural-compressor==3.10; (python_version >= '3.11') and extra == 'optimize'",
        "never-there>=1; (python_version < '3.1') and extra == 'optimize'",
    ]
    monkeypatch.setattr(extras, "installed_version", installed.get)
    found = extras.read_extras(lines)
    monkeypatch.setattr(packages, "read_extras", lambda: found)
    return {finding.name: finding for finding in packages.packages(look())}


BASE = {"numpy": "2.4.6", "tomli": "2.2"}


def test_an_installed_extra_that_lacks_something(monkeypatch: pytest.MonkeyPatch) -> None:
    found = packages_of(monkeypatch, {**BASE, "onnx": "1.22"})
    assert (found["base"].state, found["optimize"].state) == ("ok", "missing")
    assert found["optimize"].text.startswith("lacks neural-compressor, psutil")
    assert found["optimize"].remedy == "pip install 'edgewright[optimize]'"
    assert "onnx" in found["others"].text


def test_a_package_alone_does_not_make_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    found = packages_of(monkeypatch, {**BASE, "psutil": "6"})
    assert "optimize" not in found
    assert found["base"].state == "ok"


def test_a_broken_base(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = packages_of(monkeypatch, {"tomli": "2.2"})["base"]
    assert (finding.state, finding.remedy) == ("missing", "pip install 'edgewright'")


@pytest.mark.parametrize(
    ("installed", "name", "state"),
    [
        ({"numpy": "1.26.4"}, "numpy", "missing"),
        ({"numpy": "3.0.0rc1"}, "numpy", "missing"),
        ({"numpy": "2.0+local"}, "base", "ok"),
        ({"numpy": "of unknown version"}, "numpy", "unknown"),
        ({"onnxruntime": "1.22.0"}, "onnxruntime", "missing"),
        ({"onnxruntime": "1.23.2"}, "onnx", "ok"),
        ({"onnxruntime-gpu": "1.23.0"}, "onnx", "ok"),
        ({"onnxruntime-gpu": "1.20.0"}, "onnxruntime-gpu", "warn"),
        ({"psycopg": "3.1"}, "psycopg", "missing"),
    ],
)
def test_a_version_outside_of_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], name: str, state: str
) -> None:
    finding = packages_of(monkeypatch, {**BASE, **installed})[name]
    assert finding.state == state
    if state != "ok":
        (package, version) = next(iter(installed.items()))
        assert version in finding.text
        assert f"pip install '{package}" in finding.remedy


def test_this_environment_has_what_the_project_asks_for() -> None:
    assert all(not extra.outside for extra in extras.read_extras())


@pytest.mark.parametrize(
    ("instructions", "state", "says"),
    [
        (("avx2", "avx512_vnni"), "ok", "in hardware"),
        (("avx2",), "warn", "overflow"),
        (("asimd", "asimddp"), "ok", "asimddp"),
        (("asimd",), "warn", "may not be faster"),
        ((), "unknown", "does not tell"),
    ],
)
def test_processors(monkeypatch: pytest.MonkeyPatch, instructions: tuple[str, ...], state: str, says: str) -> None:
    from edgewright.runtime import machine

    seen = machine.Machine("a processor", "some", 4, instructions, "Linux")
    monkeypatch.setattr(machine, "describe_machine", lambda: seen)
    finding = list(packages.processor(look()))[-1]
    assert finding.state == state
    assert says in finding.text


ENGINE = {"version": "1.0", "providers": {"CPUExecutionProvider": ""}, "saturates": False, "smooth_quant": None}


@pytest.mark.parametrize(
    ("answer", "states"),
    [
        (ENGINE, ["ok", "ok"]),
        ({**ENGINE, "saturates": True}, ["ok", "warn"]),
        ({**ENGINE, "providers": {"CUDAExecutionProvider": "no libcuda"}}, ["warn", "ok"]),
        ({**ENGINE, "smooth_quant": {"module": "a.b", "problem": ""}}, ["ok", "ok", "ok"]),
        ({**ENGINE, "smooth_quant": {"module": "a.b", "problem": "gone"}}, ["ok", "ok", "warn"]),
        ({"died": "its process was ended by SIGILL"}, ["missing"]),
    ],
)
def test_what_the_engine_answered(answer: dict[str, object], states: list[str]) -> None:
    assert [finding.state for finding in engines.onnxruntime(look({"onnxruntime": answer}))] == states


LITERT = {"packages": ["ai-edge-litert 2.3.0"], "problem": "", "engine": "LiteRT 2.3.0 (ai-edge-litert)"}
OLD = {"packages": ["tflite-runtime 2.14.0"], "problem": "", "engine": "LiteRT 2.14.0 (tflite-runtime)"}


@pytest.mark.parametrize(
    ("answer", "states", "says"),
    [
        (LITERT, ["ok", "ok"], "LiteRT 2.3.0 (ai-edge-litert)"),
        ({**LITERT, "packages": [*LITERT["packages"], "tensorflow 2.21.0"]}, ["ok", "ok", "ok"], "tensorflow 2.21.0"),
        (OLD, ["warn", "ok"], "pip install 'edgewright[tflite]'"),
        ({**LITERT, "engine": f"{LITERT['engine']}, nothing delegated"}, ["ok", "warn"], "nothing delegated"),
        ({**LITERT, "problem": "BrokenPackageError: libfoo.so"}, ["missing"], "libfoo.so"),
        ({"packages": []}, ["ok"], "pip install 'edgewright[tflite]'"),
        ({"died": "its process was ended by SIGILL"}, ["missing"], "SIGILL"),
    ],
)
def test_what_the_tflite_interpreter_answered(answer: dict[str, object], states: list[str], says: str) -> None:
    found = list(engines.litert(look({"litert": answer})))
    assert [finding.state for finding in found] == states
    assert says in " ".join(f"{finding.text} {finding.remedy}" for finding in found)
    assert all(finding.remedy for finding in found if finding.state != "ok")


def test_the_probe_of_the_interpreter_looks_for_packages_and_runs_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = child_engines.litert({})
    assert seen["packages"][0].startswith("ai-edge-litert ")
    assert (seen["problem"], seen["engine"].partition(" ")[0]) == ("", "LiteRT")
    for package in ("ai_edge_litert", "tflite_runtime", "tensorflow"):
        monkeypatch.setitem(sys.modules, package, None)
    assert child_engines.litert({}) == {"packages": []}


def test_a_module_is_looked_up_without_what_is_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy/inner").mkdir(parents=True)
    for name in ("heavy/__init__.py", "heavy/inner/__init__.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')")
    (tmp_path / "heavy/inner/leaf.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ("heavy.leaf", "heavy.inner.leaf.none", "nowhere.leaf", "heavy.inner.leaf", "heavy.inner")
    assert child_engines._first_found(names) == "heavy.inner.leaf"
    assert child_engines._first_found(names[:3]) is None


COMPRESSOR = {"version": "2.6", "tuner": "", "onnx": "a", "pruning": "b", "distillation": "c", "problem": ""}


@pytest.mark.parametrize(
    ("answer", "states"),
    [
        (COMPRESSOR, ["ok"] * 6),
        ({**COMPRESSOR, "onnx": None, "pruning": None}, ["ok", "ok", "ok", "warn", "warn", "ok"]),
        ({**COMPRESSOR, "tuner": "No module named 'cpuinfo'"}, ["ok", "missing", *["ok"] * 4]),
        ({**COMPRESSOR, "problem": "needs torchao"}, ["ok", "ok", "warn", *["ok"] * 3]),
        ({"died": "no answer within 60 s"}, ["missing"]),
    ],
)
def test_what_neural_compressor_answered(answer: dict[str, object], states: list[str]) -> None:
    assert [
        finding.state for finding in engines.compressor(look({"neural-compressor": answer, "torch-flow": answer}))
    ] == states


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "SIGILL"),
        ("import os; os.kill(os.getpid(), 40)", "signal 40"),
        ("raise ImportError('libgomp.so.1 is missing')", "libgomp.so.1 is missing"),
        ("print('chatter')", "status 0"),
        ("import time; time.sleep(60)", "no answer"),
    ],
)
def test_a_probe_that_dies_is_a_finding(code: str, says: str) -> None:
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = 0.0 if "sleep" in code else time.monotonic() + 60
    try:
        assert says in asking.answer_of(process, until, 60)["died"]
    finally:
        process.kill()
        process.communicate()


def test_what_a_probe_was_doing_when_it_hung_is_told() -> None:
    code = "import time; from edgewright.cli.doctor.child import doing; doing('waiting for Godot'); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert asking.answer_of(process, time.monotonic() + 3, 3)["died"] == "no answer within 3 s while waiting for Godot"


def test_every_probe_is_there() -> None:
    for where in child.PROBES.values():
        module, _, function = where.partition(":")
        assert callable(getattr(importlib.import_module(f"edgewright.cli.doctor.{module}"), function))


def test_a_file_called_like_a_package_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    with asking.Children() as children:
        children.start("onnxruntime", "onnxruntime")
        assert children.answer("onnxruntime")["providers"]["CPUExecutionProvider"] == ""
