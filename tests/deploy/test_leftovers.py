"""How ``scripts/prove_deploy`` and ``scripts/systemd`` see that a board is as it was: every file, every account."""

from __future__ import annotations

import os
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

SCRIPTS = Path(__file__).parents[2] / "scripts"
HELD = "0" * 64


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    for name in ("etc/passwd", "var/lib/app/data", "root/.profile", "var/log/wtmp", "proc/1/stat"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("as it was\n")
    (tmp_path / "etc/link").symlink_to("passwd")
    return tmp_path


@pytest.fixture
def listing(disk: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """What ``scripts/systemd`` sees of ``disk``."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import systemd_ssh

    return lambda *, times=False: systemd_ssh.listing(disk, times=times)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda disk: (disk / "root/.cache").mkdir(), "/root/.cache"),
        (lambda disk: (disk / "etc/passwd").write_text("as it is!\n"), "/etc/passwd"),
        (lambda disk: (disk / "var/lib/app/data").unlink(), "/var/lib/app/data"),
        (lambda disk: (disk / "var/lib/app").chmod(0o700), "/var/lib/app"),
        (lambda disk: ((disk / "etc/link").unlink(), (disk / "etc/link").symlink_to("group")), "/etc/link"),
    ],
    ids=["new", "other content", "gone", "other rights", "other link"],
)
def test_whatever_changes_is_seen(
    disk: Path, listing: Callable[..., dict[str, str]], change: Callable[[Path], object], path: str
) -> None:
    before = listing()
    change(disk)
    after = listing()
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {path}


def test_what_lives_by_itself_is_not(disk: Path, listing: Callable[..., dict[str, str]]) -> None:
    before = listing()
    (disk / "var/log/wtmp").write_text("somebody logged in\n")
    (disk / "proc/2").mkdir()
    assert listing() == before


def test_being_written_again_is_seen_where_it_matters(disk: Path, listing: Callable[..., dict[str, str]]) -> None:
    before, timed = listing(), listing(times=True)
    os.utime(disk / "etc/passwd", (1, 1))
    assert listing() == before
    assert listing(times=True) != timed


class Board:
    """A board with these files: path to kind, mode and owner, and what it holds."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def changed(self) -> dict[str, str]:
        return {path: f"{about} 3 1700000000.5 " for path, about in self.files.items()}

    def inside(self, _: list[str]) -> str:
        return "".join(f"{HELD}  /run/upper{path}\n" for path, about in self.files.items() if about[0] == "f")


@pytest.fixture
def script() -> ModuleType:
    loader = SourceFileLoader("prove_deploy_script", str(SCRIPTS / "prove_deploy"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_a_file_anywhere_is_a_leftover(script: ModuleType) -> None:
    plain = {"/etc/passwd": "f 644 root:root", "/etc/passwd-": "f 600 root:root"}
    before = script.everything(Board(plain)), {"passwd root:x:0"}
    new = {**plain, "/root/.cache-of-nobody": "d 755 root:root", "/home/board/x": "f 644 board:board"}
    after = script.everything(Board({**new, "/etc": "d 755 root:root"})), {"passwd root:x:0", "passwd edgewright:x:9"}
    assert script.differing(before, before) == []
    assert [line.split(" ")[:2] for line in script.differing(before, after)] == [
        ["/home/board/x", HELD],
        ["/home/board/x", "f"],
        ["/root/.cache-of-nobody", "d"],
        ["passwd", "edgewright:x:9"],
    ]
