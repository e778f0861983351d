"""Installing into a system that lies in a folder: told from its files, by its own paths, and never out of it."""

from __future__ import annotations

import os
import platform
import struct
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from bundles import write_detector
from wheels import toy_wheel

from edgewright.cli.main import main
from edgewright.deploy.asking import read_facts
from edgewright.deploy.board import Board
from edgewright.deploy.errors import DeployError
from edgewright.deploy.interpreter import interpreter
from edgewright.deploy.judging import Wanted, why_not
from edgewright.deploy.layout import Layout
from edgewright.deploy.local import LocalHost
from edgewright.deploy.root_tree import RootTree, refuse_ways_out
from edgewright.deploy.steps.folders import FoldersStep
from edgewright.deploy.steps.release import Release, ReleaseStep
from edgewright.deploy.uninstall import uninstall

if TYPE_CHECKING:
    from edgewright.deploy.facts import Facts

PROFILE = "x86-64" if platform.machine() == "x86_64" else "generic-arm64"
SHORT = f"{sys.version_info.major}.{sys.version_info.minor}"
NUMBERS = {"x86_64": 62, "aarch64": 183, "armv7l": 40}
HERE = platform.machine()
ELSEWHERE = "aarch64" if HERE == "x86_64" else "x86_64"


def program(place: Path, machine: str = HERE) -> None:
    """The beginning of a program for that processor."""
    place.parent.mkdir(parents=True, exist_ok=True)
    kind = 1 if machine == "armv7l" else 2
    place.write_bytes(b"\x7fELF" + bytes([kind, 1, 1]) + bytes(9) + struct.pack("<HH", 3, NUMBERS[machine]) + bytes(44))


def system(root: Path, machine: str = HERE, *, python: str = SHORT, glibc: str = "2.31") -> Board:
    """A root as distributions lay it out: merged folders, and links that are absolute."""
    program(root / f"usr/bin/python{python}", machine)
    program(root / "usr/bin/dash", machine)
    (root / "bin").symlink_to("usr/bin")
    (root / "lib").symlink_to("usr/lib")
    (root / "usr/bin/sh").symlink_to("dash")
    (root / "etc/alternatives").mkdir(parents=True)
    (root / "etc/alternatives/python3").symlink_to(f"/usr/bin/python{python}")
    (root / "usr/bin/python3").symlink_to("/etc/alternatives/python3")
    library = root / f"usr/lib/{machine}-linux-gnu/libc.so.6"
    library.parent.mkdir(parents=True)
    library.write_bytes(bytes(5000) + f"GNU C Library (Other 2.99) stable release version {glibc}.\n".encode())
    (root / "usr/lib/systemd").mkdir()
    program(root / "usr/lib/systemd/systemd", machine)
    (root / "usr/lib/os-release").write_text('NAME=x\nPRETTY_NAME="Board OS 7 (odd)"\n')
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    return Board(LocalHost(escalate=False), Layout(PurePosixPath(root)), system=False)


