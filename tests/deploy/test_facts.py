from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fake_board import FakeBoard

from edgewright.deploy.asking import read_facts
from edgewright.deploy.errors import DeployError
from edgewright.deploy.facts import Facts, Place, Python
from edgewright.deploy.judging import Wanted, why_not, why_not_removed

if TYPE_CHECKING:
    from pathlib import Path

GOOD = Facts(
    {"machine": "aarch64", "bits": "64", "libc": "glibc 2.36", "user": "1000", "sudo": "yes", "sudo_free": "yes",
     "systemd": "yes", "useradd": "yes"},
    (Python("/usr/bin/python3", "3.11.2", 64, makes_environments=True),),
    (Place(8 << 30, "ext4", ("rw",), "/"), Place(8 << 30, "ext4", ("rw",), "/")),
)  # fmt: skip
WANTED = Wanted("aarch64", "raspberry-pi-5", needed_bytes=(500 << 20, 100 << 20))


def says(**changes: str) -> Facts:
    return replace(GOOD, values=GOOD.values | changes)


def python(version: str, bits: int = 64, able: bool = True) -> Facts:
    return replace(GOOD, pythons=(Python("/usr/bin/python3", version, bits, able),))


def places(*options: str, free: int = 8 << 30) -> Facts:
    return replace(GOOD, places=(Place(free, "ext4", options, "/"),) * 2)


BAD = {
    "other architecture": (says(machine="x86_64"), "is of kind x86_64, the profile raspberry-pi-5 is for aarch64"),
    "32-bit system": (says(machine="armv7l"), "32-bit one"),
    "32-bit programs": (says(bits="32"), "its programs are 32-bit"),
    "32-bit python": (python("3.11.2", 32), "its programs are 32-bit"),
    "old glibc": (says(libc="glibc 2.24"), "its C library is glibc 2.24, the wheels need 2.27"),
    "other libc": (says(libc=""), "wheels need glibc"),
    "no python": (replace(GOOD, pythons=()), "it has no python3"),
    "old python": (python("3.9.2"), "its Python is 3.9.2, edgewright needs 3.10 to 3.13"),
    "new python": (python("3.14.0"), "needs 3.10 to 3.13"),
    "no venv": (python("3.11.2", able=False), "sudo apt install python3.11-venv"),
    "no sudo": (says(sudo="", sudo_free=""), "it has no sudo"),
    "sudo asks": (says(sudo_free=""), "sudo asks for a password"),
    "no room": (places("rw", free=550 << 20), "has 550 MiB free, 600 MiB are needed"),
    "read-only": (places("ro", "relatime"), "mounted read-only"),
    "no systemd": (says(systemd=""), "say --service none"),
    "no useradd": (says(useradd=""), "no useradd"),
    "clock behind": (replace(GOOD, skew_s=-4000.0), "4000 s behind"),
    "clock ahead": (replace(GOOD, skew_s=86400.0), "86400 s ahead of"),
}


def test_a_good_board_has_nothing_against_it() -> None:
    assert why_not("pi", GOOD, WANTED) == ()
    assert why_not("pi", says(sudo="", sudo_free="", user="0"), WANTED) == ()
    assert why_not("pi", says(systemd="", useradd=""), replace(WANTED, service=False)) == ()
    assert why_not("pi", python("3.11.2", able=False), replace(WANTED, new_environment=False)) == ()
    assert why_not("pi", GOOD, replace(WANTED, architecture=None)) == ()


@pytest.mark.parametrize(("facts", "words"), BAD.values(), ids=BAD)
def test_a_bad_board_is_told_once_with_a_remedy(facts: Facts, words: str) -> None:
    (reason,) = why_not("pi", facts, WANTED)
    assert reason.startswith("pi: ")
    assert words in reason


def test_to_take_it_away_only_rights_and_a_writable_disk_are_needed() -> None:
    for facts in (replace(GOOD, pythons=()), python("3.14.0"), says(systemd="", libc="", machine="armv7l")):
        assert why_not_removed("pi", facts, root=True) == ()
    (reason,) = why_not_removed("pi", says(machine="armv7l", sudo_free=""), root=True)
    assert "sudo asks for a password" in reason
    (reason,) = why_not_removed("pi", replace(places("ro"), pythons=()), root=False)
    assert "mounted read-only" in reason


def test_several_troubles_are_told_together() -> None:
    facts = replace(python("3.9.2"), values=says(systemd="").values)
    assert len(why_not("pi", facts, WANTED)) == 2


