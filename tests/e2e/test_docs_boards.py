"""The commands of the pages on boards (see ``docs_commands``), with a bundle that is quickly made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from bundles import write_detector
from delivery import Mosquitto
from docs_commands import check, commands_of
from rtsp.camera import rtsp_camera

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docs_commands import Place


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path_factory.mktemp("broker")).start()
    yield mosquitto
    mosquitto.kill()


@pytest.mark.parametrize("command", commands_of("boards"))
def test_the_command_works(command: str, place: Place, broker: Mosquitto, unmeasured: dict[str, str]) -> None:
    bundle = place.folder / "person.edge"
    if not bundle.exists():
        write_detector(bundle)
    line = place.runnable(command, broker.url)
    if "rtsp://" in line:
        with rtsp_camera() as camera:
            done = place.run(re.sub(r"rtsp://\S+", camera.url, line), unmeasured)
    else:
        done = place.run(line, unmeasured)
    check(command, line, done)
