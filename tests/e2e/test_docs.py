"""Every command that the documentation and the command line's own help show is executed.

The commands run in a folder that holds what they name. Only what cannot be here is replaced: a camera's address by
that of a real RTSP server, a broker's by that of a real mosquitto, and what would run for ever gets an end. What would
take minutes is cut short: optimizing tries few passes where the command names no effort of its own, training sees few
pictures, and of the longest searches, and of what the demo has run already, only the plan is made.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from delivery import Mosquitto
from rtsp.camera import rtsp_camera

from edgewright.cli import main as cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Demo

# The first test runs the whole demo in its fixture; the bound is there to end a hang.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])
# Installing is left out: scripts/install, the wheel test and scripts/footprint do it; scripts/test would call itself.
RUN = re.compile(r"(edgewright|python|scripts/samples|sqlite3) ")
LANGUAGES = {"", "console", "sh", "bash"}
# A TOML block that begins with its own name is a file that commands read.
NAMED_FILE = re.compile(r"```toml\n# (\w+\.toml)\n(.*?)```", re.DOTALL)
# Where the pages' recipes look for the samples. One of them is tried with many searches: it gets a short clip, and the
# same network as ONNX, which is loaded faster.
SAMPLES = "~/.cache/edgewright/samples"
SHORT = {
    "crossing.toml": {
        f"{SAMPLES}/vtest.avi": "clip.avi",
        '"examples.person.model:factory"': '"person.onnx"',
        f'weights = "{SAMPLES}/frozen_inference_graph.pb"': 'spec = "spec.toml"',
    }
}
# A command with one of these says itself what is tried.
OWN_SEARCH = ("--effort", "--passes", "recipe.toml")
# The longest search, and the slices of the demo's own run.
PLANNED = ("--effort best", "vtest.avi#1::16")


def shown(text: str) -> Iterator[str]:
    """Commands in fenced or indented code, continuation lines joined, comments cut off."""
    language: str | None = None
    joined = ""
    for line in text.splitlines():
        if line.startswith("```"):
            language = None if language is not None else line[3:].strip()
            continue
        code = language in LANGUAGES if language is not None else line.startswith("    ")
        if not code:
            continue
        joined += " " + re.split(r"\s{2,}#", line.strip())[0]
        if joined.endswith("\\"):
            joined = joined[:-1]
            continue
        command, joined = joined.strip(), ""
        if RUN.match(command):
            yield re.sub(r"\s+", " ", command)


def from_help() -> Iterator[str]:
    texts = [cli._EPILOG, *(importlib.import_module(f"edgewright.cli.{verb}").EPILOG for verb in cli.VERBS)]
    for text in texts:
        yield from shown(re.sub(r"(?m)^  (?=\S)", "    ", text))


def commands() -> list[str]:
    found = [command for page in PAGES for command in shown(page.read_text(encoding="utf-8"))]
    return list(dict.fromkeys([*found, *from_help()]))


def test_a_page_that_uses_samples_fetches_them_first() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        used = re.search(r"\$cache|\$data|\.cache/edgewright/samples|vtest\.avi|carphone", text)
        fetched = text.find("scripts/samples")
        assert used is None or 0 <= fetched <= used.start() or page.parent.name in {"adr", "reference"}, page


def test_a_page_that_uses_the_examples_says_where_to_run() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if any("examples." in command for command in shown(text)):
            assert re.search(r"root of (the|a) (repository|checkout)", text), page


def test_nothing_shown_is_forgotten() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in [*PAGES, ROOT / "CONTRIBUTING.md"])
    for script in sorted(set(re.findall(r"(?m)^\s*(scripts/\w+)", text))):
        assert os.access(ROOT / script, os.X_OK), script
    assert len(commands()) >= 20
    assert all(any(verb in command for command in commands()) for verb in cli.VERBS)


@pytest.fixture(scope="module")
def place(demo: Demo, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    for name in ("examples", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.npy"))
    for name in ("vtest.avi", "frozen_inference_graph.pb"):
        (folder / name).symlink_to(samples / name)
    short = ["-frames:v", "160", "-c", "copy"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(samples / "vtest.avi"), *short, str(folder / "clip.avi")], check=True
    )
    (folder / "street.avi").symlink_to(folder / "clip.avi")
    (folder / "clip.mp4").symlink_to(folder / "clip.avi")
    (folder / "photos").symlink_to(samples / "calibration")
    (folder / "other-photos").symlink_to(samples / "photos")
    (folder / "classes.txt").symlink_to(samples / "imagenet_classes.txt")
    (folder / "weights.pt").symlink_to(samples / "frozen_inference_graph.pb")
    (folder / "mypackage").mkdir()
    (folder / "mypackage/model.py").write_text(
        "from examples.person.model import factory as factory\n", encoding="utf-8"
    )
    shutil.copy(demo.out / "person.edge", folder / "person.edge")
    for page in PAGES:
        for name, text in NAMED_FILE.findall(page.read_text(encoding="utf-8")):
            (folder / name).write_text(as_here(name, text, samples), encoding="utf-8")
    config = '[source]\nuri = "clip.avi"\n[model]\nbundle = "person.edge"\n'
    for name in ("device.toml", "gate.toml"):
        (folder / name).write_text(config, encoding="utf-8")
    make = [
        "from pathlib import Path",
        "from edgewright.optimize.sources import load_source",
        f"source = load_source('examples.classifier.model:factory', weights=Path({str(samples / 'mobilenet_v2-b0353104.pth')!r}))",
        "Path('mobilenet.onnx').write_bytes(source.model)",
        "source = load_source('examples.person.model:factory', weights=Path('frozen_inference_graph.pb'))",
        "Path('person.onnx').write_bytes(source.model)",
        "import numpy as np; (anchors,) = source.spec.arrays.values(); np.save('anchors.npy', anchors)",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(make)], cwd=folder, check=True)
    (folder / "spec.toml").write_text(PERSON_SPEC, encoding="utf-8")
    return folder


def as_here(name: str, text: str, samples: Path) -> str:
    """A recipe of the pages with the paths of this place."""
    for shown_there, here in SHORT.get(name, {}).items():
        assert shown_there in text
        text = text.replace(shown_there, here)
    return text.replace(SAMPLES, str(samples))


PERSON_SPEC = """
[model]
name = "person"
task = "detect"
labels = ["person"]
[preprocess]
resize = "stretch"
width = 300
height = 300
scale = 0.00784313725
mean = [1.0, 1.0, 1.0]
[decode]
head = "ssd"
boxes = "box_codes"
scores = "class_logits"
anchors = "anchors.npy"
order = "yxhw"
iou_threshold = 0.6
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path_factory.mktemp("broker")).start()
    yield mosquitto
    mosquitto.kill()


