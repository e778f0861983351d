"""A real RTSP camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rtsp.camera import rtsp_camera

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtsp.camera import RtspCamera


@pytest.fixture
def camera() -> Iterator[RtspCamera]:
    with rtsp_camera() as started:
        yield started