def facts(board: Board) -> Facts:
    return read_facts(board, lambda: 0.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def wanted(machine: str = HERE, **changes: object) -> Wanted:
    return Wanted(machine, "a-board", root=False, **changes)  # type: ignore[arg-type]


def test_it_is_told_from_its_own_files(root: Path) -> None:
    told = facts(system(root, ELSEWHERE, python="3.10", glibc="2.35"))
    assert told.machine == ELSEWHERE
    assert (told.values["os"], told.values["libc"]) == ("Board OS 7 (odd)", "glibc 2.35")
    assert told.has_systemd
    assert [(each.path, each.version) for each in told.pythons] == [("/usr/bin/python3.10", "3.10")]
    assert str(told).startswith(f"{ELSEWHERE}, Board OS 7 (odd), Python 3.10, glibc 2.35, ")


def test_an_empty_root_is_told_as_one(root: Path) -> None:
    told = facts(Board(LocalHost(escalate=False), Layout(PurePosixPath(root)), system=False))
    assert (told.machine, told.pythons, told.values["os"]) == (HERE, (), "")
    assert "an unknown C library" in str(told)
    assert why_not("root", told, wanted(new_environment=False)) == ()
    (reason,) = why_not("root", told, wanted())
    assert "its Python is none in /usr/bin or /usr/local/bin" in reason


def test_a_root_of_another_processor_is_refused_with_the_ways_that_work(root: Path) -> None:
    told = facts(system(root, ELSEWHERE))
    (reason,) = why_not("root", told, wanted(ELSEWHERE))
    assert f"its programs are for {ELSEWHERE}, this machine is {HERE}" in reason
    assert "edgewright deploy" in reason
    assert "under emulation" in reason
    (reason,) = why_not("root", told, wanted())
    assert f"its processor is of kind {ELSEWHERE}" in reason


@pytest.mark.parametrize(
    ("changes", "asked", "words"),
    [
        ({"python": "3.9"}, {}, "its Python is 3.9, edgewright needs 3.10 to 3.13"),
        (
            {"python": "3.10" if SHORT != "3.10" else "3.12"},
            {"python": SHORT},
            f"needs {SHORT}, which the wheelhouse is",
        ),
        ({"glibc": "2.24"}, {}, "its C library is glibc 2.24"),
        ({}, {"online": True}, "without a wheelhouse pip would choose wheels for this machine's C library"),
    ],
)
def test_what_cannot_be_done_in_it_is_told(
    root: Path, changes: dict[str, str], asked: dict[str, object], words: str
) -> None:
    (reason,) = why_not("root", facts(system(root, **changes)), wanted(**asked))  # type: ignore[arg-type]
    assert words in reason


def test_a_python_that_this_machine_has_not_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewright.deploy.root_facts.shutil.which", lambda _: None)
    other = "3.13" if SHORT != "3.13" else "3.12"
    (reason,) = why_not("root", facts(system(root, python=other)), wanted())
    assert f"this machine has no Python {other} with venv" in reason


def test_a_root_without_systemd_has_nothing_that_starts_the_service(root: Path) -> None:
    board = system(root)
    (root / "usr/lib/systemd/systemd").unlink()
    (reason,) = why_not("root", facts(board), wanted())
    assert "say --service none" in reason
    assert why_not("root", facts(board), wanted(service=False)) == ()


def test_a_release_in_it_leads_to_its_own_python(root: Path, tmp_path: Path) -> None:
    board = system(root)
    python = facts(board).python
    assert python is not None
    board.outside = python.runs
    FoldersStep(board).apply()
    release = Release("9.9-abc", python.path, (toy_wheel(tmp_path),), ("edgewright==9.9",))
    step = ReleaseStep(board, release)
    assert step.apply() == "9.9-abc"
    made = root / "opt/edgewright/releases/9.9-abc"
    inside = RootTree(PurePosixPath(root)).inside("/opt/edgewright/releases/9.9-abc/bin/python")
    assert inside == f"/usr/bin/python{SHORT}"
    settings = (made / "pyvenv.cfg").read_text()
    assert "home = /usr/bin\n" in settings
    assert {line.split(" = ")[0] for line in settings.splitlines()} <= {
        "home",
        "include-system-site-packages",
        "prompt",
    }
    # Nothing in it names a place of this machine.
    for path in [made / "pyvenv.cfg", *(made / "bin").iterdir()]:
        seen = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        assert sys.base_prefix.encode() not in seen
        assert str(root).encode() not in seen
    # From here it runs all the same: with its own packages, and without those of this machine.
    words = interpreter(board, PurePosixPath(made))
    assert board.run([*words, "-m", "edgewright.cli.main"]).out.startswith("edgewright 9.9 ")
    assert not board.run([*words, "-c", "import pytest"]).ok
    assert ReleaseStep(board, release).check().done


def test_an_environment_in_it_is_used_by_its_own_path(root: Path, tmp_path: Path) -> None:
    board = system(root)
    packages = root / f"srv/env/lib/python{SHORT}/site-packages"
    packages.mkdir(parents=True)
    (root / "srv/env/bin").mkdir()
    (root / "srv/env/bin/python").symlink_to(f"/usr/bin/python{SHORT}")
    (packages / "here.pth").write_text("".join(f"{path}\n" for path in sys.path if path))
    bundle = write_detector(tmp_path / "d.edge")
    words = ["install", str(bundle), "--profile", PROFILE, "--root", str(root), "--python-env", "/srv/env"]
    assert main([*words, "--source", "0"]) == 0
    (release,) = (root / "opt/edgewright/releases").iterdir()
    assert str(release.readlink()) == "/srv/env"
    assert board.layout.root == PurePosixPath(root)


@pytest.mark.parametrize(
    ("link", "target"),
    [("opt", "/elsewhere"), ("etc/edgewright", "/elsewhere"), ("var/lib", "../../../elsewhere"), ("opt", "../elsewhere"),
     ("etc/edgewright/device.toml", "/elsewhere/device.toml"), ("etc/systemd", "/elsewhere")],
)  # fmt: skip
def test_no_link_of_it_leads_out(root: Path, tmp_path: Path, link: str, target: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "edgewright").mkdir(parents=True)
    (elsewhere / "edgewright/kept").write_text("kept")
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    (root / link).symlink_to(target.replace("/elsewhere", str(elsewhere)) if target[0] == "/" else target)
    board = Board(LocalHost(escalate=False), Layout(PurePosixPath(root)), system=False)
    with pytest.raises(DeployError, match=f"/{link} is a link to .* which leads out of this root"):
        uninstall(board, lambda _: None, purge=True)
    bundle = write_detector(tmp_path / "d.edge")
    words = ["install", str(bundle), "--profile", PROFILE, "--root", str(root), "--python-env", sys.prefix]
    assert main([*words, "--source", "0"]) == 2
    assert [path.name for path in elsewhere.rglob("*")] == ["edgewright", "kept"]


def test_what_the_user_may_not_look_into_is_no_fault_of_the_program(tmp_path: Path) -> None:
    """As root there is no such folder, so another user looks: pathlib of Python 3.10 to 3.12 raises there."""
    (tmp_path / "root/etc/edgewright").mkdir(parents=True)
    (tmp_path / "root/etc/edgewright").chmod(0o700)
    (tmp_path / "root").chmod(0o755)
    code = """
import os, sys
from pathlib import PurePosixPath
from edgewright.deploy.layout import Layout
from edgewright.deploy.root_tree import RootTree, refuse_ways_out
os.chdir("/")
root = os.open(sys.argv[1], os.O_RDONLY)
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
place = PurePosixPath(f"/proc/self/fd/{root}")
refuse_ways_out(Layout(place))
print(RootTree(place).inside("/etc/edgewright/device.toml"))
"""
    # That other user could not write what coverage would.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", code, str(tmp_path / "root")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert (done.stderr, done.stdout) == ("", "None\n")


def test_links_that_stay_inside_are_fine(root: Path) -> None:
    (root / "data/opt").mkdir(parents=True)
    (root / "opt").symlink_to("data/opt")
    refuse_ways_out(Layout(PurePosixPath(root)))
    tree = RootTree(PurePosixPath(root))
    (root / "loop").symlink_to("/loop")
    (root / "up").symlink_to("../../../../data")
    assert tree.inside("/loop/x") is None
    assert tree.inside("/up/opt") == "/data/opt"
    assert tree.find("/../data") == root / "data"
