"""Wheels for a board: chosen by a real pip from a folder of small wheels that stands for the package index."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from wheels import board_index, empty_wheel

from edgewright.bundle.errors import EdgewrightError, OutputError
from edgewright.cli.main import main
from edgewright.deploy.errors import DeployError
from edgewright.deploy.own_wheel import pack_own_wheel
from edgewright.deploy.pip_download import explain
from edgewright.deploy.wheel_index import Wheel, Wheelhouse, write_index
from edgewright.deploy.wheel_name import needed_glibc, read_wheel_name
from edgewright.deploy.wheelhouse import (
    Target,
    default_python,
    make_wheelhouse,
    open_wheelhouse,
    source_constraints,
    target_of,
)
from edgewright.device_profiles.profile import load_profile

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PI = load_profile("raspberry-pi-5")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return board_index(tmp_path_factory.mktemp("index"))


@pytest.fixture(autouse=True)
def _offline(index: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return


def made(folder: Path, python: str = "3.11", extras: tuple[str, ...] = ("onnx",), **more: Any) -> dict[str, str]:
    house = make_wheelhouse(target_of(PI, python), folder, extras, lambda line: None, **more)
    assert open_wheelhouse(folder) == house
    assert {file.name for file in folder.iterdir()} == {"wheelhouse.json", *(wheel.name for wheel in house.files)}
    assert house.bytes == sum(path.stat().st_size for path in folder.glob("*.whl"))
    return {wheel.name.split("-")[0]: wheel.name.split("-")[1] for wheel in house.files}


def test_the_wheels_are_those_of_the_board_and_not_of_this_machine(tmp_path: Path) -> None:
    found = made(tmp_path / "w")
    # 2.8.0 is for another processor, 2.9.0 for a newer C library.
    assert found["numpy"] == "2.4.6"
    assert set(found) == {"edgewright", "numpy", "opencv_python_headless", "paho_mqtt", "onnxruntime", "flatbuffers"}


def test_markers_are_those_of_the_boards_python(tmp_path: Path) -> None:
    assert "tomli" in made(tmp_path / "old", "3.10")
    assert "tomli" not in made(tmp_path / "new", "3.13")


def test_constraints_hold_and_their_markers_too(tmp_path: Path) -> None:
    file = tmp_path / "constraints.txt"
    file.write_text("numpy==2.2.6; python_version < '3.12'\n")
    assert made(tmp_path / "w", constraints=file)["numpy"] == "2.2.6"
    file.write_text("numpy==2.2.6; python_version < '3.11'\n")
    assert made(tmp_path / "w", constraints=file)["numpy"] == "2.4.6"


def test_making_it_again_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_wheelhouse(target_of(PI, "3.11"), tmp_path / "w", ["onnx"], lambda line: None)
    before = {path: path.stat() for path in (tmp_path / "w").iterdir()}
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")  # pip could not do it again
    again = make_wheelhouse(target_of(PI, "3.11"), tmp_path / "w", ["onnx"], lambda line: None)
    assert again == first
    assert {path: path.stat() for path in (tmp_path / "w").iterdir()} == before


def test_the_same_wheels_have_the_same_id_wherever_they_lie(tmp_path: Path) -> None:
    one, two = (make_wheelhouse(target_of(PI, "3.11"), tmp_path / n, ["onnx"], lambda line: None) for n in "ab")
    assert one.id == two.id
    assert one.id.startswith(f"{one.version}-")
    plain = make_wheelhouse(target_of(PI, "3.11"), tmp_path / "c", [], lambda line: None)
    assert plain.id != one.id


def test_another_request_replaces_it_when_told_to_and_a_damaged_one_is_mended(tmp_path: Path) -> None:
    made(tmp_path / "w", extras=())
    assert "onnxruntime" in made(tmp_path / "w", replace=True)
    (damaged,) = (tmp_path / "w").glob("numpy*")
    damaged.write_bytes(b"")
    assert made(tmp_path / "w")["numpy"] == "2.4.6"


@pytest.mark.parametrize(
    ("profile", "python", "extras", "held"),
    [
        ("raspberry-pi-5", "3.13", ("onnx",), "Python 3.13 on aarch64 (raspberry-pi-5), up to manylinux_2_36_aarch64"),
        ("x86-64", "3.11", ("onnx",), "Python 3.11 on x86_64 (x86-64)"),
        ("raspberry-pi-5", "3.11", ("tflite",), "with tflite"),
        ("jetson-orin-nano", "3.11", ("onnx",), "up to manylinux_2_35_aarch64"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_what_another_board_needs_is_not_replaced_unasked(
    tmp_path: Path, profile: str, python: str, extras: tuple[str, ...], held: str, whole: bool
) -> None:
    wheel = empty_wheel(tmp_path, "edgewright", "0.1.0")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    listed = (Wheel(wheel.name, wheel.stat().st_size, digest, tmp_path),)
    target = target_of(load_profile(profile), python)
    write_index(Wheelhouse(tmp_path, target, extras, ("edgewright==0.1.0",), listed, "0" * 64))
    if not whole:
        wheel.unlink()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(DeployError) as caught:
        made(tmp_path)
    assert held in str(caught.value)
    assert "Python 3.11 on aarch64 (raspberry-pi-5), up to manylinux_2_36_aarch64, with onnx" in str(caught.value)
    assert "--replace" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_wheels_name_says_which_c_library_it_needs() -> None:
    names = [
        "onnxruntime-1.23.2-cp310-cp310-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
        "numpy-2.2.6-cp310-cp310-manylinux2014_aarch64.whl",
        "tomli-2.5.0-py3-none-any.whl",
        "onnxruntime_gpu-1.23.0-1-cp310-cp310-linux_aarch64.whl",
    ]
    read = [read_wheel_name(name) for name in names]
    assert [name.glibc for name in read] == [27, 17, 0, 0]
    assert [name.is_onnxruntime for name in read] == [True, False, False, True]
    assert (read[3].package, read[3].version) == ("onnxruntime-gpu", "1.23.0")
    assert needed_glibc(names) == (27, "onnxruntime")
    assert needed_glibc([]) == (0, "")
    with pytest.raises(DeployError, match="not named as wheels are"):
        read_wheel_name("numpy.whl")


def test_a_vendors_engine_takes_the_place_of_ours(tmp_path: Path) -> None:
    vendor = empty_wheel(tmp_path, "onnxruntime-gpu", "1.23.0", "cp310-cp310-linux_aarch64", ["numpy"])
    house = make_wheelhouse(
        target_of(load_profile("jetson-orin-nano"), "3.10"), tmp_path / "w", ["onnx"], lambda line: None,
        extra_wheels=[vendor],
    )  # fmt: skip
    names = {wheel.name.split("-")[0] for wheel in house.files}
    assert "onnxruntime_gpu" in names
    assert "onnxruntime" not in names
    assert house.requirements[0].startswith("edgewright==")
    assert house.requirements[1] == "onnxruntime-gpu==1.23.0"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: next(f.glob("numpy*")).write_bytes(b"other"), "altered or is incomplete"),
        (lambda f: next(f.glob("numpy*")).unlink(), "lacks numpy"),
        (lambda f: (f / "wheelhouse.json").unlink(), "is no wheelhouse"),
        (lambda f: (f / "wheelhouse.json").write_text("{"), "cannot be read as JSON"),
        (lambda f: (f / "wheelhouse.json").write_text("[" * 100_000), "cannot be read as JSON"),
        (lambda f: (f / "wheelhouse.json").write_text(" " * (1 << 20) + "{}"), "at most 1 MiB"),
        (lambda f: (f / "wheelhouse.json").write_text("[]"), "no JSON object"),
        (lambda f: alter(f, "schema", 2), "schema '2'"),
        (lambda f: alter(f, "python", "3.9"), "python is missing"),
        (lambda f: alter(f, "requirements", ["edgewright==1 --index-url=x"]), "requirements is missing"),
        (lambda f: alter(f, "requirements", ["numpy==1"]), "requirements is missing"),
        (lambda f: alter(f, "wheels", []), "wheels is missing"),
        (lambda f: alter(f, "wheels", [{"file": "../x.whl", "bytes": 1, "sha256": "0" * 64}]), "wheels is missing"),
        (lambda f: alter(f, "wheels", [{"file": "x.whl", "bytes": True, "sha256": "0" * 64}]), "wheels is missing"),
        (lambda f: alter(f, "board", "\x1b[2J"), "board is missing"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_was_made_is_refused(tmp_path: Path, change: Any, says: str) -> None:
    made(tmp_path / "w", extras=())
    change(tmp_path / "w")
    with pytest.raises(DeployError, match=says):
        open_wheelhouse(tmp_path / "w")


def alter(folder: Path, key: str, value: Any) -> None:
    file = folder / "wheelhouse.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))


def test_a_missing_wheel_is_named_with_python_machine_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"no wheel of aiortc.* for Python 3\.11 on aarch64 \(raspberry-pi-5\)"):
        made(tmp_path / "w", extras=("webrtc",))
    with pytest.raises(DeployError, match=r"no wheel of numpy.* Python 3\.12 .*--python"):
        made(tmp_path / "w", "3.12", extras=())
    assert not list(tmp_path.iterdir())


def test_constraints_that_cannot_be_met_are_told(tmp_path: Path) -> None:
    file = tmp_path / "constraints.txt"
    file.write_text("numpy==1.0\n")
    with pytest.raises(DeployError, match=r"numpy==1\.0"):
        made(tmp_path / "w", constraints=file)
    file.write_text("numpy===!!!\x00 nonsense\n")
    with pytest.raises(DeployError, match="constraints"):
        made(tmp_path / "w", constraints=file)
    with pytest.raises(DeployError, match="no constraints file"):
        made(tmp_path / "w", constraints=tmp_path / "none.txt")
    assert not (tmp_path / "w").exists()


def test_no_network_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody listens there
    monkeypatch.setenv("PIP_RETRIES", "1")  # with none, pip keeps its trouble to itself
    with pytest.raises(DeployError, match="no package index could be reached"):
        made(tmp_path / "w")
    assert not list(tmp_path.iterdir())


def test_a_failed_try_leaves_the_former_wheelhouse(tmp_path: Path) -> None:
    before = made(tmp_path / "w")
    with pytest.raises(DeployError):
        made(tmp_path / "w", extras=("onnx", "webrtc"))
    assert {wheel.name.split("-")[0] for wheel in open_wheelhouse(tmp_path / "w").files} == set(before)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"dear")
    with pytest.raises(DeployError, match="no wheelhouse and not empty"):
        made(tmp_path)
    assert (tmp_path / "photo.jpg").read_bytes() == b"dear"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, index: Path) -> None:
    big = tmp_path / "index"
    for wheel in index.iterdir():
        (big / wheel.name).parent.mkdir(exist_ok=True)
        (big / wheel.name).write_bytes(wheel.read_bytes())
    with zipfile.ZipFile(next(big.glob("paho*")), "a") as archive:
        archive.writestr("paho_mqtt/data", os.urandom(3_000_000))
    (tmp_path / "loose.txt").write_text("")
    script = """mount -t tmpfs -o size=2m small "$1"
        "$2" -m edgewright.cli.main wheelhouse "$1/w" --profile raspberry-pi-5 --python 3.11 --constraints "$3"
        echo "code $?"; ls -A "$1" """
    (tmp_path / "disk").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    places = [str(tmp_path / "disk"), sys.executable, str(tmp_path / "loose.txt")]
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *places]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**environment, "PIP_FIND_LINKS": str(big)}
    )
    assert done.stdout.split() == ["code", "2"], done.stdout + done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (["ERROR: Could not install packages due to an OSError: [Errno 30] Read-only file system"], OutputError, "Read-only"),
        (["ERROR: Something else altogether \x1b[2J"], DeployError, "(raspberry-pi-5): Something else altogether"),
        (["ERROR: Could not open requirements file: x"], DeployError, "constraints: Could not open requirements file: x"),
        ([], DeployError, "exit status 2"),
    ],
)  # fmt: skip
def test_what_pip_says_is_told_in_one_line(said: list[str], kind: type[EdgewrightError], words: str) -> None:
    error = explain(said, 2, target_of(PI, "3.11"), Path("/somewhere/w"))
    assert type(error) is kind
    assert words in str(error)
    assert "\x1b" not in str(error)
    assert "\n" not in str(error)


def test_a_pip_that_takes_no_markers_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A package named pip that is none, found before the real one.
    (tmp_path / "fake/pip").mkdir(parents=True)
    (tmp_path / "fake/pip/__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    with pytest.raises(EdgewrightError, match="cannot choose wheels for another Python"):
        made(tmp_path / "w")


@pytest.mark.parametrize(
    ("profile", "python", "says"),
    [
        ("raspberry-pi-5", "3.9", "runs on 3.10"),
        ("raspberry-pi-5", "3", "runs on 3.10"),
        ("raspberry-pi-5", "3.11; rm", "runs on 3.10"),
    ],
)
def test_a_python_that_cannot_be_is_refused(profile: str, python: str, says: str) -> None:
    with pytest.raises(DeployError, match=says):
        target_of(load_profile(profile), python)


@pytest.mark.parametrize(
    ("profile", "python", "why"),
    [
        (
            "raspberry-pi-5",
            "3.11",
            "the first that profile raspberry-pi-5 names of 3.11, 3.13; for another say --python",
        ),
        ("jetson-orin-nano", "3.10", "the one that profile jetson-orin-nano names"),
    ],
)
def test_the_python_that_nobody_named_comes_with_its_reason(profile: str, python: str, why: str) -> None:
    found, said = default_python(load_profile(profile))
    assert found == python
    assert why in said


@pytest.mark.parametrize("profile", ["jetson-nano", "coral-dev"])
def test_a_board_whose_python_is_too_old_is_told_what_to_do(
    profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wheelhouse", str(tmp_path / "w"), "--profile", profile]) == 2
    said = capsys.readouterr().err
    assert f"the system of a {profile} brings Python 3." in said
    assert "install one of these on the board beside its own" in said
    assert "--python 3.10" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_a_target_takes_wheels_of_its_own_c_library_and_of_older_ones(python: str) -> None:
    target = target_of(PI, python)
    assert target.abi == f"cp{python.replace('.', '')}"
    tags = [tag for tag in target.platform_tags if tag.startswith("manylinux_2_")]
    assert tags[0] == "manylinux_2_36_aarch64"
    assert tags[-1] == "manylinux_2_17_aarch64"
    assert target.platform_tags[-1] == "linux_aarch64"
    assert target.markers()["python_version"] == python


def test_our_own_wheel_holds_every_module_and_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, two = (pack_own_wheel(tmp_path / name) for name in ("a", "b"))
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        information = {name.split("/", 1)[1] for name in archive.namelist() if ".dist-info/" in name}
    sources = {
        p.relative_to(ROOT / root).as_posix()
        for root in ("optimize", "runtime", "sync", "device_profiles")
        for p in (ROOT / root).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert inside == sources
    assert information == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_a_checkout_has_its_constraints() -> None:
    assert source_constraints() in {ROOT / "constraints.txt", None}  # None where the built wheel is tested


def test_the_command_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loose.txt").write_text("")
    words = ["wheelhouse", str(tmp_path / "w"), "--profile", "raspberry-pi-5"]
    words += ["--constraints", str(tmp_path / "loose.txt")]
    assert main(words) == 0
    told = capsys.readouterr()
    assert told.err.startswith("for Python 3.11, the first that profile raspberry-pi-5 names of 3.11, 3.13")
    shown = told.out
    assert "6 wheels" in shown
    assert "Python 3.11 on aarch64 (raspberry-pi-5)" in shown
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["requirements"] == [f"edgewright[onnx]=={said['id'].split('-')[0]}"]
    assert len(said["wheels"]) == 6
    assert said["python_why"].startswith("Python 3.11, the first")
    assert main([*words, "--python", "3.9"]) == 2
    with pytest.raises(SystemExit):
        main([*words, "--extras", "onnx,torch"])
    assert "no extra for boards" in capsys.readouterr().err


def test_a_target_of_an_unknown_processor_is_refused() -> None:
    profile = load_profile("raspberry-pi-5")
    assert isinstance(target_of(profile, "3.11"), Target)
    object.__setattr__(profile, "architecture", None)
    with pytest.raises(DeployError, match="64-bit"):
        target_of(profile, "3.11")
