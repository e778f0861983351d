"""Every mistake of a device.toml is told at once, and what is right in it is still tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from told import look

from edgewright.cli.doctor.configured import configured
from edgewright.cli.doctor.look import Wishes
from edgewright.cli.doctor.mistakes import read_config
from edgewright.device.config import load_config

if TYPE_CHECKING:
    from pathlib import Path

WRONG = """\
sources = 3
rules = "none"
[source]
url = "rtsp://u:sesame@h/1"
fps = -1
every = 2
[model]
threads = "x"
profile = "no-such-board"
[sinc]
a = 1
[sync]
device = "a/b"
drain_s = 7.0
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device.toml"


def test_all_mistakes_at_once_and_the_rest_is_kept(path: Path) -> None:
    path.write_text(WRONG)
    config, mistakes = read_config(path)
    words = ("[sources]", "rules must be", "'url'", "fps = -1", "threads", "[sinc]", "no-such-board", "'a/b'")
    assert len(mistakes) == len(words)
    for word in words:
        assert sum(word in mistake for mistake in mistakes) == 1, word
    assert all(mistake.startswith(f"{path}: ") and mistake.count(str(path)) == 1 for mistake in mistakes)
    assert "sesame" not in "".join(mistakes)
    assert config is not None
    assert (config.source.every, config.sync.drain_s, config.path) == (2, 7.0, path)
    assert (config.model.profile, config.source.fps) == (None, load_config(None).source.fps)


def test_each_mistake_is_a_finding_with_a_remedy(path: Path) -> None:
    path.write_text(WRONG)
    config, mistakes = read_config(path)
    found = [one for one in configured(look({}, Wishes((), None, path, config, mistakes))) if one.name == "file"]
    assert [(one.state, bool(one.remedy)) for one in found] == [("bad", True)] * 8


@pytest.mark.parametrize("text", ["[source]\nevery = 3\n", "", '[rules]\nzones = ["a=0,0;1,0;1,1"]\n'])
def test_a_file_without_mistakes_is_read_as_run_reads_it(path: Path, text: str) -> None:
    path.write_text(text)
    assert read_config(path) == (load_config(path), ())


@pytest.mark.parametrize(
    "data", [b"[source", b"\xff\xfe", b"a = " + b"[" * 5000, b"#" * (1 << 20) + b"\nx", b"x = 1\nx = 2\n"]
)
def test_what_cannot_be_read_is_one_mistake(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    config, (mistake,) = read_config(path)
    assert config is None
    assert str(path) in mistake


def test_a_file_that_is_not_there(path: Path) -> None:
    assert read_config(path)[0] is None
    assert "cannot be read" in read_config(path)[1][0]


def test_zones_that_mean_nothing(path: Path) -> None:
    path.write_text('[rules]\nzones = ["door=0.1", "a=0,0;1,0;1,1", "b"]\n')
    config, mistakes = read_config(path)
    assert config is not None
    assert [mistake.split(": ")[1] for mistake in mistakes] == ["[rules] zones"] * 2


def test_a_file_full_of_mistakes_is_cut(path: Path) -> None:
    path.write_text("[source]\n" + "".join(f"k{number} = 1\n" for number in range(200)))
    mistakes = read_config(path)[1]
    assert (len(mistakes), mistakes[-1]) == (51, f"{path}: and 150 more")
