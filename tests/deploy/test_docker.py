"""The Dockerfiles as far as that goes without Docker; what the images run is really run.

No image is built here: docker/README.md says so.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundles import write_detector
from delivery import wait_until
from wheels import empty_wheel

from edgewright.deploy.wheel_index import Wheel, Wheelhouse, write_index
from edgewright.deploy.wheel_target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

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


CHILD = """#!{python}
import os, pathlib, signal, socket, sys, time

def say(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])

starts = pathlib.Path({folder!r}, "starts")
with starts.open("a") as file:
    file.write("x")
number = len(starts.read_text())
{story}
"""
FED = """
def leave(*_):
    say("STOPPING=1")
    time.sleep(1)
    sys.exit(5)
signal.signal(signal.SIGTERM, leave)
say("READY=1")
while True:
    time.sleep(0.05)
    say("WATCHDOG=1")
"""


@pytest.fixture(scope="module")
def watch() -> Iterator[ModuleType]:
    """``docker/watch.py``, imported."""
    found = importlib.util.spec_from_file_location("docker_watch", DOCKER / "watch.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, found.name, module)  # dataclasses look their module up
        found.loader.exec_module(module)
        yield module


class Watched:
    """What stands for ``edgewright``, under the watch, in this process."""

    def __init__(self, watch: ModuleType, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self._watch, self._folder, self._capfd = watch, folder, capfd

    def run(
        self, story: str, *words: str, clock: Callable[[], float] = time.monotonic, **limits: Any
    ) -> tuple[int, str]:
        """Status and messages; every limit that is not named is out of reach."""
        program = self._folder / "edgewright"
        program.write_text(CHILD.format(python=sys.executable, folder=str(self._folder), story=story))
        program.chmod(0o755)
        far = {"watchdog_s": 1e3, "start_s": 1e3, "stop_s": 1e3, "abort_s": 1e3, "restart_s": 0.0, "within_s": 1e6}
        patience = self._watch.Limits(**(far | limits))
        command = [str(program), *(words or ("run",))]
        code = self._watch.Watch(command, self._folder / "health", patience, clock).run()
        return code, self._capfd.readouterr().err

    @property
    def starts(self) -> int:
        return len((self._folder / "starts").read_text())


@pytest.fixture
def watched(watch: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Watched:
    return Watched(watch, tmp_path, capfd)


def test_a_command_that_falls_silent_is_ended(watched: Watched) -> None:
    code, said = watched.run("say('READY=1'); time.sleep(60)", watchdog_s=0.3, starts=1)
    assert code == 70
    assert "nothing heard of it for 0.3 s" in said


def test_what_does_not_even_heed_the_abort_is_killed(watched: Watched) -> None:
    story = "signal.signal(signal.SIGABRT, signal.SIG_IGN); say('READY=1'); time.sleep(60)"
    assert watched.run(story, watchdog_s=0.3, abort_s=0.1, starts=1)[0] == 70


def test_before_it_is_ready_the_watchdog_does_not_count(watched: Watched) -> None:
    assert watched.run("time.sleep(0.6)", watchdog_s=0.1)[0] == 0


def test_a_service_that_is_never_ready_is_ended(watched: Watched) -> None:
    code, said = watched.run("say('WATCHDOG=1'); time.sleep(60)", start_s=0.3, starts=1)
    assert code == 70
    assert "it was not ready within 0.3 s" in said


def test_another_verb_takes_as_long_as_it_takes_and_runs_once(watched: Watched) -> None:
    assert watched.run("time.sleep(0.6); sys.exit(3)", "verify", start_s=0.1)[0] == 3
    assert watched.starts == 1


def test_once_ready_the_time_to_start_does_not_count(watched: Watched, tmp_path: Path) -> None:
    ready = tmp_path / "health/heard"
    story = f"say('READY=1')\nwhile not os.path.exists({str(ready)!r}): time.sleep(0.05)\ntime.sleep(0.6)"
    code, _ = watched.run(story, start_s=100.0, clock=lambda: 500.0 * ready.exists())
    assert (code, watched.starts) == (0, 1)


def test_who_is_stopping_gets_a_while(watched: Watched) -> None:
    assert watched.run("say('READY=1\\nSTOPPING=1'); time.sleep(0.6)", watchdog_s=0.1)[0] == 0


def test_who_never_comes_to_stop_is_ended(watched: Watched) -> None:
    code, said = watched.run("say('READY=1'); say('STOPPING=1'); time.sleep(60)", stop_s=0.3, starts=1)
    assert code == 70
    assert "did not end within 0.3 s after it began to stop" in said


def test_what_fails_is_started_anew_until_it_lasts(watched: Watched) -> None:
    code, said = watched.run("sys.exit(0 if number == 3 else 4)", starts=5)
    assert (code, watched.starts) == (0, 3)
    assert said.count("it is started anew") == 2


def test_what_fails_too_often_is_given_up(watched: Watched) -> None:
    code, said = watched.run("sys.exit(4)", starts=3)
    assert (code, watched.starts) == (4, 3)
    assert "started 3 times within 1e+06 s" in said
    assert "status 4" in said
    assert "the container ends" in said


def test_failures_of_long_ago_do_not_count(watched: Watched) -> None:
    assert watched.run("sys.exit(0 if number == 6 else 4)", starts=2, within_s=0.0)[0] == 0
    assert watched.starts == 6


def test_a_silent_service_is_started_anew(watched: Watched) -> None:
    story = "say('READY=1')\nif number == 2: sys.exit(0)\ntime.sleep(60)"
    code, _ = watched.run(story, watchdog_s=0.3)
    assert (code, watched.starts) == (0, 2)


def test_a_command_that_is_not_there_is_told(
    watch: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert watch.Watch([str(tmp_path / "no"), "verify"], tmp_path, watch.Limits()).run() == 127
    assert "is it in the image?" in capfd.readouterr().err


def test_limits_come_from_the_image(watch: ModuleType) -> None:
    limits = watch.Limits.told({"EDGEWRIGHT_START_S": "1800", "EDGEWRIGHT_WATCHDOG_S": "90"})
    assert (limits.start_s, limits.watchdog_s, limits.stop_s) == (1800.0, 90.0, 30.0)
    jetson = (DOCKER / "jetson.Dockerfile").read_text(encoding="utf-8")
    assert "ENV EDGEWRIGHT_START_S=1800" in jetson


def test_a_container_is_healthy_while_frames_flow_and_a_stop_waits_for_the_camera(tmp_path: Path) -> None:
    program = tmp_path / "edgewright"
    program.write_text(CHILD.format(python=sys.executable, folder=str(tmp_path), story=FED))
    program.chmod(0o755)
    environment = {**os.environ, "EDGEWRIGHT_HEALTH": str(tmp_path / "health"), "EDGEWRIGHT_WATCHDOG_S": "60"}
    command = [sys.executable, str(DOCKER / "watch.py")]

    def healthy() -> bool:
        done = subprocess.run([*command, "check"], env=environment, capture_output=True, check=False)
        return done.returncode == 0

    assert not healthy()
    with subprocess.Popen([*command, "run", "--", str(program), "run"], env=environment) as process:
        wait_until(healthy)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 5  # which is no failure to be mended by a start
    assert not healthy()
    assert (tmp_path / "starts").read_text() == "x"


def test_the_real_camera_loop_tells_the_watch_that_it_is_ready(tmp_path: Path) -> None:
    bundle = write_detector(tmp_path / "d.edge")
    clip = tmp_path / "clip.avi"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1", str(clip)], check=True
    )
    health = tmp_path / "health"
    witness = f"import socket,sys; sys.path.insert(0, {str(DOCKER)!r}); import watch; wrote = watch.Watch._write\n"
    witness += "def told(self, heard): print('TOLD', file=sys.stderr, flush=True); wrote(self, heard)\n"
    witness += "watch.Watch._write = told; sys.exit(watch.main(sys.argv[1:]))"
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
