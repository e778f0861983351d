"""What a profile's file may say, where it may lie, and what is said when it is wrong."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.device_profiles.errors import ProfileError
from edgewright.device_profiles.profile import Origin, list_profiles, load_profile, parse_profile

BOARDS = Path(__file__).parents[2] / "device_profiles/edgewright/device_profiles/boards"
GOOD = 'extends = "raspberry-pi-5"\ncores = { value = 8, origin = "measured", source = "counted" }\n'


def field(name: str, value: str, origin: str = "vendor", source: str = "its data sheet") -> str:
    return f'{name} = {{ value = {value}, origin = "{origin}", source = "{source}" }}\n'


def test_a_file_is_loaded_by_its_path_and_extends_a_shipped_profile(tmp_path: Path) -> None:
    path = tmp_path / "gate-camera.toml"
    path.write_text(GOOD)
    profile = load_profile(str(path))
    assert profile.name == "gate-camera"
    assert profile.lineage[0] == "raspberry-pi-5"
    assert profile.cores is not None
    assert (profile.cores.value, profile.cores.origin, profile.cores.source) == (8, Origin.MEASURED, "counted")
    assert profile.gstreamer == load_profile("raspberry-pi-5").gstreamer
    path.write_text('name = "the-gate"\n' + GOOD)
    assert load_profile(str(path)).name == "the-gate"


def test_a_relative_path_needs_no_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert load_profile("mine.toml") == load_profile("./mine.toml")
    with pytest.raises(ProfileError, match=r"no device profile 'mine'; .* a file of your own is named by its path"):
        load_profile("mine")


def test_fields_are_taken_over_table_by_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "jetson-orin-nano"\n[providers.onnxruntime-tensorrt.options]\n'
        + field("trt_max_workspace_size", "7")
        + '[kernels."onnxruntime-cpu"]\n'
        + field("int8_pointwise_gmacs", "12")
    )
    profile = load_profile(str(path))
    tensorrt = profile.providers["onnxruntime-tensorrt"]
    assert tensorrt.name == load_profile("jetson-orin-nano").providers["onnxruntime-tensorrt"].name
    assert tensorrt.options["trt_max_workspace_size"].value == 7
    figure = profile.kernels["onnxruntime-cpu"]["int8_pointwise_gmacs"].value
    assert (figure, type(figure)) == (12.0, float)


WRONG = {
    "cores = 4\n": "cores must be .* source = .*, and has 4",
    'cores = { value = 4, origin = "vendor" }\n': "cores must be .*, and has origin, value",
    field("cores", "4", origin="guessed"): "one of measured, vendor, assumed",
    field("cores", "4", source=""): "cores: source must say in one line",
    field("cores", "4", source="x" * 301): "has 301 characters",
    field("cores", '"4"'): "cores is '4'; it must be a whole number from 1 to 1024",
    field("cores", "true"): "cores is True; it must be a whole number",
    field("cores", "0"): "from 1 to 1024",
    field("cores", "9" * 400): "from 1 to 1024",
    field("fsync_ms", "nan"): "fsync_ms is nan; it must be a number from",
    field("fsync_ms", "inf"): "fsync_ms is inf",
    field("kernels", "1"): "unknown backend 'kernels.value'|kernels must be",
    "kernels = 3\n": "kernels must be a table of fields",
    field("wheels", '"x"'): r"unknown field 'wheels'; known are architecture, .*providers",
    field("architecture", '"armv7l"'): "architecture is 'armv7l'; it must be one of x86_64, aarch64",
    field("backends", '["cuda"]'): "a list, each one of onnxruntime-cpu",
    field("backends", '["onnxruntime-cpu", "onnxruntime-cpu"]'): "names nothing twice",
    field("backends", "[]"): "a list of 1 to 64",
    field("python", '["3"]'): "each a version such as 3.11",
    field("os", r'"a\nb"'): "cannot be shown",
    field("os", r'" a"'): "spaces around it",
    field("emulated", "1"): "true or false",
    field("wheel_platforms", '["win_amd64"]'): "manylinux_2_28_aarch64",
    field("cameras", r'["/etc/passwd;reboot"]'): "a camera such as /dev/video0",
    "[formats.onnxruntime-cpu]\n" + field("weight_bits", "6"): "weight_bits is 6; it must be a whole number from 7",
    "[formats.toaster]\n" + field("weight_bits", "8"): "unknown backend 'formats.toaster'",
    "[formats.onnxruntime-cpu]\n" + field("speed", "8"): "known are activations, weights",
    "[kernels.onnxruntime-cpu]\n" + field("int8_pointwise_gmacs", "0.0"): "int8_pointwise_gmacs is 0.0",
    "[kernels.onnxruntime-cpu]\n" + field('"a b"', "1.0"): "small letters, digits and _",
    "[gstreamer]\n" + field("webcam", '"x"'): "unknown kind of camera 'gstreamer.webcam'; known are csi, usb",
    "[providers.litert-xnnpack]\n" + field("name", '"x"'): "unknown backend 'providers.litert-xnnpack'",
    "[providers.onnxruntime-cuda]\n" + field("name", '"CPUExecutionProvider"'): "is CUDAExecutionProvider",
    "[providers.onnxruntime-cuda.options]\n" + field("trt_engine_cache_path", '"/etc"'): "unknown option .*device_id",
    "[providers.onnxruntime-cuda.options]\n" + field("device_id", "1.5"): "a whole number, or a word",
    'extends = "toaster"\n': "'mine' extends another: no device profile 'toaster'",
    'extends = "../raspberry-pi-5"\n': "no device profile '../raspberry-pi-5'",
    "extends = 3\n": "extends must be one line of text",
    'name = "A B"\n': "no name of a device profile",
    'name = "raspberry-pi-5"\n': "is taken by a profile that ships",
    "cores": "is not TOML",
    "x = " + "[" * 20000: "is not TOML",
    "x = " + "9" * 5000: "is not TOML|unknown field",
    field("cores", "2") + field("threads", "4"): "threads is 4 and cores is 2: more threads than cores",
    field("warn_celsius", "90") + field("throttle_celsius", "80"): "it would warn only after",
    field("memory_mb", "512") + field("memory_max_mb", "1024"): "may not have more memory than the board",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items(), ids=range(len(WRONG)))
def test_what_is_wrong_is_said_with_profile_field_and_what_is_allowed(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=said) as caught:
        load_profile(str(path))
    assert len(str(caught.value)) < 900


def test_a_file_that_is_none(tmp_path: Path) -> None:
    cases = {"gone.toml": "No such file", "folder.toml": "is no file", "pipe.toml": "is no file"}
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")  # opening it would wait for a writer for ever
    for name, said in cases.items():
        with pytest.raises(ProfileError, match=said):
            load_profile(str(tmp_path / name))
    (tmp_path / "latin.toml").write_bytes(b'description = "\xe9"\n')
    with pytest.raises(ProfileError, match="cannot be read"):
        load_profile(str(tmp_path / "latin.toml"))
    with pytest.raises(ProfileError, match="cannot be read"):
        load_profile("./a\0b.toml")


def test_a_huge_file_is_not_taken_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    with path.open("wb") as file:
        file.truncate(1 << 32)
    tracemalloc.start()
    try:
        with pytest.raises(ProfileError, match="larger than"):
            load_profile(str(path))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@given(
    board=st.sampled_from(list_profiles()),
    place=st.floats(0, 1),
    length=st.integers(0, 40),
    instead=st.text(max_size=20),
)
def test_whatever_was_done_to_a_file_it_is_a_profile_or_a_profile_error(
    board: str, place: float, length: int, instead: str
) -> None:
    text = (BOARDS / f"{board}.toml").read_text()
    start = int(place * len(text))
    try:
        profile = parse_profile(text[:start] + instead + text[start + length :], "changed")
    except ProfileError:
        return
    assert all(known.source for known in profile.known().values())
