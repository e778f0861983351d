"""The commands that the documentation and the command line's own help show, and how tests run them.

The commands run in a folder that holds what they name. Only what cannot be here is replaced: a camera's address by
that of a real RTSP server, a broker's by that of a real mosquitto, and what would run for ever gets an end. What would
take minutes is cut short: optimizing tries few passes where the command names no effort of its own and sees a short clip
where no labels belong to the long one, Fashion-MNIST is the first part of each of its files, few frames are timed, and of
the longest searches, and of what the demo runs, only the plan is made. A network that other commands load from PyTorch
is one ONNX file here. The doctor looks at what a board has, and once at a workstation.

The pages are in parts, a test file each, so that several processes share the work.
"""

from __future__ import annotations

import importlib
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stand_ins import board_programs, cut_fashion
from wheels import board_index

from edgewright.cli import main as cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])
HELP = "help"
PARTS = {
    # What is done with the bundle that the demo makes.
    "demo": (
        "README.md",
        "docs/how-to/optimize-a-detector.md",
        "docs/how-to/run-a-camera.md",
        "docs/how-to/sync-events.md",
        "examples/person/README.md",
        HELP,
    ),
    # What a very small bundle does as well.
    "boards": (
        "docs/how-to/deploy-to-a-board.md",
        "docs/how-to/measure-on-a-board.md",
        "docs/reference/doctor.md",
        "docs/reference/profiles.md",
        "docs/reference/wheelhouse.md",
    ),
    "accuracy": ("docs/how-to/reach-an-accuracy.md",),
    "formats": ("docs/how-to/two-formats.md", "examples/keras_detector/README.md"),
    "examples": (
        "docs/how-to/bring-your-own-model.md",
        "docs/how-to/make-it-smaller.md",
        "examples/classifier/README.md",
        "examples/efficientnet/README.md",
        "examples/face/README.md",
        "examples/fashion/README.md",
        "examples/keras_classifier/README.md",
    ),
}
"""Part to pages, as their paths from the root."""

# Installing is left out: scripts/install, the wheel test and scripts/footprint do it; scripts/test would call itself.
_RUN = re.compile(r"(edgewright|python|scripts/samples|sqlite3) ")
_LANGUAGES = {"", "console", "sh", "bash"}
# A TOML block that begins with its own name is a file that commands read.
_NAMED_FILE = re.compile(r"```toml\n# (\w+\.toml)\n(.*?)```", re.DOTALL)
# Where the pages' recipes look for the samples. One of them is tried with many searches: it gets a very short clip, and
# the same network as ONNX, which is loaded faster.
_SAMPLES = "~/.cache/edgewright/samples"
_SHORT = {
    "crossing.toml": {
        f"{_SAMPLES}/vtest.avi": "short.avi",
        '"examples.person.model:factory"': '"person.onnx"',
        f'weights = "{_SAMPLES}/frozen_inference_graph.pb"': 'spec = "spec.toml"',
    }
}
# A command with one of these says itself what is tried.
_OWN_SEARCH = ("--effort", "--passes", "recipe.toml")
# The longest search, and what is much like the demo's own run or like another command that is run.
_PLANNED = (
    "--effort best",
    "vtest.avi#1::16",
    "--recipe distil-int8",
    "examples/person/smaller.toml",
    "frozen_inference_graph.pb --calibrate clip.avi",
    "optimize mobilenet_v2.onnx",
    "--agree other-photos/",
)
# Of what is only planned, what the demo loads from PyTorch, as does the README's first command, which is planned too.
_DETECTOR = re.compile(r"examples\.person\.model:factory --weights (\$cache/)?frozen_inference_graph\.pb(?= )")
_AS_FILE = ("--max-drop 8 --min-agreement 93", '"$cache/vtest.avi#3::4" -o person.edge', "--calibrate clip.avi")
# Which of the networks of the examples is behind a file that the pages take for granted.
_NETWORKS = {"mobilenet.onnx": "mobilenet", "person.onnx": "person"}


