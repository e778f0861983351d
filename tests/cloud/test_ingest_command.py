from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from delivery import fast_config, free_port, wait_until

from edgewright.cli import ingest as verb
from edgewright.cli.main import main
from edgewright.cloud import count_events
from edgewright.sync import SyncClient

if TYPE_CHECKING:
    from pathlib import Path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "edgewright.cli.main", "ingest", *arguments]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    full = command(
        "--db", f"sqlite:///{folder}/fleet.db", "--port", "0", "--ready-file", str(folder / "ready"), *arguments
    )
    return subprocess.Popen(full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_receives_until_a_signal_and_sums_up(tmp_path: Path, number: int) -> None:
    process = start(tmp_path, "--json")
    wait_until((tmp_path / "ready").exists)
    url = (tmp_path / "ready").read_text().strip()
    with SyncClient(fast_config(tmp_path, url)) as client:
        for n in range(100):
            client.emit("count", {"n": n})
        assert client.drain(20)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert err == ""
    summary = json.loads(out)
    assert (summary["stored"], summary["events_in_database"], summary["broker"]) == (100, 100, url)
    assert count_events(f"sqlite:///{tmp_path}/fleet.db") == 100


def test_it_can_end_by_itself(tmp_path: Path) -> None:
    out, err = start(tmp_path, "--until-idle", "0.5").communicate(timeout=30)
    assert err == ""
    assert "mqtt://127.0.0.1:" in out
    assert "0 new records" in out


def test_no_broker_is_not_idleness(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(verb, "_FIRST_CONTACT_S", 0.3)
    broker = f"mqtt://127.0.0.1:{free_port()}"
    arguments = ["--db", f"sqlite:///{tmp_path}/fleet.db", "--broker", broker, "--until-idle", "0.1"]
    assert main(["ingest", *arguments]) == 2
    assert f"no connection to {broker}" in capsys.readouterr().err
    assert "devices keep their events" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--db", "postgresql://me:sesame@h/x"], "not supported yet"),
        (["--db", "fleet.db"], "sqlite:///fleet.db"),
        (["--db", "sqlite:///fleet.db", "--broker", "tcp://me:sesame@h"], "mqtt://"),
        (["--db", "sqlite:///fleet.db", "--broker", "mqtt://h", "--port", "1"], "--port"),
        (["--db", "sqlite:///fleet.db", "--port", "99999"], "no TCP port"),
        (["--db", "sqlite:///fleet.db", "--until-idle", "-1"], "no number of seconds"),
        ([], "--db"),
    ],
    ids=str,
)
def test_bad_usage_ends_with_2_and_one_clear_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = subprocess.run(command(*arguments), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "sesame" not in done.stderr
    assert list(tmp_path.iterdir()) == []
