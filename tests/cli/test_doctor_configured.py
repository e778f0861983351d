"""What `edgewright doctor --config` says of a configuration and all that it names; and the command as a whole."""

from __future__ import annotations

import argparse
import io
import json
import os
import pwd
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import write_detector
from delivery import Mosquitto
from told import look

from edgewright.bundle.errors import EdgewrightError
from edgewright.cli.doctor import child_parts, command, configured
from edgewright.cli.doctor.configured import read_bundle
from edgewright.cli.doctor.findings import Finding
from edgewright.cli.doctor.look import Wishes
from edgewright.device.config import load_config
from edgewright.device_profiles.profile import load_profile
from edgewright.runtime.backends.choice import EngineOptions, engine_options
from edgewright.runtime.verify import VerifyReport, verify_bundle


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a bundle, a source and a configuration."""
    write_detector(tmp_path / "tiny.edge")
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures/a.png"), np.zeros((48, 64, 3), np.uint8))
    lines = [
        '[source]\nuri = "pictures"',
        '[model]\nbundle = "tiny.edge"',
        '[sync]\noutbox = "state/outbox.db"',
        '[output]\nevents = "events.jsonl"',
    ]
    (tmp_path / "device.toml").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    # The engines and packages of this machine are looked at elsewhere.
    kept = {"configured", "broker", "cameras", "disk"}
    monkeypatch.setattr(command, "CHECKS", tuple(c for c in command.CHECKS if c.__name__ in kept))
    begins = tuple(b for b in command.BEGINNINGS if b.__name__.removeprefix("begin_") in kept)
    monkeypatch.setattr(command, "BEGINNINGS", begins)
    return tmp_path


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


def doctor(*words: str) -> dict[str, Finding]:
    args = arguments(*words)
    found = command.diagnose(command.wishes_of(args, command.read_secrets(args, io.StringIO())))
    return {f"{finding.group}/{finding.name}": finding for finding in found}


def test_everything_that_a_configuration_names(place: Path) -> None:
    with Mosquitto(place / "broker") as mosquitto:
        text = (place / "device.toml").read_text()
        (place / "device.toml").write_text(
            text.replace("[sync]", f'[sync]\nbroker = "{mosquitto.url}"\ndevice = "gate-1"')
        )
        found = doctor("--config", "device.toml")
    assert "golden answers repeated by" in found["config/bundle"].text
    assert found["config/source"].text == "pictures: 64 x 48, 10.0 frames/s"
    assert "edge/gate-1/ev" in found["broker/publish events"].text
    assert str(place / "state") in found["disk/space"].text
    for name in ("file", "bundle", "source", "outbox", "events file"):
        assert found[f"config/{name}"].state == "ok", found[f"config/{name}"]
    assert not (place / "state").exists()


def test_a_configuration_that_cannot_be_used(place: Path) -> None:
    (place / "device.toml").write_text("[source]\nurl = 3\n")
    found = doctor("--config", "device.toml")
    assert found["config/file"].state == "bad"
    assert "unknown key 'url'" in found["config/file"].text
    assert doctor("--config", "nowhere.toml")["config/file"].state == "bad"


def test_a_configuration_that_names_little(place: Path) -> None:
    (place / "device.toml").write_text('[sync]\noutbox = "outbox.db"\n')
    found = doctor("--config", "device.toml")
    assert {found[f"config/{name}"].state for name in ("bundle", "source", "broker")} == {"warn"}


def test_the_bundle_is_proved_by_the_engines_that_the_service_would_take(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, EngineOptions]] = []

    def verify(path: Path, threads: int, options: EngineOptions) -> VerifyReport:
        given.append((threads, options))
        return verify_bundle(path, threads, options)

    monkeypatch.setattr("edgewright.runtime.verify.verify_bundle", verify)
    value = '{ value = ["litert-delegate", "onnxruntime-cpu"], origin = "assumed", source = "a test" }'
    (place / "board.toml").write_text(f'extends = "x86-64"\nbackends = {value}\n')
    library, cache = place / "npu.so", place / "engines"
    model = {"bundle": place / "tiny.edge", "profile": str(place / "board.toml"), "threads": 2, "engine_cache": cache}
    told = load_config(None, {"model": model | {"delegate": library, "delegate_options": ["speed=1"]}}).model
    assert child_parts.bundle(configured._bundle_request(told))["ok"]
    ((threads, options),) = given
    assert (threads, options) == (
        2,
        engine_options(load_profile(str(place / "board.toml")), library, ["speed=1"], cache),
    )
    assert [backend.value for backend in options.backends][:1] == ["litert-delegate"]


def test_a_bundle_that_was_changed_and_a_source_that_is_away(place: Path) -> None:
    data = bytearray((place / "tiny.edge").read_bytes())
    data[len(data) // 2] ^= 1
    (place / "tiny.edge").write_bytes(data)
    shutil.rmtree(place / "pictures")
    found = doctor("--config", "device.toml")
    assert found["config/bundle"].state == "bad"
    assert found["config/source"].state == "bad"
    assert all(finding.remedy for finding in found.values() if finding.state != "ok")


ANSWER = {"name": "a 1", "files": 4, "ok": True, "checked": ["int8"], "wrong": [], "skipped": {}, "engines": ["e"]}


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (ANSWER, "ok", "repeated by int8"),
        ({**ANSWER, "wrong": ["int8 / boxes is off by 3, allowed is 1"]}, "bad", "off by 3"),
        ({**ANSWER, "checked": [], "skipped": {"tflite": "no interpreter"}}, "warn", "no interpreter"),
        ({"problem": "needs onnxruntime", "missing": True}, "missing", "onnxruntime"),
        ({"problem": "a file is altered", "missing": False}, "bad", "altered"),
        ({"died": "its process was ended by SIGILL"}, "bad", "SIGILL"),
    ],
)
def test_bundles(answer: dict[str, object], state: str, says: str) -> None:
    (finding,) = read_bundle("a.edge", answer)
    assert (finding.state, says in finding.text) == (state, True)


def test_a_place_that_the_services_user_may_not_write(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() or shutil.which("runuser") is None:
        pytest.skip("only the superuser can ask for another")
    monkeypatch.setattr(configured, "USER", "nobody")
    pwd.getpwnam("nobody")
    (place / "device.toml").chmod(0o600)
    for folder in (place, *place.parents):  # pytest's own folders are closed to others
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    found = doctor("--config", "device.toml")
    assert found["config/outbox"].state == "bad"
    assert "user nobody may not write" in found["config/outbox"].text
    assert found["config/permissions"].state == "bad"
    (place / "state").mkdir()
    shutil.chown(place / "state", "nobody")
    (place / "device.toml").chmod(0o644)
    found = doctor("--config", "device.toml")
    assert found["config/outbox"].state == "ok"
    assert "config/permissions" not in found


def test_a_usb_camera_in_the_hands_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgewright.cli.doctor.look import System
    from edgewright.device.config import DeviceConfig, SourceSettings

    class Running(System):
        def tool(self, *words: str) -> str | None:
            return "active" if words[0] == "systemctl" else None

    busy = {"problem": "/dev/video0 exists but does not open", "live": True}
    for uri, state in (("/dev/video0", "warn"), ("rtsp://camera/1", "bad")):
        wishes = Wishes(config_path=Path("device.toml"), config=DeviceConfig(source=SourceSettings(uri=uri)))
        asked = look({"configured source": busy}, wishes, Running())
        found = {finding.name: finding for finding in configured.configured(asked)}
        assert found["source"].state == state


def test_urls_from_standard_input() -> None:
    args = arguments("--broker", "-", "--camera", "0", "--camera", "-")
    given = command.read_secrets(args, io.StringIO("mqtt://a:b@c\nrtsp://d:e@f\n"))
    assert given == ("mqtt://a:b@c", ("0", "rtsp://d:e@f"))
    wishes = command.wishes_of(args, given)
    assert wishes.broker is not None
    assert wishes.broker.url == "mqtt://a:b@c"
    with pytest.raises(EdgewrightError, match="standard input"):
        command.read_secrets(args, io.StringIO("mqtt://a\n"))


def test_the_device_is_who_the_configuration_says(tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text('[sync]\nbroker = "mqtt://a"\ndevice = "gate-1"\n')
    path = str(tmp_path / "device.toml")

    def device(*words: str) -> tuple[str, str]:
        args = arguments(*words)
        wish = command.wishes_of(args, command.read_secrets(args, io.StringIO())).broker
        assert wish is not None
        return wish.url, wish.device

    assert device("--config", path) == ("mqtt://a", "gate-1")
    assert device("--config", path, "--device", "gate-2", "--broker", "mqtt://b") == ("mqtt://b", "gate-2")
    assert device("--broker", "mqtt://b")[1]


def test_the_command_says_it_with_an_exit_code(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("mqtt://u:sesame@127.0.0.1:1\n"))
    assert command.run(arguments("--json", "--broker", "-", "--device", "gate-1")) == 2
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["ok"] is False
    assert [one["name"] for one in found["findings"] if one["state"] == "bad"] == ["reach"]
    assert "sesame" not in printed.out + printed.err
    assert command.run(arguments()) == 0
    assert capsys.readouterr().out.rstrip().endswith("is broken")
