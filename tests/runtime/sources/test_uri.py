"""What a source's text means, and that it never gives a password away."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.device_profiles.pipelines import CameraShape
from edgewright.runtime.errors import SourceUriError
from edgewright.runtime.sources import SourceKind, parse_source, redact

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "kind", "target", "shown"),
    [
        ("0", SourceKind.USB, "0", "/dev/video0"),
        (" 2 ", SourceKind.USB, "2", "/dev/video2"),
        ("/dev/video11", SourceKind.USB, "11", "/dev/video11"),
        ("v4l2:///dev/video1", SourceKind.USB, "1", "/dev/video1"),
        ("v4l2://1", SourceKind.USB, "1", "/dev/video1"),
        ("rtsp://cam/s", SourceKind.RTSP, "rtsp://cam/s", "rtsp://cam/s"),
        ("rtsps://u:p@cam:322/s", SourceKind.RTSP, "rtsps://u:p@cam:322/s", "rtsps://***@cam:322/s"),
        ("RTSP://u:p@cam/s", SourceKind.RTSP, "rtsp://u:p@cam/s", "rtsp://***@cam/s"),
        ("http://cam/v?key=abc&w=1", SourceKind.HTTP, "http://cam/v?key=abc&w=1", "http://cam/v?key=***&w=1"),
        ("https://[::1]:8443/v", SourceKind.HTTP, "https://[::1]:8443/v", "https://[::1]:8443/v"),
    ],
)
def test_cameras(text: str, kind: SourceKind, target: str, shown: str) -> None:
    uri = parse_source(text)
    assert (uri.kind, uri.target, uri.redacted, str(uri)) == (kind, target, shown, shown)
    assert uri.live
    assert "u:p@" not in repr(uri)


@pytest.mark.parametrize(
    ("text", "kind", "shape"),
    [
        ("csi:0", SourceKind.CSI, CameraShape()),
        ("csi://1", SourceKind.CSI, CameraShape(sensor=1)),
        ("CSI:0?fps=15", SourceKind.CSI, CameraShape(fps=15)),
        ("usb:2?width=640&height=480", SourceKind.USB, CameraShape(640, 480, 30, 2)),
        ("usb://0?height=480&fps=5&width=640", SourceKind.USB, CameraShape(640, 480, 5)),
    ],
)
def test_cameras_by_the_pipeline_of_a_board(text: str, kind: SourceKind, shape: CameraShape) -> None:
    uri = parse_source(text)
    assert (uri.kind, uri.shape, uri.live) == (kind, shape, True)
    # The name that events have does not change with the size of the pictures.
    assert str(uri) == uri.redacted == f"{kind.value}:{shape.sensor}"


@pytest.mark.parametrize("name", ["clip.avi", "Straße öäü 街.avi", "a b #1?.mp4"])
def test_files_and_folders(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"x")
    for text in (str(path), path.as_uri(), f"file://{path}" if "#" not in name else str(path)):
        uri = parse_source(text)
        assert (uri.kind, uri.target, uri.live) == (SourceKind.VIDEO, str(path), False)
    for text in (str(tmp_path), f"dir://{tmp_path}", f"file://localhost{tmp_path}"):
        assert parse_source(text).kind is SourceKind.FOLDER


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no source"),
        ("nowhere.avi", "no such file"),
        ("-1", "no such file"),
        ("csi:", "named by its number; write csi:0"),
        ("csi:front", "write csi:0"),
        ("usb:-1", "write usb:0"),
        ("csi:64", "sensor is a whole number from 0 to 63"),
        ("csi:0?width=640", "width and height belong together"),
        ("csi:0?width=640&height=9000", "height is a whole number from 16 to 8192"),
        ("csi:0?width=8192&height=8192", "more than 16 million pixels"),
        ("csi:0?fps=0", "fps is a whole number"),
        ("csi:0?fps=30&fps=30", "'fps=30' is not understood"),
        ("csi:0?fps=1e3", "not understood"),
        ("csi:0?fps=" + "9" * 5000, "not understood"),
        ("csi:0?token=s3cret", r"'token=\*\*\*' is not understood"),
        ("webrtc://cam", "not supported yet"),
        ("ftp://cam/x", "unknown scheme"),
        ("rtsp://", "names no host"),
        ("rtsp:///stream", "names no host"),
        ("rtsp://cam:port/s", "not a valid URL"),
        ("http://cam/a b", "spaces"),
        ("v4l2://camera", "USB camera"),
        ("dir:///etc/hostname", "not a folder"),
        ("a\x00b", "no source"),
    ],
)
def test_refusals_say_what_to_give(text: str, says: str) -> None:
    with pytest.raises(SourceUriError, match=says):
        parse_source(text)


SECRETS = [
    "rtsp://admin:hunter2@",
    "rtsp://admin:hunter2@cam:99999/s",
    "rtsp://admin:hunt/er2@cam/s",
    "rtsp://admin:hunt#er2@cam/s",
    "rtsp://admin:12#hunter2@cam/s",
    "rtsp://admin:hunt?er2@cam/s",
    "rtsp://admin:hunter2 @cam/s",
    "webrtc://admin:hunter2@cam",
    "gopher://admin:hunter2@cam",
    "rtsp://admin:[hunter2]@cam/s",
    "http://cam/v?x=1&password=hunter2",
    "http://cam/v?access_token=hunter2",
    "rtsp://10.0.0.5:554/user=admin_password=hunter2_channel=1_stream=0.sdp",
    "rtsp://10.0.0.5/user=admin&password=hunter2&channel=1",
    "http://cam/v?pw=hunter2",
    "http://cam/v?pwd=hunt/er2",
    "rtsp://cam/s#t=1&pass=hunter2",
    "rtsp://cam/password%3Dhunter2/s",
    "rtsp://cam/s?passphrase=hunt#er2",
]


@pytest.mark.parametrize("text", SECRETS)
def test_no_refusal_and_no_traceback_repeats_a_password(text: str) -> None:
    try:
        shown = str(parse_source(text)) + repr(parse_source(text))
    except SourceUriError as error:
        shown = str(error) + "".join(traceback.format_exception(error))
    secret_part = "er2" if "er2" in text else "hunter2"
    lines = [line for line in shown.splitlines() if "parse_source(text)" not in line]
    assert secret_part not in "\n".join(lines)
    assert "admin" not in "\n".join(lines)


WORD = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=3, max_size=12)


@given(user=WORD, password=WORD, rest=st.sampled_from(["cam/s", "10.0.0.1:554/live", "[fe80::1]/x?a=b"]))
def test_redaction_hides_and_is_stable(user: str, password: str, rest: str) -> None:
    shown = redact(f"opening rtsp://{user}:{password}@{rest} failed")
    assert f"{user}:{password}" not in shown
    assert f"://***@{rest}" in shown
    assert redact(shown) == shown
