"""`edgewright bench --remote` over a real SSH server, also with the link cut while the board is at it."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from bundles import write_detector
from fault_proxy import FaultProxy
from ssh_server import SshBoard

from edgewright.cli.main import main
from edgewright.runtime.results.codec import read_result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace for the board needs root")
COMMAND = f"{sys.executable} -m edgewright.cli.main"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBoard]:
    assert shutil.which("sshd", path="/usr/sbin:/usr/bin"), "apt install openssh-server"
    with SshBoard(tmp_path_factory.mktemp("ssh") / "board") as board:
        yield board


def link(board: SshBoard, port: int | None = None) -> list[str]:
    return ["--remote", *board.words(user="root", port=port), "--command", COMMAND]


def test_a_board_is_timed_and_left_as_it_was(board: SshBoard, tmp_path: Path) -> None:
    bundle = write_detector(tmp_path / "tiny.edge")
    words = ["bench", str(bundle), "--runs", "10", "-o", str(tmp_path / "r.json"), "--into", str(bundle)]
    listed = ["sh", "-c", "ls -d /var/tmp/edgewright-* /tmp/edgewright-* 2>/dev/null; true"]
    before = board.inside(listed)
    assert main([*words, *link(board)]) == 0
    seen, _ = read_result(tmp_path / "r.json")
    assert seen.variants[0].golden is True
    assert board.inside(listed) == before


def test_a_cut_link_does_not_end_the_timing(board: SshBoard, tmp_path: Path) -> None:
    bundle = write_detector(tmp_path / "tiny.edge")
    with FaultProxy(board.port) as proxy:
        cut = threading.Timer(4.0, lambda: proxy.cut_after(1))
        cut.start()
        words = ["bench", str(bundle), "--runs", "10", "--soak", "6", "-o", str(tmp_path / "r.json")]
        assert main([*words, *link(board, proxy.port)]) == 0
        assert proxy.cuts == 1
    seen, _ = read_result(tmp_path / "r.json")
    assert seen.soak is not None
    assert seen.soak.note == ""


def test_a_board_that_is_not_there_is_told(board: SshBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_detector(tmp_path / "tiny.edge")
    with FaultProxy(board.port) as proxy:
        port = proxy.port
    assert main(["bench", str(bundle), *link(board, port)]) == 2
    assert "127.0.0.1" in capsys.readouterr().err
