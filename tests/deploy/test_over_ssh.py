"""Deployment over a real SSH server to a board that is this machine under covers (see ``ssh_server``).

The first part needs nothing on the board. The second is one story, in order: a link that breaks, a board that loses its
power, an installation, the same again, an upgrade that is refused, and everything taken away.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from bundles import detector_parts, write_detector
from fault_proxy import FaultProxy
from ssh_server import SshBoard
from wheels import installed_wheel

from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.golden import read_golden, write_golden
from edgewright.bundle.writer import write_bundle
from edgewright.cli.main import main
from edgewright.deploy.asking import read_facts
from edgewright.deploy.board import Board
from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.layout import Layout
from edgewright.deploy.wheelhouse import Wheelhouse, make_wheelhouse, target_of
from edgewright.device_profiles.profile import load_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgewright.deploy.host import Host

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace for the board needs root")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PROFILE = "generic-x86-avx2" if platform.machine() == "x86_64" else "generic-arm64"
NEEDED = ("numpy", "opencv-python-headless", "onnxruntime", "paho-mqtt", "flatbuffers", "packaging", "protobuf")
OPT = PurePosixPath("/opt/edgewright")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBoard]:
    with SshBoard(tmp_path_factory.mktemp("ssh") / "board") as board:
        yield board


@pytest.fixture(scope="module", params=["board", "root"])
def host(request: pytest.FixtureRequest, board: SshBoard) -> Iterator[Host]:
    with board.host(request.param) as host:
        yield host


@pytest.fixture
def there(host: Host) -> Iterator[PurePosixPath]:
    """A folder of the user's on the host."""
    folder = host.run(["mktemp", "-d"]).out.strip()
    yield PurePosixPath(folder)
    host.run(["rm", "-rf", folder], root=True)


@pytest.mark.parametrize("word", ["plain", "two words", "$HOME `id` $(id)", "'\"\\", "*", "-n", "", "ä\nb", "a;b|c&d"])
def test_words_arrive_as_they_are(host: Host, word: str) -> None:
    done = host.run(["printf", "<%s>", word])
    assert done.ok
    assert done.out == f"<{word}>"


def test_status_output_and_input_come_through(host: Host) -> None:
    done = host.run(["sh", "-c", "cat; echo bad >&2; exit 7"], stdin=b"\x00in\n")
    assert (done.code, done.out, done.err) == (7, "\x00in\n", "bad\n")
    assert host.run(["sh", "-c", "exit 255"]).code == 255  # which is also what ssh itself ends with
    assert host.run(["cat"]).out == ""
    assert host.run(["/no/such/program"]).code == 127


def test_a_command_that_does_not_end_is_given_up(host: Host) -> None:
    with pytest.raises(DeployError, match="did not end within"):
        host.run(["sleep", "60"], timeout_s=0.5)
    assert host.run(["true"]).ok


def test_root_is_root_and_the_user_is_not(board: SshBoard) -> None:
    with board.host() as host:
        assert host.run(["id", "-un"]).out == "board\n"
        assert host.run(["id", "-un"], root=True).out == "root\n"


