"""``scripts/arm64``: how it compares two sides, and what it calls alike."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def load(root: Path, name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, root / f"scripts/{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        found.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


@pytest.fixture(scope="module")
def compare(root: Path) -> ModuleType:
    return load(root, "arm64_compare")


def test_equal_outputs_differ_in_nothing(compare: ModuleType) -> None:
    side = {"int8/boxes/0000": np.array([1.0, np.inf]), "int8/boxes/0001": np.array([2.0, 3.0])}
    (row,) = compare.gaps(side, dict(side), {"int8/boxes": 0.1}, {"int8/boxes": np.full(2, 0.5)})
    assert (row.frames, row.values, row.largest, row.equal, row.beyond_one, row.within) == (2, 4, 0.0, 1.0, 0.0, 1.0)


def test_a_difference_is_told_in_steps_of_its_own_number(compare: ModuleType) -> None:
    ours = {"int8/boxes/0000": np.array([0.0, 0.0, 0.0, 0.0])}
    theirs = {"int8/boxes/0000": np.array([0.5, 0.4, 0.0, 0.0])}
    steps = {"int8/boxes": np.array([0.5, 0.1, 0.5, 0.5])}
    (row,) = compare.gaps(ours, theirs, {"int8/boxes": 0.45}, steps)
    assert (row.largest, row.largest_steps) == (0.5, 4.0)
    assert (row.equal, row.beyond_one, row.within) == (0.5, 0.25, 0.75)


@pytest.mark.parametrize("other", [np.zeros(3), np.array([np.nan, 0.0]), None])
def test_another_shape_nan_and_nothing_are_infinitely_far(compare: ModuleType, other: Any) -> None:
    theirs = {} if other is None else {"v/o/0000": other}
    (row,) = compare.gaps({"v/o/0000": np.zeros(2)}, theirs, {"v/o": 1.0}, {})
    assert row.largest == np.inf
    assert row.within < 1.0
    assert row.beyond_one is None


def test_detections_have_one_partner_each_of_their_class(compare: ModuleType) -> None:
    box = np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0]])
    ours = {"v@boxes/0000": box, "v@classes/0000": np.array([0, 0])}
    theirs = {"v@boxes/0000": box[:1], "v@classes/0000": np.array([0])}
    assert compare.answers_alike(ours, theirs, "v") == (1, 2, 1)
    theirs["v@classes/0000"] = np.array([1])
    assert compare.answers_alike(ours, theirs, "v") == (0, 2, 1)


def test_events_are_told_apart_by_kind_place_and_content(compare: ModuleType) -> None:
    first = {"kind": "zone_count", "frame_index": 2, "time": "a", "data": {"count": 1}}
    later = {**first, "frame_index": 3}
    ended = {"kind": "run_summary", "frame_index": 9, "data": {"fps": 3.0}}
    surplus, unlike = compare.events_differ([first, ended], [{**first, "time": "b"}, {**ended, "data": {"fps": 9.0}}])
    assert (dict(surplus), unlike) == ({}, 0)
    surplus, unlike = compare.events_differ([first], [later])
    assert (dict(surplus), unlike) == ({}, 1)
    surplus, unlike = compare.events_differ([first], [first, later])
    assert (dict(surplus), unlike) == ({"zone_count": 1}, 1)


def test_operators_are_summed_by_kind(compare: ModuleType) -> None:
    rows = [{"kind": "QLinearAdd", "values": 10, "differing": n, "largest": n} for n in (0, 1)]
    (row,) = compare.operator_rows(rows)
    assert (row.count, row.values, row.differing, row.largest) == (2, 20, 1, 1)


def test_steps_of_joined_onnx_outputs(compare: ModuleType) -> None:
    constants = {"a.s": np.float32(0.5), "b.s": np.float32(0.25), "flat": np.array([1, -1], np.int64)}
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "a.s"], ["a.real"]),
        helper.make_node("DequantizeLinear", ["b", "b.s"], ["b.real"]),
        helper.make_node("Reshape", ["b.real", "flat"], ["b.flat"]),
        helper.make_node("Concat", ["a.real", "b.flat"], ["out"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "heads",
        [
            helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 2]),
            helper.make_tensor_value_info("b", TensorProto.UINT8, [1, 2, 2]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    steps = compare.output_steps(model.SerializeToString(), "onnx")
    assert steps["out"].tolist() == [[0.5, 0.5, 0.25, 0.25, 0.25, 0.25]]
    assert onnx.checker.check_model(model) is None


def test_page_tells_a_failed_run(root: Path) -> None:
    told = {
        "ok": False,
        "checks": [{"name": "x", "ok": False, "detail": "y"}],
        "seconds": 61.0,
        "root_mb": 460.0,
        "started": 9,
        "crashes": 1,
        "crashes_at_end": 4,
        "pictures": 3,
        "frames": 20,
        "clip": "vtest.avi",
        "host": {"machine": "some x86"},
        "bundle": {"name": "person.edge", "variants": ["int8"]},
        "cpus": [],
    }
    text = load(root, "arm64_page").page(told)
    assert "NOT all ok" in text
    assert "9 emulated commands the emulator crashed 4 when all was said and 1 before" in " ".join(text.split())


def test_each_processor_shows_its_board(root: Path, tmp_path: Path) -> None:
    module = load(root, "arm64_root")
    text = module.CPUS["cortex-a76"].cpuinfo(2)
    assert text.count("processor\t:") == 2
    assert "asimddp" in text
    assert "asimddp" not in module.CPUS["cortex-a72"].cpuinfo(1)
    assert module.platforms()[0] == "manylinux_2_36_aarch64"
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            "x-1.dist-info/METADATA", "Name: x\nRequires-Dist: numpy<3\nRequires-Dist: b; extra == 'c'\n\n"
        )
    assert module.requirements_of(wheel) == ["numpy<3", "b; extra == 'c'"]


def test_children_end_with_what_they_started(root: Path, tmp_path: Path) -> None:
    module = load(root, "arm64_root")
    with module.Child(["sh", "-c", "sleep 60 & echo $!; wait"], log=tmp_path / "log") as child:
        assert child.process.stdout is not None
        grandchild = int(child.process.stdout.readline())
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(grandchild)], capture_output=True, text=True, check=False)
    assert state.stdout.strip()[:1] in {"", "Z"}
    with pytest.raises(module.Failed, match="took longer"):
        module.run(["sleep", "60"], timeout_s=0.2)


@pytest.mark.parametrize(
    ("words", "said"), [(["--cpu", "cortex-m0"], "no such processor"), (["--frames", "0"], "1 frame")]
)
def test_bad_input_ends_with_two(root: Path, words: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, str(root / "scripts/arm64"), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, json.dumps([done.stdout, done.stderr])
    assert said in done.stderr
