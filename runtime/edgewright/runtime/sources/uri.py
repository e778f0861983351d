"""Says what kind of source a piece of text names; touches the disk only to tell a file from a folder.

=========================  ==========================================================
text                       kind
=========================  ==========================================================
``clip.avi``               video file, every frame in order
``pictures/``              folder of images, sorted by name
``file:///a/clip.avi``     the same, spelled as a URI (a folder works too)
``dir:///a/pictures``      folder
``0``, ``/dev/video0``     USB camera
``v4l2:///dev/video0``     the same
``csi:0``, ``csi://0``     CSI camera, by the GStreamer pipeline of the board's profile
``usb:0``, ``usb://0``     USB camera, likewise
``rtsp://``, ``rtsps://``  network camera
``http://``, ``https://``  MJPEG or other stream FFmpeg reads
=========================  ==========================================================

``csi:`` and ``usb:`` cameras take ``?width=640&height=480&fps=15``; without it 1280 x 720 at 30 frames a second.

A password in a URI is used for opening only: ``str()``, ``repr()`` and ``redacted`` show ``***``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from edgewright.device_profiles.errors import ProfileError
from edgewright.device_profiles.pipelines import CameraShape
from edgewright.runtime.errors import SourceUriError

__all__ = ["SourceKind", "SourceUri", "parse_source", "redact"]

_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")
_DEVICE = re.compile(r"^/dev/video(\d+)$")
# Anywhere, not in queries only: some cameras want `/user=admin_password=secret_channel=1_stream=0.sdp` as the path.
_SECRET_KEYS = re.compile(
    r"(?i)((?:pass|pwd|pw|token|secret|key|auth|sig|user|usr|login|credential)[a-z0-9_.-]{0,64}(?:=|%3d))[^&;\s]*"
)
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/?#\s]*@")
# `user:pa/ss@host`, a password that should have been percent-encoded: hide too much rather than too little.
_UNQUOTED_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/?#\s@*]+:\S*@")
_PIPELINE = re.compile(r"(?i)^(csi|usb):(?://)?([^?]*)(?:\?(.*))?$")
_SIZES = ("width", "height", "fps")
_MOST_DIGITS = 5
_LONGEST_SHOWN = 60
_MOST_PIXELS = 16_000_000  # 48 MB a picture
_LATER = {"webrtc": "WebRTC cameras", "test": "test patterns", "rtp": "bare RTP", "rtmp": "RTMP"}
_KNOWN = "a video file, an image folder, a camera number such as 0, csi:0, usb:0, or file:// dir:// v4l2:// rtsp:// rtsps:// http(s)://"


class SourceKind(str, Enum):
    """Which reader a source needs."""

    VIDEO = "video"
    FOLDER = "folder"
    USB = "usb"
    CSI = "csi"
    RTSP = "rtsp"
    HTTP = "http"


@dataclass(frozen=True)
class SourceUri:
    """A source, named but not opened.

    Attributes:
        kind: Which reader it needs.
        target: What to hand the reader: a path, a device number or a full URL, **password included**.
        redacted: The same for people and logs, without password, token or user name.
        shape: Of the pictures, for a camera that is read by a pipeline of the board's profile; None for any other.
    """

    kind: SourceKind
    target: str = field(repr=False)
    redacted: str
    shape: CameraShape | None = None

    @property
    def live(self) -> bool:
        """Whether time goes on without us: frames not taken are lost."""
        return self.kind not in {SourceKind.VIDEO, SourceKind.FOLDER}

    def __str__(self) -> str:
        """The redacted text."""
        return self.redacted


def redact(text: str) -> str:
    """``text`` with user names, passwords and tokens of every URI in it replaced by ``***``."""
    for pattern in (_USERINFO, _UNQUOTED_USERINFO):
        text = pattern.sub(r"\1***@", text)
    return _SECRET_KEYS.sub(r"\1***", text)


def parse_source(text: str) -> SourceUri:
    """Reads the text a user gave for a source.

    Args:
        text: See the table in the module's description.

    Returns:
        The source's kind and target; nothing has been opened yet.

    Raises:
        SourceUriError: No such file or folder, an unknown scheme, or a URL without a host.
    """
    text = text.strip()
    if not text or "\x00" in text:
        message = f"no source was named; give {_KNOWN}"
        raise SourceUriError(message)
    if text.isascii() and text.isdigit():
        return SourceUri(SourceKind.USB, str(int(text)), f"/dev/video{int(text)}")
    pipeline = _PIPELINE.match(text)
    if pipeline is not None:
        return _by_pipeline(pipeline.group(1).lower(), pipeline.group(2), pipeline.group(3))
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _device(text) or _path(text, text)
    return _with_scheme(scheme.group(1).lower(), text)


def _with_scheme(scheme: str, text: str) -> SourceUri:
    rest = text[len(scheme) + 3 :]
    if scheme in {"rtsp", "rtsps", "http", "https"}:
        return _network(scheme, text)
    if scheme == "v4l2":
        source = _device(rest) or (parse_source(rest) if rest.isdigit() else None)
        if source is None:
            message = f"{redact(text)}: a USB camera is v4l2:///dev/videoN or its number N"
            raise SourceUriError(message)
        return source
    if scheme in {"file", "dir"}:
        source = _path(unquote(rest.removeprefix("localhost") if rest.startswith("localhost/") else rest), text)
        if scheme == "dir" and source.kind is not SourceKind.FOLDER:
            message = f"{text}: not a folder; dir:// wants a folder of images"
            raise SourceUriError(message)
        return source
    if scheme in _LATER:
        message = f"{redact(text)}: {_LATER[scheme]} ({scheme}://) are not supported yet; use {_KNOWN}"
        raise SourceUriError(message)
    message = f"{redact(text)}: unknown scheme {scheme}://; use {_KNOWN}"
    raise SourceUriError(message)


def _device(text: str) -> SourceUri | None:
    match = _DEVICE.match(text)
    return SourceUri(SourceKind.USB, str(int(match.group(1))), text) if match else None


def _by_pipeline(kind: str, number: str, query: str | None) -> SourceUri:
    shown = redact(f"{kind}:{number}")[:_LONGEST_SHOWN]
    if not (number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS):
        message = f"{shown}: a camera of the board is named by its number; write {kind}:0"
        raise SourceUriError(message)
    wanted: dict[str, int] = {}
    for word in (query or "").split("&") if query else ():
        key, _, value = word.partition("=")
        if (
            key not in _SIZES
            or key in wanted
            or not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS)
        ):
            message = f"{shown}: {redact(word)[:40]!r} is not understood; write {kind}:0?width=1280&height=720&fps=30"
            raise SourceUriError(message)
        wanted[key] = int(value)
    if ("width" in wanted) != ("height" in wanted):
        message = f"{shown}: width and height belong together; write {kind}:0?width=1280&height=720"
        raise SourceUriError(message)
    try:
        shape = CameraShape(sensor=int(number), **wanted)
    except ProfileError as error:
        message = f"{shown}: {error}"
        raise SourceUriError(message) from error
    if shape.width * shape.height > _MOST_PIXELS:
        message = f"{shown}: {shape.width} x {shape.height} is more than {_MOST_PIXELS // 10**6} million pixels"
        raise SourceUriError(message)
    return SourceUri(SourceKind(kind), str(shape.sensor), f"{kind}:{shape.sensor}", shape)


def _network(scheme: str, text: str) -> SourceUri:
    shown = redact("".join(text.split()))  # a space would end the part that is hidden
    if any(character.isspace() or ord(character) < ord(" ") for character in text):
        message = f"{shown}: a URL has no spaces; write %20"
        raise SourceUriError(message)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        message = f"{shown}: not a valid URL (host or port); percent-encode @ : / in user name and password"
        raise SourceUriError(message) from None  # the cause repeats the piece it choked on: maybe a password
    if not host:
        message = f"{shown}: names no host; a camera looks like {scheme}://192.168.1.20/stream"
        raise SourceUriError(message)
    kind = SourceKind.RTSP if scheme.startswith("rtsp") else SourceKind.HTTP
    return SourceUri(kind, urlunsplit(parts), redact(urlunsplit(parts)))


def _path(path_text: str, shown: str) -> SourceUri:
    path = Path(path_text).expanduser()
    try:
        if path.is_dir():
            return SourceUri(SourceKind.FOLDER, str(path), shown)
        if path.is_file():
            return SourceUri(SourceKind.VIDEO, str(path), shown)
    except OSError as error:
        message = f"{shown}: cannot be looked at ({error.strerror or error}); check the path and its permissions"
        raise SourceUriError(message) from error
    message = f"{redact(shown)}: no such file or folder; give {_KNOWN}"
    raise SourceUriError(message)
