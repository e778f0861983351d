"""The step cache: what is trusted, what is not, and what happens when the disk does not play along."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.bundle.arrays import npz_bytes
from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.errors import IntegrityError
from edgewright.optimize.errors import SpecError
from edgewright.optimize.steps import StepCache, StepInput, StepKey, StepOutput, StepResult, default_folder, input_of
from edgewright.optimize.steps.entry import pack_entry, unpack_entry

TOOLS = {"numpy": "2"}


def key(name: str = "calibrate", **params: object) -> StepKey:
    return StepKey(name, params=params, inputs={"model": input_of(b"a model")}, tools=TOOLS)


class Work:
    """A step that counts how often it ran."""

    def __init__(self, content: bytes = b"ranges", facts: dict[str, object] | None = None) -> None:
        self.output = StepOutput({"ranges": content}, facts or {"pictures": 20}, evaluations=20)
        self.runs = 0

    def __call__(self) -> StepOutput:
        self.runs += 1
        return self.output


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.step"))


def same(one: StepResult, other: StepResult) -> bool:
    return (one.artefacts, one.facts) == (other.artefacts, other.facts)


def test_the_second_run_takes_it_from_the_cache(tmp_path: Path) -> None:
    work = Work(npz_bytes({"low": np.arange(3.0)}))
    first = StepCache(tmp_path).step(key(), work)
    second = StepCache(tmp_path).step(key(), work)
    assert (first.hit, second.hit, work.runs) == (False, True, 1)
    assert same(first, second)
    assert second.arrays("ranges")["low"].tolist() == [0, 1, 2]
    assert second.as_input("ranges") == StepInput(input_of(first.artefacts["ranges"]).digest, "", "calibrate")
    assert second.cost_seconds >= 0


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    done, later = Work(), Work(b"weights")

    def interrupted() -> StepOutput:
        raise KeyboardInterrupt

    first = StepCache(tmp_path)
    first.step(key(), done)
    with pytest.raises(KeyboardInterrupt):
        first.step(key("quantize"), interrupted)
    again = StepCache(tmp_path)
    assert [again.step(key(), done).hit, again.step(key("quantize"), later).hit] == [True, False]
    assert (done.runs, later.runs) == (1, 1)


@pytest.mark.parametrize(
    "other",
    [
        StepKey("calibrat", params={"a": 1}, inputs={"m": input_of(b"x")}, tools=TOOLS),
        StepKey("calibrate", 2, params={"a": 1}, inputs={"m": input_of(b"x")}, tools=TOOLS),
        StepKey("calibrate", params={"a": 2}, inputs={"m": input_of(b"x")}, tools=TOOLS),
        StepKey("calibrate", params={"b": 1}, inputs={"m": input_of(b"x")}, tools=TOOLS),
        StepKey("calibrate", params={"a": 1}, inputs={"m": input_of(b"y")}, tools=TOOLS),
        StepKey("calibrate", params={"a": 1}, inputs={"n": input_of(b"x")}, tools=TOOLS),
        StepKey("calibrate", params={"a": 1}, inputs={"m": input_of(b"x")}, tools={"numpy": "3"}),
    ],
)
def test_every_ingredient_makes_another_key(other: StepKey) -> None:
    one = StepKey("calibrate", params={"a": 1}, inputs={"m": input_of(b"x")}, tools=TOOLS)
    assert one.digest != other.digest
    assert len(one.digest) == 64


def test_labels_and_order_do_not_count() -> None:
    one = StepKey("s", params={"a": 1, "b": 2}, inputs={"m": input_of(b"x", "old/clip.avi")}, tools=TOOLS)
    two = StepKey("s", params={"b": 2, "a": 1}, inputs={"m": input_of(b"x", "new/clip.avi", "fetch")}, tools=TOOLS)
    assert one.digest == two.digest


def test_the_default_key_knows_the_code_that_works() -> None:
    tools = StepKey("s").tools
    assert {"onnx", "onnxruntime", "numpy", "edgewright"} <= set(tools)
    assert len(tools["edgewright"].partition("+")[2]) == 64


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: StepKey("../escape", tools=TOOLS), "lower-case letters"),
        (lambda: StepKey("s", params={"a": float("nan")}, tools=TOOLS), "finite"),
        (lambda: StepKey("s", params={"a": b"bytes"}, tools=TOOLS), "plain JSON"),
        (lambda: StepInput("abc123", "clip.avi"), "whole SHA-256"),
    ],
)
def test_what_cannot_be_a_key_is_refused(make: object, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("damage", ["truncate", "flip", "append", "empty", "swap"])
def test_a_damaged_entry_is_said_to_be_and_recomputed(tmp_path: Path, damage: str) -> None:
    notes: list[str] = []
    work = Work(b"x" * 1000)
    StepCache(tmp_path).step(key(), work)
    StepCache(tmp_path).step(key(a=1), Work(b"other"))
    path = next(p for p in entries(tmp_path) if p.stem == key().digest)
    data = path.read_bytes()
    other = next(p for p in entries(tmp_path) if p != path).read_bytes()
    changed = {
        "truncate": data[:-1],
        "flip": data[:-500] + bytes([data[-500] ^ 1]) + data[-499:],
        "append": data + b"!",
        "empty": b"",
        "swap": other,
    }
    path.write_bytes(changed[damage])
    cache = StepCache(tmp_path, on_note=notes.append)
    result = cache.step(key(), work)
    assert (result.hit, result.artefacts["ranges"], work.runs) == (False, b"x" * 1000, 2)
    assert "calibrate is damaged" in notes[0]
    assert str(cache.finish("out.edge")[0]) == "calibrate: its cache entry was damaged"
    assert StepCache(tmp_path).step(key(), work).hit, "the good one took its place"


@given(
    st.dictionaries(st.text(max_size=8), st.binary(max_size=40), max_size=3),
    st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3),
    st.data(),
)
def test_entries_come_back_whole_or_not_at_all(
    artefacts: dict[str, bytes], facts: dict[str, object], data: st.DataObject
) -> None:
    packed = pack_entry("k", StepOutput(artefacts, facts, 3), 1.5)
    entry = unpack_entry(packed, "k")
    assert (entry.output.artefacts, entry.output.facts, entry.cost.seconds) == (artefacts, facts, 1.5)
    place = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(IntegrityError):
        unpack_entry(
            packed[:place] + bytes([packed[place] ^ data.draw(st.integers(1, 255))]) + packed[place + 1 :], "k"
        )


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = StepCache(tmp_path, max_bytes=5000)
    for number in range(3):
        cache.step(key(number=number), Work(bytes(1000)))
    for age, number in ((300, 0), (200, 1), (100, 2)):
        path = next(p for p in entries(tmp_path) if p.stem == key(number=number).digest)
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert cache.step(key(number=0), Work()).hit, "which makes 1 the oldest"
    cache.step(key(number=3), Work(bytes(1000)))
    assert [cache.has(key(number=number)) for number in range(4)] == [True, False, True, True]
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= 5000


def test_what_is_larger_than_the_cache_is_not_kept(tmp_path: Path) -> None:
    notes: list[str] = []
    cache = StepCache(tmp_path, max_bytes=500, on_note=notes.append)
    cache.step(key(), Work(bytes(1000)))
    assert not entries(tmp_path)
    assert "may hold (500 B)" in notes[0]


@pytest.mark.parametrize("kind", ["file", "broken"])
def test_a_folder_that_cannot_be_written_costs_one_note(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "cache"
    if kind == "file":
        folder.write_text("in the way")
    else:
        folder = Path("/proc/edgewright-no-such-place")
    notes: list[str] = []
    cache = StepCache(folder, on_note=notes.append)
    for number in range(3):
        assert not cache.step(key(number=number), Work()).hit
    assert [str(line).endswith("first run") for line in cache.finish("out.edge")] == [True] * 3
    assert len(notes) == 1
    assert "goes on without it" in notes[0]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from edgewright.optimize.steps import StepCache, StepKey, StepOutput
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
cache = StepCache(Path(sys.argv[1]), on_note=print)
for n in range(2):
    result = cache.step(StepKey('big', params={'n': n}, tools={}), lambda: StepOutput({'a': bytes(100_000)}))
    print(len(result.artefacts['a']))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.isdigit()] == ["100000", "100000"]
    assert sum("goes on without it" in line for line in lines) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cache, work = StepCache(None), Work()
    assert [cache.step(key(), work).hit for _ in range(2)] == [False, False]
    assert (cache.has(key()), cache.costs("calibrate")) == (False, ())
    cache.finish("out.edge")
    assert not list(tmp_path.iterdir())


def test_two_processes_may_share_a_folder(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from edgewright.optimize.steps import StepCache, StepKey, StepOutput
cache = StepCache(Path(sys.argv[1]), max_bytes=20_000, on_note=print)
for n in range(60):
    name = n % 7
    result = cache.step(StepKey('s', params={'n': name}, tools={}), lambda: StepOutput({'a': bytes([name]) * 5000}))
    assert result.artefacts['a'] == bytes([name]) * 5000
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert told == ["", ""]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".step"]


def test_temporary_files_of_the_dead_are_swept(tmp_path: Path) -> None:
    cache = StepCache(tmp_path)
    cache.step(key(), Work())
    old, young = (entries(tmp_path)[0].with_name(f".{word}.step") for word in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.step(key(a=1), Work())
    assert (old.exists(), young.exists()) == (False, True)


def test_the_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "here"))
    assert default_folder() == tmp_path / "here"
    monkeypatch.delenv("EDGEWRIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "edgewright" / "steps"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "edgewright" / "steps"


@pytest.mark.parametrize(
    "header", ["[]", "{}", '{"key": 1}', '{"key": "k", "seconds": 1, "evaluations": 0, "facts": []}']
)
def test_a_header_that_nobody_here_wrote_is_not_believed(header: str) -> None:
    line = header.encode()
    data = b"edgewright-step-1 " + sha256_hex(line).encode() + b"\n" + line + b"\n"
    with pytest.raises(IntegrityError, match="its header is not one that this program wrote"):
        unpack_entry(data, "k")