def shown(text: str) -> Iterator[str]:
    """Commands in fenced or indented code, continuation lines joined, comments cut off."""
    language: str | None = None
    joined = ""
    for line in text.splitlines():
        if line.startswith("```"):
            language = None if language is not None else line[3:].strip()
            continue
        code = language in _LANGUAGES if language is not None else line.startswith("    ")
        if not code:
            continue
        joined += " " + re.split(r"\s{2,}#", line.strip())[0]
        if joined.endswith("\\"):
            joined = joined[:-1]
            continue
        command, joined = joined.strip(), ""
        if _RUN.match(command):
            yield re.sub(r"\s+", " ", command)


def commands() -> dict[str, str]:
    """Every command, each once, and the page that shows it first."""
    found: dict[str, str] = {}
    for page in PAGES:
        for command in shown(page.read_text(encoding="utf-8")):
            found.setdefault(command, str(page.relative_to(ROOT)))
    texts = [cli._EPILOG, *(importlib.import_module(f"edgewright.cli.{verb}").EPILOG for verb in cli.VERBS)]
    for text in texts:
        for command in shown(re.sub(r"(?m)^  (?=\S)", "    ", text)):
            found.setdefault(command, HELP)
    return found


def commands_of(part: str) -> list[str]:
    """Those of one part, in order."""
    return [command for command, page in commands().items() if page in PARTS[part]]


