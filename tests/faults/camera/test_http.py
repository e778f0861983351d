"""A live source against an MJPEG stream from the standard library's web server."""

from __future__ import annotations

import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edgewright.runtime.sources import EndOfSource, SourceDown, SourceOptions, SourceUp, open_source, parse_source
from edgewright.runtime.types import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 20.0


class Mjpeg(BaseHTTPRequestHandler):
    """Sends grey pictures that get lighter, at 20 a second, ``limit`` of them."""

    limit = 10_000

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):
            for index in range(self.limit):
                _, data = cv2.imencode(".jpg", np.full((48, 64, 3), index % 256, np.uint8))
                part = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                self.wfile.write(part + data.tobytes() + b"\r\n")
                time.sleep(0.05)

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture
def mjpeg() -> Iterator[Any]:
    handler = type("Handler", (Mjpeg,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_address[1]}/stream?token=s3cret"
    server.shutdown()
    server.server_close()


def collect(source: Any, wanted: int, kind: type = Frame) -> list[Any]:
    found: list[Any] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < wanted and time.monotonic() < deadline:
        item = source.take(0.2)
        assert not isinstance(item, EndOfSource)
        if isinstance(item, kind):
            found.append(item)
    return found


def test_frames_arrive_and_the_token_is_hidden(mjpeg: Any) -> None:
    source = open_source(parse_source(mjpeg[1]), SourceOptions())
    frames = collect(source, 3)
    assert len(frames) == 3
    assert frames[0].image.shape == (48, 64, 3)
    assert "s3cret" not in frames[0].camera
    source.close()


def test_a_stream_that_ends_is_opened_again(mjpeg: Any) -> None:
    handler, url = mjpeg
    handler.limit = 30
    source = open_source(parse_source(url), SourceOptions())
    assert collect(source, 1, SourceDown)
    assert collect(source, 1, SourceUp)
    assert collect(source, 1)
    source.close()
