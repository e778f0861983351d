"""Settings from a file and from flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgewright.device.config import load_config
from edgewright.device.errors import DeviceConfigError

WHOLE = """
[source]
uri = "rtsp://u:p@cam/s"
every = 2
max_side = 640
stall_s = 3
[model]
bundle = "person.edge"
score = 0.4
[rules]
track = false
zones = ["door=0,0;1,0;1,1"]
[sync]
broker = "mqtt://u:p@broker"
device = "gate-1"
drain_s = 0
[output]
events = "events.jsonl"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "device.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_sets_and_flags_win(tmp_path: Path) -> None:
    flags = {"source": {"every": 5, "max_side": None}, "output": {"annotate": "out.mp4"}}
    config = load_config(write(tmp_path, WHOLE), flags)
    assert (config.source.every, config.source.max_side, config.source.stall_s) == (5, 640, 3.0)
    assert (config.model.bundle, config.model.score, config.model.threads) == (Path("person.edge"), 0.4, None)
    assert (config.rules.track, config.rules.zones) == (False, ("door=0,0;1,0;1,1",))
    assert (config.sync.wanted, config.sync.device, config.sync.drain_s) == (True, "gate-1", 0.0)
    assert (config.output.events, config.output.annotate) == (Path("events.jsonl"), Path("out.mp4"))
    assert "u:p" not in repr(config)
    assert config.source.uri == "rtsp://u:p@cam/s"


def test_nothing_is_fine_too() -> None:
    assert not load_config(None).sync.wanted


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[sauce]\nx=1", r"unknown table \[sauce\]"),
        ("[source]\nevry=1", r"unknown key 'evry' in \[source\]; known are uri, name, every"),
        ("source = 3", "must be a table"),
        ("[source]\nevery='2'", "must be a whole number"),
        ("[source]\nevery=true", "must be a whole number"),
        ("[source]\nevery=0", "larger than 0"),
        ("[source]\nfps=nan", "must be a number"),
        ("[source]\nuri=7", "must be a text"),
        ("[model]\nscore=1.5", "between 0 and 1"),
        ("[model]\nbundle=''", "must be a path"),
        ("[rules]\nzones='door'", "list of texts"),
        ("[rules]\ntrack=1", "true or false"),
        ("[sync]\ndrain_s=-1", "0 or more"),
        ("[source", "not valid TOML"),
        ("[source]\nfps=1" + "0" * 400, "fps = 10*... must be a number"),
        ("[source]\nfps=1" + "0" * 5000, "not valid TOML"),
        ("[source]\nfps=0x1" + "0" * 9000, "fps = a huge number must be a number"),
        ("[source]\nfps=1e-320", "fps .* must lie within 0.001 to 1000"),
        ("[source]\nstall_s=1e300", "stall_s .* must be 1000000000 seconds or less"),
        ("[source]\nx=" + "[" * 10_000, "not valid TOML"),
        ('[model]\nbundle="a\\u0000b"', "must be a path, not empty and without a NUL"),
        ("[model]\nthreads=0", "threads = 0 must be larger than 0"),
        ("[model]\nthreads=100000", r"threads = 100000 must be \d+ or less: four for each core"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DeviceConfigError, match=says) as caught:
        load_config(write(tmp_path, text))
    assert "device.toml" in str(caught.value)


def test_a_refusal_does_not_repeat_a_password(tmp_path: Path) -> None:
    with pytest.raises(DeviceConfigError, match="must be a text") as caught:
        load_config(write(tmp_path, '[source]\nuri = ["rtsp://bob:s3cret@cam/s"]'))
    assert "s3cret" not in str(caught.value)


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(DeviceConfigError, match="cannot be read"):
        load_config(tmp_path / "missing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DeviceConfigError, match="not valid TOML"):
        load_config(tmp_path / "binary.toml")
    (tmp_path / "huge.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(DeviceConfigError, match="larger than"):
        load_config(tmp_path / "huge.toml")


@pytest.mark.parametrize(
    ("flags", "says"), [({"model": {"score": 2.0}}, "score"), ({"source": {"every": -1}}, "every")]
)
def test_flags_are_checked_like_the_file(flags: dict[str, dict[str, Any]], says: str) -> None:
    with pytest.raises(DeviceConfigError, match=says):
        load_config(None, flags)
