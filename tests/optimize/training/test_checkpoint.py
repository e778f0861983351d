"""Checkpoints: what is written is what is read, and what is damaged is not used."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewright.optimize.errors import TrainingError
from edgewright.optimize.training import checkpoint as module_of
from edgewright.optimize.training.checkpoint import CheckpointFolder
from edgewright.optimize.training.tensors import digest_of

KEY = "ab" * 32
TYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.float8_e4m3fn,
    torch.uint16,
]


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    kind = draw(st.sampled_from(TYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    size = torch.empty(shape, dtype=kind).numel() * kind.itemsize
    raw = draw(st.binary(min_size=size, max_size=size))
    if kind is torch.bool:
        raw = bytes(value & 1 for value in raw)
    data = torch.from_numpy(np.frombuffer(raw, np.uint8).copy())
    return (data.view(kind) if size else data.to(kind)).reshape(shape)


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
PARTS = st.dictionaries(st.sampled_from(["module", "best", "optimizer"]), st.dictionaries(NAMES, tensors(), max_size=4))


def bits(parts: dict[str, dict[str, torch.Tensor]]) -> dict[str, Any]:
    return {
        part: {name: (value.dtype, value.shape, digest_of({"": value})) for name, value in values.items()}
        for part, values in parts.items()
    }


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(PARTS)
def test_round_trip(tmp_path: Path, parts: dict[str, dict[str, torch.Tensor]]) -> None:
    store = CheckpointFolder(tmp_path, "Net: one/two", KEY)
    store.save(7, {"values": [1.5, None, "x"]}, parts)
    found, notes = CheckpointFolder(tmp_path, "Net: one/two", KEY).load()
    assert found is not None
    assert not notes
    assert (found.step, found.ended, found.state) == (7, False, {"values": [1.5, None, "x"]})
    assert bits(found.parts) == bits(parts)
    shutil.rmtree(store.path)


def test_many_arrays_go_into_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_of, "_FILE_BYTES", 100)
    parts = {"module": {f"w{number}": torch.full((10,), float(number)) for number in range(9)}}
    store = CheckpointFolder(tmp_path, "net", KEY)
    store.save(1, {}, parts)
    assert len(list(store.path.glob("step-*/module-*.npz"))) == 5
    found, _ = store.load()
    assert found is not None
    assert bits(found.parts) == bits(parts)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    store = CheckpointFolder(folder, "net", KEY)
    for step in (3, 4, 5):
        store.save(step, {"note": "n" * 50}, {"module": {"w": torch.full((16,), float(step))}})
    return folder


def copied(three: Path, folder: Path) -> CheckpointFolder:
    shutil.copytree(three, folder, dirs_exist_ok=True)
    return CheckpointFolder(folder, "net", KEY)


def test_the_two_newest_are_kept_and_one_at_the_end(three: Path, tmp_path: Path) -> None:
    store = copied(three, tmp_path)
    assert sorted(path.name for path in store.path.iterdir()) == ["step-000000004", "step-000000005"]
    store.save(5, {}, {"module": {}}, ended=True)
    assert [path.name for path in store.path.iterdir()] == ["step-000000005-end"]
    found, _ = store.load()
    assert found is not None
    assert found.ended


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["record.json", "module-0.npz"]), st.floats(0, 0.999), st.integers(0, 255), st.booleans())
def test_a_damaged_one_is_named_and_the_former_is_used(
    three: Path, tmp_path: Path, name: str, where: float, flip: int, cut: bool
) -> None:
    store = copied(three, tmp_path)
    path = store.path / "step-000000005" / name
    data = bytearray(path.read_bytes())
    at = int(where * len(data))
    if cut:
        data = data[:at]
    else:
        data[at] ^= flip
    path.write_bytes(data)
    found, notes = CheckpointFolder(tmp_path, "net", KEY).load()
    assert found is not None
    if flip == 0 and not cut:
        assert found.step == 5
    else:
        assert found.step == 4
        assert float(found.parts["module"]["w"][0]) == 4
        assert "step-000000005 is damaged and is not used" in notes[0]
    shutil.rmtree(store.path)


def test_a_damaged_one_is_not_what_is_kept(three: Path, tmp_path: Path) -> None:
    store = copied(three, tmp_path)
    (store.path / "step-000000005" / "module-0.npz").unlink()
    found, _ = store.load()
    assert found is not None
    assert found.step == 4
    store.save(6, {}, {"module": {}})
    assert sorted(path.name for path in store.path.iterdir()) == ["step-000000004", "step-000000006"]


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil-was-here"),)


@pytest.mark.parametrize("name", ["record.json", "module-0.npz"])
def test_nothing_in_a_checkpoint_is_run(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    store = copied(three, tmp_path)
    folder = store.path / "step-000000005"
    (folder / name).write_bytes(pickle.dumps(Evil()))
    if name != "record.json":
        objects = np.array([Evil()], dtype=object)
        np.savez(folder / name, w=objects)
        forged(folder, name)
    found, notes = store.load()
    assert found is not None
    assert found.step == 4
    assert len(notes) == 1
    assert not (tmp_path / "evil-was-here").exists()


def forged(folder: Path, name: str) -> None:
    """Gives a file the digests that somebody who knows how would give it."""
    both = json.loads((folder / "record.json").read_text())
    data = (folder / name).read_bytes()
    both["record"]["files"][name] |= {"bytes": len(data), "sha256": module_of.hashlib.sha256(data).hexdigest()}
    both["sha256"] = module_of._digest(both["record"])
    (folder / "record.json").write_text(json.dumps(both))


def test_no_room_is_said_before_it_begins(tmp_path: Path) -> None:
    store = CheckpointFolder(tmp_path, "net", KEY)
    with pytest.raises(TrainingError, match=r"two of them take 2,305,843,009,213,693,952 bytes, [\d,]+ are free"):
        store.prepare(1 << 60)
    store.prepare(1 << 10)


def test_a_file_in_the_way_is_said_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("")
    with pytest.raises(TrainingError, match="choose another folder"):
        CheckpointFolder(tmp_path / "in-the-way", "net", KEY).prepare(10)


def test_what_a_killed_process_left_is_taken_away(three: Path, tmp_path: Path) -> None:
    store = copied(three, tmp_path)
    (store.path / ".step-000000006.0123456789ab").mkdir()
    store.prepare(10)
    assert sorted(path.name for path in store.path.iterdir()) == ["step-000000004", "step-000000005"]
