"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewright.bundle.atomic import atomic_directory, atomic_path, write_text
from edgewright.bundle.errors import OutputError


def test_a_file_appears_with_ordinary_permissions(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "x.txt"
    write_text(target, "grün")
    assert target.read_text(encoding="utf-8") == "grün"
    plain = tmp_path / "plain"
    plain.touch()
    assert target.stat().st_mode == plain.stat().st_mode


def test_a_failing_block_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    write_text(target, "old")

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    def fail_directory() -> None:
        with atomic_directory(tmp_path / "d") as temporary:
            (temporary / "half").touch()
            raise RuntimeError

    for block in (fail, fail_directory):
        with pytest.raises(RuntimeError):
            block()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_where_nothing_can_be_written_the_message_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_text(tmp_path / "file" / "below", "x")
    with pytest.raises(OutputError, match="cannot write"), atomic_directory(Path("/proc/nowhere/x")):
        pass


def test_a_disk_that_fills_up_while_writing_is_an_output_error(tmp_path: Path) -> None:
    target = tmp_path / "x.bin"

    def write() -> None:
        with atomic_path(target), Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x" * 4096)

    with pytest.raises(OutputError, match="No space left"):
        write()
    assert not list(tmp_path.iterdir())