@pytest.mark.parametrize("size", [0, 1, 3_000_001])
def test_a_file_goes_there_and_back(host: Host, there: PurePosixPath, tmp_path: Path, size: int) -> None:
    (tmp_path / "out").write_bytes(os.urandom(size))
    host.send(tmp_path / "out", there / "a file")
    host.fetch(there / "a file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "out").read_bytes()
    assert host.run(["ls", "-A", str(there)]).out == "a file\n"


def test_a_file_that_cannot_be_written_leaves_the_old_one(host: Host, there: PurePosixPath, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    with pytest.raises(DeployError):
        host.send(tmp_path / "new", there / "no-folder" / "x")
    with pytest.raises(DeployError):
        host.fetch(there / "nothing", tmp_path / "got")
    assert not (tmp_path / "got").exists()


def test_a_cut_link_is_mended_and_goes_on_where_it_was(board: SshBoard, tmp_path: Path) -> None:
    data = os.urandom(8_000_000)
    (tmp_path / "big").write_bytes(data)
    seen: list[int] = []
    with FaultProxy(board.port) as proxy, board.host("root", proxy.port) as host:
        host.run(["mkdir", "-p", "/tmp/cut"])
        proxy.cut_after(5_000_000)
        host.send(tmp_path / "big", PurePosixPath("/tmp/cut/big"), on_bytes=lambda sent, total: seen.append(sent))
        assert proxy.cuts == 1
        assert host.run(["sha256sum", "/tmp/cut/big"]).out[:64] == sha256_hex(data)
        assert host.run(["ls", "-A", "/tmp/cut"]).out == "big\n"
    again = [now for before, now in itertools.pairwise(seen) if now < before]
    assert all(0 < start < 8_000_000 for start in again)  # not from the beginning


def test_a_link_that_stays_cut_leaves_the_old_file(board: SshBoard, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(4_000_000))
    with FaultProxy(board.port) as proxy, board.host("root", proxy.port) as host:
        host.run(["sh", "-c", "mkdir -p /tmp/old; echo old > /tmp/old/file"])
        proxy.cut_after(1_000_000, for_good=True)
        with pytest.raises(HostUnreachable, match="the link was lost|no connection"):
            host.send(tmp_path / "big", PurePosixPath("/tmp/old/file"))
        proxy.heal()
        assert host.run(["cat", "/tmp/old/file"]).out == "old\n"
        host.send(tmp_path / "big", PurePosixPath("/tmp/old/file"))
        assert host.run(["ls", "-A", "/tmp/old"]).out == "file\n"


def test_a_silent_link_is_given_up(board: SshBoard, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(4_000_000))
    with FaultProxy(board.port) as proxy:
        # The client's own patience is 15 s: shorter here.
        host = board.host("root", proxy.port, "ServerAliveInterval=1", "ServerAliveCountMax=1", "ConnectTimeout=2")
        with host:
            host.run(["true"])
            proxy.stall_after(1_000_000)
            with pytest.raises(HostUnreachable):
                host.send(tmp_path / "big", PurePosixPath("/tmp/silent"))


def failed(capsys: pytest.CaptureFixture[str], words: list[str], code: int = 2) -> str:
    """What ``edgewright WORDS`` says when it fails."""
    assert main(words) == code
    return capsys.readouterr().err


def test_a_user_who_does_not_find_useradd_still_can_have_it_called(board: SshBoard) -> None:
    with board.host("board") as host:
        assert not host.run(["sh", "-c", "command -v useradd"]).ok
        assert read_facts(Board(host, Layout()), time.time).values["useradd"] == "yes"


def test_what_stands_in_the_way_is_told(board: SshBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = str(write_detector(tmp_path / "d.edge"))

    def said(words: list[str]) -> str:
        return failed(capsys, ["deploy", *words, "--profile", PROFILE, "--service", "none"])

    assert "takes none of your keys" in said(board.words(bundle, user="stranger"))
    assert "sudo asks for a password" in said(board.words(bundle, user="guest"))
    with FaultProxy(board.port) as gone:
        port = gone.port
    assert "connection was refused" in said(board.words(bundle, port=port))
    assert "systemd does not run there" in failed(capsys, ["deploy", *board.words(bundle), "--profile", PROFILE])
    other = "raspberry-pi-5" if platform.machine() == "x86_64" else "generic-x86-avx2"
    words = ["deploy", *board.words(bundle), "--profile", other, "--service", "none"]
    assert f"the profile {other} is for" in failed(capsys, words)


def test_a_board_with_another_host_key_is_not_talked_to(
    board: SshBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(write_detector(tmp_path / "d.edge"))
    words = ["deploy", *board.words(bundle), "--profile", PROFILE, "--service", "none"]
    before = board.changed()
    known = board.known_hosts.read_text()
    (tmp_path / "other").mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other/key")], check=True)
    try:
        board.known_hosts.write_text("")
        assert "host key is not known here yet" in failed(capsys, words)
        board.trust(tmp_path / "other/key.pub")
        assert "its host key is another than the one you know" in failed(capsys, words)
    finally:
        board.known_hosts.write_text(known)
    assert board.changed() == before


# The story.


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wheelhouse]:
    """Real wheels: those of the packages that are installed here, found without a network."""
    folder = tmp_path_factory.mktemp("house")
    for name in NEEDED:
        installed_wheel(folder / "index", name)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            patch.delenv(name)
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(folder / "index"))
        made = make_wheelhouse(target_of(load_profile(PROFILE), PYTHON), folder / "w", ["onnx"], lambda line: None)
    shutil.rmtree(folder / "index")
    yield made
    shutil.rmtree(folder)  # 300 MB


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_detector(tmp_path_factory.mktemp("bundle") / "d.edge")


@pytest.fixture(scope="module")
def before(board: SshBoard) -> dict[str, str]:
    """The board as it was."""
    return tree(board)


@pytest.fixture
def deploy(house: Wheelhouse, bundle: Path, board: SshBoard, before: dict[str, str]) -> Callable[..., int]:
    del before

    def run(*more: str, what: Path = bundle, port: int | None = None) -> int:
        words = ["deploy", *board.words(str(what), port=port), "--profile", PROFILE, "--service", "none"]
        return main([*words, "--wheelhouse", str(house.folder), "--source", "/home/board/clip.avi", *more])

    return run


def tree(board: SshBoard) -> dict[str, str]:
    """What lies where a deployment writes, as path to what can be seen of it."""
    places = ("/opt", "/etc", "/var/lib", "/home")
    # Accounts are looked at by name: the files that hold them are rewritten by useradd and userdel.
    accounts = ("passwd", "shadow", "group", "gshadow", "subuid", "subgid", ".pwd.lock")
    return {
        path: about
        for path, about in board.changed().items()
        if path.startswith(places) and not any(path.startswith(f"/etc/{name}") for name in accounts)
    }


def whole(board: SshBoard) -> set[str]:
    """What could be taken for an installation, or a part of one."""
    places = f"{OPT}/current {OPT}/releases/* /etc/edgewright/* /var/lib/edgewright/bundles/*"
    found = board.inside(["sh", "-c", f"ls -d {places} 2>/dev/null; true"]).split()
    return {path for path in found if not path.endswith(".part")}


def test_a_dry_run_writes_nothing(
    board: SshBoard, deploy: Callable[..., int], before: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy("--dry-run") == 0
    assert "would change" in capsys.readouterr().out
    assert tree(board) == before


def test_a_link_cut_for_good_leaves_nothing_half_installed(
    board: SshBoard, deploy: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultProxy(board.port) as proxy:
        proxy.cut_after(20_000_000, for_good=True)
        assert deploy(port=proxy.port) == 2
    said = capsys.readouterr().err
    assert "the link was lost" in said or "no connection" in said
    assert whole(board) == set()


def test_a_board_that_loses_its_power_leaves_nothing_half_installed(
    board: SshBoard, deploy: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultProxy(board.port, on_cut=board.power_off) as proxy:
        proxy.cut_after(30_000_000)
        assert deploy(port=proxy.port) == 2
    capsys.readouterr()
    board.start()
    assert whole(board) == set()


def test_the_third_try_goes_on_and_installs(
    board: SshBoard, deploy: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultProxy(board.port) as proxy:
        proxy.cut_after(40_000_000)
        assert deploy("--json", port=proxy.port) == 0
        assert proxy.cuts == 1
    steps = {row["step"]: row["state"] for row in json.loads(capsys.readouterr().out)["steps"]}
    assert steps["release"] == "changed"
    rows = [row.split(maxsplit=3) for row in board.inside(
        ["stat", "-c", "%U:%G %a %F %n", str(OPT), "/etc/edgewright/device.toml", "/var/lib/edgewright"]
    ).splitlines()]  # fmt: skip
    assert [row[:2] for row in rows] == [
        ["root:root", "755"],
        ["root:edgewright", "640"],
        ["edgewright:edgewright", "750"],
    ]
    assert not board.inside(["find", str(OPT), "-name", "*.part"])
    assert not board.inside(["find", "/opt/edgewright/releases", "-name", "__pycache__", "-user", "edgewright"])


def test_what_was_installed_runs_as_its_own_user(board: SshBoard, tmp_path: Path) -> None:
    clip = tmp_path / "clip.avi"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=2", str(clip)], check=True
    )
    with board.host("root") as host:
        host.send(clip, PurePosixPath("/home/board/clip.avi"))
        host.run(["chmod", "644", "/home/board/clip.avi"])
        command = [f"{OPT}/current/bin/edgewright", "run", "--config", "/etc/edgewright/device.toml", "--json"]
        done = host.run(["runuser", "-u", "edgewright", "--", *command], timeout_s=120.0)
        host.run(["rm", "/home/board/clip.avi"])
    assert done.ok, done.err
    assert json.loads(done.out)["frames_processed"] == 20


def test_the_second_time_changes_nothing(
    board: SshBoard, deploy: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    before = board.changed()
    assert deploy("--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["changed"] is False
    assert {row["state"] for row in said["steps"]} == {"unchanged"}
    assert board.changed() == before


def test_a_bundle_with_other_golden_answers_is_refused_and_the_former_stays(
    board: SshBoard, deploy: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: about for path, about in tree(board).items() if "/incoming" not in path}
    assert deploy(what=off_by(tmp_path / "off.edge", 0.5)) == 3
    said = capsys.readouterr()
    assert "scores" in said.out + said.err
    active = board.inside(["readlink", "-f", "/var/lib/edgewright/bundles/active"]).strip()
    assert board.inside(["sha256sum", active])
    after = {path: about for path, about in tree(board).items() if "/incoming" not in path}
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    # Times of folders that held the refused bundle for a moment.
    assert all(before[path].startswith("d") and after[path].startswith("d") for path in changed), changed


def off_by(target: Path, difference: float) -> Path:
    """A detector whose golden vectors say something else of the scores than it computes."""
    manifest, files = detector_parts()
    golden = read_golden(files["golden.npz"])
    answers = {
        variant: [{name: value + difference * (name == "scores") for name, value in row.items()} for row in rows]
        for variant, rows in golden.outputs.items()
    }
    write_bundle(target, manifest, {**files, "golden.npz": write_golden(golden.frames, answers)})
    return target


def test_uninstall_leaves_nothing(board: SshBoard, before: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", *board.words(), "--uninstall", "--purge"]) == 0
    capsys.readouterr()
    after = tree(board)
    assert after.keys() == before.keys()
    # Folders in which something stood have a new time.
    assert all(after[path] == before[path] or after[path].startswith("d") for path in before)
    assert not board.inside(["sh", "-c", "getent passwd edgewright; getent group edgewright; true"])
    assert main(["deploy", *board.words(), "--uninstall", "--purge", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False