@pytest.mark.parametrize(
    ("path", "base"), [("/home/pi/.pyenv/bin/python3", ""), ("/usr/local/bin/python3", "/root/.local/share/py")]
)
def test_a_python_that_the_service_cannot_reach_is_told_unless_there_is_another(path: str, base: str) -> None:
    own = Python(path, "3.12.1", 64, makes_environments=True, base=base)
    facts = replace(GOOD, pythons=(own,))
    (reason,) = why_not("pi", facts, WANTED)
    assert f"lies in {base or path}, where the service's user cannot reach it" in reason
    assert "sudo apt install python3 python3-venv" in reason
    assert why_not("pi", facts, replace(WANTED, service=False)) == ()
    assert why_not("pi", facts, replace(WANTED, new_environment=False)) == ()
    both = replace(GOOD, pythons=(own, *GOOD.pythons))
    assert both.python == GOOD.pythons[0]
    assert why_not("pi", both, WANTED) == ()


def test_the_python_that_the_wheels_are_for_comes_before_the_system_s_own() -> None:
    other = Python("/usr/local/bin/python3.12", "3.12.1", 64, makes_environments=True)
    bare = Python("/usr/bin/python3.12", "3.12.3", 64, makes_environments=False)
    facts = replace(GOOD, pythons=(*GOOD.pythons, bare, other))
    assert facts.python_for("3.12") == other
    assert facts.python_for("3.13") == facts.python_for(None) == GOOD.pythons[0]
    assert why_not("pi", facts, replace(WANTED, python="3.12")) == ()
    (reason,) = why_not("pi", replace(GOOD, pythons=(GOOD.pythons[0], bare)), replace(WANTED, python="3.12"))
    assert "sudo apt install python3.12-venv" in reason


def test_a_wheelhouse_for_another_python_is_told_with_the_command() -> None:
    (reason,) = why_not("pi", python("3.13.1"), replace(WANTED, python="3.11"))
    assert "the wheelhouse is for 3.11" in reason
    assert "--python 3.13" in reason


def test_separate_file_systems_are_measured_on_their_own() -> None:
    disks = (Place(510 << 20, "ext4", ("rw",), "/"), Place(110 << 20, "ext4", ("rw",), "/var"))
    assert why_not("pi", replace(GOOD, places=disks), WANTED) == ()


def test_reads_what_a_board_says(tmp_path: Path) -> None:
    fake = FakeBoard(tmp_path, machine="aarch64", skew="7200", pythons=["/usr/bin/python3 3.9.2 64 yes", "",
                     "/usr/bin/python3.12 3.12.1 64 no", "/opt/py/bin/python3.11 3.11.4 64 yes"])  # fmt: skip
    before = fake.tree()
    facts = read_facts(fake.board, time.time)
    assert facts.machine == "aarch64"
    assert facts.has_systemd
    assert facts.is_root
    assert facts.python == Python("/opt/py/bin/python3.11", "3.11.4", 64, makes_environments=True)
    assert [place.free_bytes for place in facts.places] == [9000000 * 1024] * 2
    assert facts.skew_s == pytest.approx(7200, abs=3)
    assert fake.tree() == before
    assert "aarch64" in str(facts)
    assert "Python 3.11.4" in str(facts)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"mounts": "disk / ext4 ro,relatime 0 0"}, "read-only"),
        ({"free_kb": "1000"}, "1 MiB free"),
        ({"bits": "32"}, "32-bit"),
        ({"uid": "1000", "sudo": "asks"}, "sudo asks"),
    ],
)
def test_what_a_board_says_is_judged(tmp_path: Path, answers: dict[str, str], words: str) -> None:
    facts = read_facts(FakeBoard(tmp_path, **answers).board, time.time)
    (reason,) = why_not("board", facts, replace(WANTED, architecture="x86_64"))
    assert words in reason


def test_a_board_that_is_no_linux_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="is no Linux system .it said: Darwin"):
        read_facts(FakeBoard(tmp_path, system="Darwin").board, time.time)


def test_escape_sequences_of_a_board_do_not_reach_the_terminal(tmp_path: Path) -> None:
    facts = read_facts(FakeBoard(tmp_path, machine="x\x1b[2Jy").board, time.time)
    assert "\x1b" not in str(facts)
    assert all("\x1b" not in reason for reason in why_not("board", facts, WANTED))
