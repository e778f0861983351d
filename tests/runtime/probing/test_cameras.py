"""Cameras are asked in processes of their own, for a driver may never answer."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgewright.runtime.probing.asking import ask
from edgewright.runtime.probing.cameras import CameraNode, find_cameras, find_elements

ANSWERS = {
    "/dev/video0": """print('{"kind": "camera", "width": 640, "height": 480}')""",
    "/dev/video1": """import time; time.sleep(600)""",
    "/dev/video2": """print('{"kind": "silent"}')""",
    "/dev/video3": """import os; os.abort()""",
    "/dev/video4": """print('{"kind": "camera"}')""",
    "/dev/video5": """print("[]")""",
    "/dev/video6": """print('{"kind": "wonderful"}')""",
    "/dev/video7": """print("a warning"); print('{"kind": "other"}')""",
}


def child(path: str) -> Sequence[str]:
    return (sys.executable, "-c", ANSWERS[path])


def test_each_node_is_told_by_its_answer_and_one_that_hangs_ends_nothing() -> None:
    found = find_cameras(list(ANSWERS), 1.5, child)
    assert found[0] == CameraNode("/dev/video0", "camera", 640, 480)
    states = [node.state for node in found]
    assert states[:4] == ["camera", "hung", "silent", "other"]
    assert states[4:] == ["other"] * 4


def test_a_file_that_is_no_camera_is_asked_by_the_real_child(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"no camera")
    nodes = [str(tmp_path / "video0"), "/dev/null", str(tmp_path / "gone")]
    assert [node.state for node in find_cameras(nodes)] == ["other"] * 3


def test_without_nodes_nothing_is_asked() -> None:
    assert find_cameras([], command=lambda _: pytest.fail("asked")) == ()


def test_elements_of_gstreamer(tmp_path: Path) -> None:
    tool = tmp_path / "gst-inspect-1.0"
    # It denies plug-ins older than itself unless any version will do, as the real one does.
    tool.write_text('#!/bin/sh\n[ "$1 $2 $3" = "--exists --atleast-version=0.0 libcamerasrc" ]\n')
    tool.chmod(0o755)
    assert find_elements(tool=str(tool)) == ("libcamerasrc",)
    tool.write_text("#!/bin/sh\nexec /bin/false\n")
    assert find_elements(tool=str(tool)) == ()
    assert find_elements(tool=str(tmp_path / "gone")) == ()


def test_what_a_hanging_program_started_ends_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    code = (
        f"import subprocess, time; p = subprocess.Popen(['sleep', '600']); open({str(mark)!r}, 'w').write(str(p.pid))"
    )
    assert ask((sys.executable, "-c", code + "; time.sleep(600)"), 1.5) == (None, "")
    grandchild = int(mark.read_text())
    for _ in range(100):
        try:
            os.kill(grandchild, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{grandchild}/stat").read_text().split()[2] == "Z":  # nobody reaps orphans here
            return
        time.sleep(0.05)
    pytest.fail("it lives on")


def test_a_flood_of_output_is_cut_off() -> None:
    status, text = ask((sys.executable, "-c", "print('x' * 100000)"), 20.0)
    assert status == 0
    assert len(text) <= 4096
