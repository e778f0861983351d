"""A password in a URL never shows: not in a finding, in text or JSON, whatever the broker or the camera does."""

from __future__ import annotations

import argparse
import io
import json
import socket
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
from delivery import free_port
from told import look

from edgewright.cli.doctor import child_parts, command
from edgewright.cli.doctor.broker import broker, without_password
from edgewright.cli.doctor.findings import shown_lines, to_json
from edgewright.cli.doctor.look import BrokerWish, Wishes
from edgewright.sync import probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgewright.cli.doctor.findings import Finding

PASSWORD = "sesame"


def said_of(url: str, device: str = "cam-1", files: dict[str, str] | None = None) -> str:
    """All that is shown of a broker, asked in this process by what the child runs."""
    answer = child_parts.broker({"url": url, "device": device, "files": files or {}})
    found = list(broker(look({"broker": json.loads(json.dumps(answer))}, Wishes(broker=BrokerWish(url, device)))))
    assert found
    assert all(one.remedy for one in found if one.state != "ok")
    return shown(found)


def shown(found: list[Finding]) -> str:
    return "\n".join([*shown_lines(found), json.dumps(to_json(found)), repr(found)])


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The very probe, which gives each step less time."""
    real = probe.probe_broker
    monkeypatch.setattr(probe, "probe_broker", lambda *args, tell: real(*args, patience_s=0.4, tell=tell))


@pytest.fixture(params=["closes", "is silent", "talks nonsense", "refuses and repeats the password"])
def stranger(request: pytest.FixtureRequest) -> Iterator[int]:
    """Something that listens and is no broker, or one that means ill."""
    answers = {
        "talks nonsense": f"HTTP/1.0 400 no {PASSWORD} here\r\n\r\n".encode(),
        # CONNACK of MQTT 5: "not authorized", with a reason that is the password.
        "refuses and repeats the password": b"\x20\x0c\x00\x87\x09\x1f\x00\x06" + PASSWORD.encode(),
    }
    server = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                link, _ = server.accept()
            except OSError:
                return
            if request.param == "closes":
                link.close()
                continue
            kept.append(link)
            if request.param in answers:
                link.sendall(answers[request.param])

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    for link in kept:
        link.close()


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
def test_strangers_learn_it_and_nobody_here_does(stranger: int, scheme: str) -> None:
    text = said_of(f"{scheme}://cam:{PASSWORD}@127.0.0.1:{stranger}")
    assert PASSWORD not in text
    assert "127.0.0.1" in text


@pytest.mark.parametrize(
    "url",
    [
        f"mqtt://cam:{PASSWORD}@127.0.0.1:{{port}}",
        f"mqtts://cam:{PASSWORD}@127.0.0.1:{{port}}?ca=/nowhere.pem",
        f"mqtt://cam:{PASSWORD}@no-such-host.invalid",
        f"mqtt://cam:{PASSWORD}@127.0.0.1:{{port}}/path",
        f"mqtt://cam:{PASSWORD}@127.0.0.1:99999",
        f"mqtt://cam:{PASSWORD}@127.0.0.1:{{port}}?ca=a.pem",
        f"mqtts://cam:{PASSWORD}@127.0.0.1?key=a.pem",
        f"mqtt://cam:{PASSWORD}#more@127.0.0.1",
        f"mqtt://:{PASSWORD}@127.0.0.1",
        f"http://cam:{PASSWORD}@127.0.0.1",
        f"mqtt://cam:{PASSWORD}",
        f"cam:{PASSWORD}",
    ],
)
def test_broken_urls_and_brokers_that_are_away(url: str) -> None:
    assert PASSWORD not in said_of(url.format(port=free_port()))


def test_a_device_whose_name_cannot_be_used() -> None:
    text = said_of(f"mqtt://cam:{PASSWORD}@127.0.0.1:1", device="a/b")
    assert "'a/b'" in text
    assert PASSWORD not in text


@pytest.mark.parametrize("written", ["s%C3%A9same", "sésame"])
def test_even_a_message_of_a_library_would_not_show_it(written: str) -> None:
    url = f"mqtts://cam:{written}@h?ca=x"
    text = without_password("refused: 'sésame' (s%C3%A9same) for cam", url)
    assert "same" not in text
    assert "cam" in text
    assert without_password("nothing to hide", "mqtt://[") == "nothing to hide"


def test_what_the_checks_keep_does_not_show_it() -> None:
    wish = BrokerWish(f"mqtt://cam:{PASSWORD}@h", "cam-1")
    assert PASSWORD not in repr(Wishes((f"rtsp://cam:{PASSWORD}@h",), wish))
    assert PASSWORD not in repr(asdict(probe.BrokerFacts("mqtt://h", "cam-1")))


def test_a_configuration_full_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In keys that it belongs to and in ones that it does not."""
    path = tmp_path / "device.toml"
    url = f"mqtt://cam:{PASSWORD}@127.0.0.1:{free_port()}"
    path.write_text(
        f'[source]\nuri = "gopher://cam:{PASSWORD}@127.0.0.1/x"\nbroker = "{url}"\nfps = "{url}"\n'
        f'[sync]\nbroker = "{url}"\ndevice = "{url}"\n[rules]\nzones = ["{url}"]\n[model]\nprofile = "{url}"\n'
    )
    monkeypatch.setattr(command, "CHECKS", (broker, command.configured))
    monkeypatch.setattr(command, "BEGINNINGS", (command.begin_configured, command.begin_broker))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(["--config", str(path)])
    found = list(command.diagnose(command.wishes_of(args, command.read_secrets(args, io.StringIO()))))
    assert len([one for one in found if one.name == "file"]) == 5
    assert {one.group for one in found} == {"broker", "config"}
    assert PASSWORD not in shown(found)