class Place:
    """A folder that holds what commands name; what takes long to make is made when it is first named."""

    def __init__(self, folder: Path, samples: Path, network: Callable[[str], Path]) -> None:
        """Fills ``folder``.

        Args:
            folder: An empty one.
            samples: The real models and pictures.
            network: Gives the folder with ``model.onnx`` and ``anchors.npy`` of a network of the examples.
        """
        self.folder, self._samples, self._network = folder, samples, network
        self._profile = "generic-arm64" if platform.machine() == "aarch64" else "x86-64"
        for name in ("examples", "scripts"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.npy"))
        links = {
            "vtest.avi": samples / "vtest.avi",
            "frozen_inference_graph.pb": samples / "frozen_inference_graph.pb",
            "weights.pt": samples / "frozen_inference_graph.pb",
            "photos": samples / "calibration",
            "other-photos": samples / "photos",
            "classes.txt": samples / "imagenet_classes.txt",
            "street.avi": folder / "clip.avi",
            "clip.mp4": folder / "short.avi",
        }
        for name, target in links.items():
            (folder / name).symlink_to(target)
        for name, frames in (("clip.avi", "160"), ("short.avi", "32")):
            cut = ["-i", str(samples / "vtest.avi"), "-frames:v", frames, "-c", "copy", str(folder / name)]
            subprocess.run(["ffmpeg", "-v", "error", *cut], check=True)
        (folder / "mypackage").mkdir()
        (folder / "board").mkdir()
        source = "from examples.person.model import factory as factory\n"
        (folder / "mypackage/model.py").write_text(source, encoding="utf-8")
        for page in PAGES:
            for name, text in _NAMED_FILE.findall(page.read_text(encoding="utf-8")):
                (folder / name).write_text(self._as_here(name, text), encoding="utf-8")
        config = '[source]\nuri = "clip.avi"\n[model]\nbundle = "person.edge"\n'
        for name in ("device.toml", "gate.toml"):
            (folder / name).write_text(config, encoding="utf-8")
        (folder / "spec.toml").write_text(PERSON_SPEC, encoding="utf-8")
        board_index(folder / "index")
        (folder / "loose.txt").write_text("")

    def run(self, line: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Runs one command line; what commands before it left is there."""
        for old in ("seen.mp4", "run-outbox.db"):
            (self.folder / old).unlink(missing_ok=True)
        for name in _NETWORKS:
            if name in line or (name == "person.onnx" and "crossing" in line):
                self._make(name)
        if "fashion" in line and not (self.folder / "fashion").exists():
            cut_fashion(self._samples / "fashion", self.folder / "fashion")
        programs = Path(sys.executable).parent
        if line.startswith("edgewright doctor --"):
            programs = board_programs(self.folder / "board-python")
        path = f"{programs}:{environment['PATH']}"
        return subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env={**environment, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    def _make(self, name: str) -> None:
        """Puts a network where the commands look for it."""
        made = self._network(_NETWORKS[name])
        for source, target in (("model.onnx", name), ("anchors.npy", "anchors.npy")):
            if (made / source).exists():
                shutil.copy(made / source, self.folder / target)

    def _as_here(self, name: str, text: str) -> str:
        """A recipe of the pages with the paths of this place."""
        for shown_there, here in _SHORT.get(name, {}).items():
            assert shown_there in text
            text = text.replace(shown_there, here)
        return text.replace(_SAMPLES, str(self._samples))

    def runnable(self, command: str, broker: str = "") -> str:
        """The command with what cannot be here replaced, and what takes minutes cut short."""
        if command.startswith("edgewright optimize"):
            planned = any(words in command for words in _PLANNED)
            command += " --runs 20" + ("" if any(words in command for words in _OWN_SEARCH) else " --passes minmax")
            command += " --plan" if planned and "--plan" not in command else ""
            if planned and any(words in command for words in _AS_FILE):
                command = _DETECTOR.sub("person.onnx --spec spec.toml", command)
            # Few pictures to train on, and to judge what was trained.
            command = command.replace("--train pictures/train.npz", "--train 'pictures/train.npz#:200'")
            if "--train" in command and "pictures/test/labels.csv" in command:
                few = "head -201 pictures/test/labels.csv > few.csv"
                command = f"{few} && {command.replace('pictures/test/labels.csv', 'few.csv')}"
            if not planned and "--labels" not in command:
                command = command.replace("$cache/vtest.avi", "clip.avi")
            # A part of the crops, a few of every photograph.
            command = re.sub(r"(crops/(?:calibrate|select|agree))\b", r"\1#::4", command)
        command = command.replace("$cache", str(self._samples)).replace("$data", "fashion")
        command = re.sub(r"'?mqtts?://[^ ']+'?", broker, command)
        command = re.sub(r"^(scripts/samples .*)$", r"\1 --offline", command)
        if "examples.fashion.train_residual" in command:
            command += " --epochs 0.2 --threads 1"
        elif "examples.fashion.train" in command or "examples.keras_classifier.train" in command:
            command += " --pictures 2000"
        if command.startswith(("edgewright deploy ", "edgewright install ")):
            # The board at the other end of the line is a folder here, with this environment for its own.
            command = re.sub(r"^edgewright deploy \S+@\S+", "edgewright install", command)
            command = re.sub(r" --(root|wheelhouse) \S+", "", command).replace("raspberry-pi-5", self._profile)
            command += " --root board" + ("" if "--uninstall" in command else f" --python-env {sys.prefix}")
        if command.startswith("edgewright wheelhouse"):
            # The packages' own index is a hundred megabytes away; these are as small as wheels can be.
            offline = "PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1 PIP_FIND_LINKS=index"
            command = f"{offline} {command} --constraints loose.txt"
        if command.startswith("edgewright bench"):
            command = command.replace("--runs 500", "--runs 80")
            command += " --runs 80" if "--pick" in command else ""
        if command.startswith("edgewright ingest"):
            command += " --until-idle 1" + ("" if "--broker" in command else " --port 0")
        if command.startswith("edgewright run"):
            command += " --outbox run-outbox.db --drain 1" if "--broker" in command else ""
            command += " --duration 3" if "--source 0" in command or "rtsp://" in command else ""
        return command


def check(command: str, line: str, done: subprocess.CompletedProcess[str]) -> None:
    """Fails unless the command did what is shown; what a verdict says of a short clip is not the matter here."""
    judged = command.startswith("edgewright optimize") or re.match("edgewright report .*--(min|max)", command)
    assert done.returncode in ({0, 3, 4} if judged else {0}), f"{line}\n{done.stdout}\n{done.stderr}"


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
