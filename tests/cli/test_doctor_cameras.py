"""What `edgewright doctor --camera` says of cameras that work, that are away, and that hang."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from rtsp.camera import free_port, rtsp_camera
from told import look

from edgewright.cli.doctor.asking import Children
from edgewright.cli.doctor.cameras import begin_cameras, cameras
from edgewright.cli.doctor.findings import Finding
from edgewright.cli.doctor.look import Look, System, Wishes
from edgewright.device.camera_nodes import FoundCamera, list_cameras, read_capability
from edgewright.device.camera_probe import probe_camera

if TYPE_CHECKING:
    from pathlib import Path


def opened(*uris: str) -> list[Finding]:
    with Children() as children:
        asked = Look(children, Wishes(cameras=uris))
        begin_cameras(asked)
        for child in children._started.values():
            assert "sesame" not in str(child.process.args)
        return list(cameras(asked))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((48, 64, 3), np.uint8))
    return folder


def test_a_camera_a_folder_and_one_that_is_away(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures.parent)  # a relative name is meant from here
    with rtsp_camera() as camera:
        began = time.monotonic()
        away = f"rtsp://admin:sesame@127.0.0.1:{free_port()}/cam"
        found = opened(camera.url, "pictures", away, "nothing-there.avi", "gopher://camera")
        assert time.monotonic() - began < 60
    good, folder, dead, absent, strange = found
    assert (good.state, good.name) == ("ok", camera.url)
    assert good.text.startswith("320 x 240, ")
    rate = float(good.text.split(", ")[1].partition(" ")[0])
    assert 5 < rate < 60
    assert "the first after" in good.text
    assert (folder.state, folder.text) == ("ok", "64 x 48, 10.0 frames/s")
    assert [finding.state for finding in (dead, absent, strange)] == ["bad"] * 3
    assert "refused" in dead.text
    assert "sesame" not in repr(found)
    assert "no such file" in absent.text
    assert "unknown scheme" in strange.text
    assert all(finding.remedy for finding in (dead, absent, strange))


def test_a_camera_that_is_frozen_does_not_hang_the_doctor() -> None:
    with rtsp_camera() as camera:
        camera.freeze()
        began = time.monotonic()
        facts = probe_camera(camera.url, 1.5)
        assert facts.problem
        assert time.monotonic() - began < 20
        camera.thaw()


def test_a_camera_that_accepts_and_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        facts = probe_camera(f"http://127.0.0.1:{server.getsockname()[1]}/video", 1.0)
    assert facts.problem


def capability(card: bytes, node: int, everything: int = 0x84A00001, driver: bytes = b"uvcvideo") -> bytes:
    return struct.pack("16s32s32sIIIIII", driver, card, b"usb-1", 0x60000, everything, node, 0, 0, 0)


@pytest.mark.parametrize(
    ("data", "card", "staged"),
    [
        (capability(b"HD Webcam", 0x04200001), "HD Webcam", False),
        (capability(b"HD Webcam", 0x04A00000), None, False),  # its metadata
        (capability(b"bcm2835-codec-decode", 0x04204000), None, False),
        (capability(b"old driver", 0, 0x05000001), "old driver", False),
        (capability(b"rp1-cfe", 0x24A00001, driver=b"rp1-cfe"), "rp1-cfe", True),
        (capability(b"several planes", 0x04001000), "several planes", False),
        (capability(b"\xff\xfe", 0x04200001), "\ufffd\ufffd", False),
    ],
)
def test_what_a_node_is(data: bytes, card: str | None, staged: bool) -> None:
    found = read_capability("/dev/video0", data)
    assert (found.card if found else None) == card
    assert found is None or found.staged is staged


def test_only_nodes_that_take_pictures_are_listed(tmp_path: Path) -> None:
    assert list_cameras(tmp_path) == ()
    for name in ("video0", "video10", "videodev", "null"):
        (tmp_path / name).touch()
    assert list_cameras(tmp_path) == ()  # plain files answer no question of V4L2
    (tmp_path / "video2").symlink_to(tmp_path / "gone")
    assert [(camera.path, bool(camera.problem)) for camera in list_cameras(tmp_path)] == [
        (str(tmp_path / "video2"), True)
    ]


def test_cameras_that_are_plugged_in(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/video0").touch()
    nodes = (
        FoundCamera("/dev/video0", "HD Webcam"),
        FoundCamera("/dev/video2", "", problem="cannot be opened (Permission denied)"),
        FoundCamera("/dev/video4", "rp1-cfe", staged=True),
        FoundCamera("/dev/video6", "busy"),
    )
    working = {"problem": "", "width": 640, "height": 480, "fps": None, "first_s": 0.4, "live": True}
    busy = {**working, "problem": "/dev/video6 exists but does not open as a camera"}
    listed = {"found": [asdict(node) for node in nodes]}
    asked = look({"video nodes": listed, "/dev/video0": working, "/dev/video6": busy}, system=System(tmp_path))
    begin_cameras(asked)
    found = {finding.name: finding for finding in cameras(asked)}
    assert list(asked.children.asked) == ["video nodes", "/dev/video0", "/dev/video6"]  # type: ignore[attr-defined]
    assert found["/dev/video0"].text == "HD Webcam: 640 x 480, the first after 0.4 s"
    assert [found[f"/dev/video{number}"].state for number in (0, 2, 6)] == ["ok", "unknown", "warn"]
    assert "usermod" in found["/dev/video2"].remedy
    assert found["csi"].state == "ok"


def test_a_driver_that_does_not_answer(tmp_path: Path) -> None:
    (finding,) = cameras(look({"video nodes": {"died": "no answer within 5 s"}}, system=System(tmp_path)))
    assert (finding.state, "no answer" in finding.text) == ("warn", True)


def test_nodes_are_looked_at_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/video2").symlink_to(tmp_path / "gone")
    with Children() as children:
        asked = Look(children, system=System(tmp_path))
        begin_cameras(asked)
        (finding,) = cameras(asked)
    assert (finding.state, "cannot be opened" in finding.text) == ("unknown", True)
