"""The Dockerfiles as far as that goes without Docker; what the images run is really run.

No image is built here: docker/README.md says so.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bundles import write_detector
from delivery import wait_until
from wheels import empty_wheel

from edgewright.deploy.wheel_index import Wheel, Wheelhouse, write_index
from edgewright.deploy.wheel_target import Target

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
FILES = sorted(DOCKER.glob("*.Dockerfile"))
INSTRUCTIONS = {
    *("ARG", "FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "VOLUME", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD")
}  # fmt: skip


def instructions(text: str) -> list[tuple[str, str]]:
    """Each instruction and its words; continuation lines joined, comments gone."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def faults(text: str) -> list[str]:
    """What is wrong with a Dockerfile, as far as these rules see."""
    rows = instructions(text)
    found = [f"unknown instruction {word}" for word, _ in rows if word not in INSTRUCTIONS]
    stages = re.findall(r"(?m)^FROM \S+ AS (\w+)", text)
    froms = [rest.split()[0] for word, rest in rows if word == "FROM"]
    found += [
        f"{image} is not pinned" for image in froms if "$" not in image and (":" not in image or "latest" in image)
    ]
    found += [f"{image} names a host" for image in froms if "." in image.split("/")[0].split(":")[0] and "/" in image]
    declared = {rest.partition("=")[0] for word, rest in rows if word == "ARG"}
    found += [f"${{{name}}} is not declared" for name in re.findall(r"\$\{(\w+)\}", text) if name not in declared]
    users = [rest for word, rest in rows if word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        found.append("it runs as root, or as a user without a number")
    for word, rest in rows:
        if word == "COPY":
            *sources, _ = [item for item in shlex.split(rest) if not item.startswith("--")]
            here = "--from=" not in rest
            stage = re.search(r"--from=(\w+)", rest)
            found += [f"no stage {stage[1]}" for _ in [0] if stage and stage[1] not in stages]
            found += [
                f"{item} is not there" for item in sources if here and "$" not in item and not (ROOT / item).is_file()
            ]
        if word in {"ENTRYPOINT", "CMD"} or (word == "HEALTHCHECK" and "CMD" in rest):
            try:
                json.loads(rest[rest.index("[") :])
            except ValueError:
                found.append(f"{word} needs a shell")
        if re.search(r"(?i)password|passwd|secret|token|api_?key|private", rest):
            found.append(f"{word} holds what may be a secret")
        if "apt-get install" in rest and not (
            "--no-install-recommends" in rest and "rm -rf /var/lib/apt/lists" in rest
        ):
            found.append("apt-get installs more than it is told, or leaves its lists")
        if word == "RUN" and "pip install" in rest and "--no-index" not in rest:
            found.append("pip fetches what nobody pinned")
    found += [f"no {word}" for word in ("HEALTHCHECK", "ENTRYPOINT", "USER") if word not in {row[0] for row in rows}]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_dockerfiles_keep_the_rules(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []
    ignored = path.with_name(f"{path.name}.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert {"docker/install.py", "docker/watch.py", "wheels*"} == kept


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("FROM python\n", "not pinned"),
        ("FROM registry.example.org/python:3.11\n", "names a host"),
        ("FROM python:${PYTHON}\n", "not declared"),
        ("FROM python:3.11\nUSER root\n", "as root"),
        ("FROM python:3.11\nCOPY docker/nothing.py /x\n", "nothing.py is not there"),
        ("FROM python:3.11\nCOPY --from=build /x /x\n", "no stage build"),
        ("FROM python:3.11\nENTRYPOINT edgewright run\n", "needs a shell"),
        ("FROM python:3.11\nENV MQTT_PASSWORD=x\n", "may be a secret"),
        ("FROM python:3.11\nRUN apt-get install x\n", "more than it is told"),
        ("FROM python:3.11\nRUN pip install numpy\n", "nobody pinned"),
        ("FROM python:3.11\nADD x /\n", "unknown instruction"),
    ],
)
def test_the_rules_find_faults(text: str, says: str) -> None:
    assert any(says in fault for fault in faults(text))


def wheelhouse(folder: Path, python: str) -> Path:
    """A small wheelhouse for this machine."""
    folder.mkdir()
    wheels = [empty_wheel(folder, "edgewright", "9.9", requires=["dep"]), empty_wheel(folder, "dep", "1.0")]
    import hashlib

    rows = tuple(
        Wheel(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), folder) for path in wheels
    )
    write_index(Wheelhouse(folder, Target(python, "x86_64", ("any",)), (), ("edgewright==9.9",), rows, "0" * 64))
    return folder


