"""Memory that does not grow with the number of pictures, measured in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHILD = Path(__file__).with_name("memory_child.py")


def peak(pictures: int, *words: str) -> int:
    command = [sys.executable, str(CHILD), str(pictures), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_two_thousand_pictures_take_no_more_than_fifty() -> None:
    few = peak(50)
    assert peak(2000) < 1.1 * few
    # And the measurement would have seen it: an observer, or the reader of pictures, that keeps what it is shown.
    assert peak(2000, "hoard") > 1.2 * few
    assert peak(2000, "keep") > 1.1 * few