def runnable(command: str, samples: Path, broker: Mosquitto) -> str:
    """The command with what cannot be here replaced."""
    command = command.replace("$cache", str(samples)).replace("$data", str(samples / "fashion"))
    command = re.sub(r"'?mqtts?://[^ ']+'?", broker.url, command)
    command = re.sub(r"^(scripts/samples .*)$", r"\1 --offline", command)
    if command.startswith("edgewright optimize"):
        command += " --runs 40" + ("" if any(words in command for words in OWN_SEARCH) else " --passes minmax")
        command += " --plan" if any(words in command for words in PLANNED) and "--plan" not in command else ""
    if "examples.fashion.train" in command or "examples.keras_classifier.train" in command:
        command += " --pictures 2000"
    if command.startswith("edgewright ingest"):
        command += " --until-idle 1" + ("" if "--broker" in command else " --port 0")
    if command.startswith("edgewright run"):
        command += " --outbox run-outbox.db --drain 1" if "--broker" in command else ""
        command += " --duration 3" if "--source 0" in command or "rtsp://" in command else ""
    return command


@pytest.mark.parametrize("command", commands())
def test_the_command_works(
    command: str,
    demo: Demo,
    place: Path,
    samples: Path,
    broker: Mosquitto,
    monkeypatch: pytest.MonkeyPatch,
    unmeasured: dict[str, str],
) -> None:
    line = runnable(command, samples, broker)
    # The demo's bundle, which has all that is shown of one: commands before may have written another of that name.
    shutil.copy(demo.out / "person.edge", place / "person.edge")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if "rtsp://" in line:
        with rtsp_camera() as camera:
            done = execute(re.sub(r"rtsp://\S+", camera.url, line), place, None)
    else:
        # What optimizing covers, its own tests cover in full.
        done = execute(line, place, unmeasured if line.startswith("edgewright optimize") else None)
    # What a verdict says of a short clip is not this test's matter.
    judged = command.startswith("edgewright optimize") or re.match("edgewright report .*--(min|max)", command)
    fine = {0, 3, 4} if judged else {0}
    assert done.returncode in fine, f"{line}\n{done.stdout}\n{done.stderr}"


def execute(line: str, folder: Path, environment: dict[str, str] | None) -> subprocess.CompletedProcess[str]:
    for old in ("seen.mp4", "run-outbox.db"):
        (folder / old).unlink(missing_ok=True)
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