def test_the_build_step_installs_what_the_wheelhouse_lists(tmp_path: Path) -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheels = wheelhouse(tmp_path / "wheels", python)
    command = [sys.executable, str(DOCKER / "install.py")]
    subprocess.run([*command, str(wheels), str(tmp_path / "env")], check=True, capture_output=True)
    seen = [str(tmp_path / "env/bin/python"), "-c", "import dep, edgewright; print(edgewright.VERSION)"]
    assert subprocess.run(seen, capture_output=True, text=True, check=True).stdout == "9.9\n"
    assert not list((tmp_path / "env").glob("lib/*/site-packages/pip"))

    def refused(folder: Path) -> str:
        done = subprocess.run(
            [*command, str(folder), str(tmp_path / "no")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert not (tmp_path / "no").exists()
        return done.stderr

    assert "is no wheelhouse" in refused(tmp_path)
    assert "for Python 3.99" in refused(wheelhouse(tmp_path / "other", "3.99"))
    (wheels / "dep-1.0-py3-none-any.whl").write_bytes(b"altered")
    assert "missing or was altered" in refused(wheels)


CHILD = """
import os, signal, socket, sys, time
def say(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
def leave(*_):
    say("STOPPING=1"); time.sleep(float(sys.argv[2])); sys.exit(5)
signal.signal(signal.SIGTERM, leave)
say("READY=1")
for _ in range(int(sys.argv[1])):
    time.sleep(0.1); say("WATCHDOG=1")
time.sleep(60)
"""


class Watched:
    """``watch.py run`` with a child that feeds the watchdog a number of times."""

    def __init__(self, folder: Path, feeds: int, leave_s: float = 0.0) -> None:
        self.environment = {**os.environ, "EDGEWRIGHT_HEALTH": str(folder / "health"), "EDGEWRIGHT_WATCHDOG_S": "1.5"}
        words = [sys.executable, "-c", CHILD, str(feeds), str(leave_s)]
        command = [sys.executable, str(DOCKER / "watch.py"), "run", "--", *words]
        self.process = subprocess.Popen(command, env=self.environment, stderr=subprocess.PIPE, text=True)

    def healthy(self) -> bool:
        command = [sys.executable, str(DOCKER / "watch.py"), "check"]
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def end(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


def test_a_container_is_healthy_while_frames_flow_and_ends_when_they_stop(tmp_path: Path) -> None:
    watched = Watched(tmp_path, feeds=5)
    wait_until(watched.healthy)
    code, said = watched.end()
    assert code == 70
    assert "nothing heard" in said
    assert not watched.healthy()


def test_stopping_a_container_stops_the_camera_and_waits_for_it(tmp_path: Path) -> None:
    watched = Watched(tmp_path, feeds=1000, leave_s=2.5)  # longer than the watchdog's patience
    wait_until(watched.healthy)
    begun = time.monotonic()
    watched.process.send_signal(signal.SIGTERM)
    assert watched.end()[0] == 5
    assert time.monotonic() - begun > 2.0


def test_the_real_camera_loop_tells_the_watch_that_it_is_ready(tmp_path: Path) -> None:
    bundle = write_detector(tmp_path / "d.edge")
    clip = tmp_path / "clip.avi"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1", str(clip)], check=True
    )
    health = tmp_path / "health"
    witness = f"import socket,sys; sys.path.insert(0, {str(DOCKER)!r}); import watch; wrote = watch._write\n"
    witness += "def told(heard): print('TOLD', file=sys.stderr, flush=True); wrote(heard)\n"
    witness += "watch._write = told; sys.exit(watch.main(sys.argv[1:]))"
    edgewright = [sys.executable, "-m", "edgewright.cli.main"]
    words = ["run", "--", *edgewright, "run", str(bundle), "--source", str(clip), "--json"]
    environment = {**os.environ, "EDGEWRIGHT_HEALTH": str(health)}
    done = subprocess.run(
        [sys.executable, "-c", witness, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "TOLD" in done.stderr
    assert json.loads(done.stdout)["frames_processed"] == 10


def test_a_verb_that_ends_gives_its_own_status(tmp_path: Path) -> None:
    environment = {**os.environ, "EDGEWRIGHT_HEALTH": str(tmp_path / "health")}
    for words, code in ((["true"], 0), (["sh", "-c", "exit 3"], 3), (["sh", "-c", "kill -9 $$"], 137)):
        command = [sys.executable, str(DOCKER / "watch.py"), "run", "--", *words]
        assert subprocess.run(command, env=environment, check=False).returncode == code
