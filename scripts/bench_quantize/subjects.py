"""The networks of the bench, and which pictures serve what.

Calibration, selection and report pictures are disjoint: frames of other numbers, or crops of other photographs.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench_quantize.pictures import CROPS_PER_PHOTO, crop_folders, fashion_folders
from edgewright.bundle.arrays import npy_bytes
from edgewright.bundle.atomic import write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NAMES", "ROOT", "Subject", "make_subject"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Subject:
    """One network with its pictures.

    Attributes:
        name: Short name.
        title: For the table.
        model: As ``edgewright optimize`` takes it.
        weights: For a factory.
        spec: TOML for an ``.onnx`` detector.
        calibrate: Source of calibration pictures.
        select: Source of pictures that choose among candidates.
        report: Source of pictures that are reported on.
        labels: Label file; for a detector its pictures are others than ``report``, for a classifier the same.
        images: Source of the labelled pictures.
        block: Neighbouring report pictures that intervals take together; None follows the source.
    """

    name: str
    title: str
    model: str
    calibrate: str
    select: str
    report: str
    weights: Path | None = None
    spec: Path | None = None
    labels: Path | None = None
    images: str | None = None
    block: int | None = None

    @property
    def is_factory(self) -> bool:
        """Whether it is a PyTorch network."""
        return self.weights is not None


def make_subject(name: str, samples: Path, work: Path) -> Subject:
    """Fetches or makes whatever the network needs.

    Args:
        name: One of ``NAMES``.
        samples: Cache folder of ``scripts/samples``.
        work: Folder for pictures made here.
    """
    groups, make = _SUBJECTS[name]
    command = [sys.executable, str(ROOT / "scripts/samples"), "--cache", str(samples), *groups]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return make(samples, work)


def _person(samples: Path, _work: Path) -> Subject:
    clip = str(samples / "vtest.avi")
    return Subject(
        name="person",
        title="person detector (SSDLite-MobileNetV2)",
        model="examples.person.model:factory",
        weights=samples / "frozen_inference_graph.pb",
        calibrate=f"{clip}#1::16",
        select=f"{clip}#5::8",
        report=f"{clip}#3::4",
        labels=ROOT / "examples/person/vtest_person_dev.json",
        images=clip,
    )


def _photographs(samples: Path, work: Path) -> dict[str, str]:
    photos = sorted([*(samples / "photos").iterdir(), *(samples / "calibration").iterdir()], key=lambda p: p.name)
    return crop_folders(photos, work / "crops")


def _mobilenet(samples: Path, work: Path) -> Subject:
    crops = _photographs(samples, work)
    return Subject(
        name="mobilenet",
        title="MobileNetV2",
        model="examples.classifier.model:factory",
        weights=samples / "mobilenet_v2-b0353104.pth",
        calibrate=crops["calibrate"],
        select=crops["select"],
        report=crops["report"],
        block=CROPS_PER_PHOTO,
    )


def _efficientnet(samples: Path, work: Path) -> Subject:
    crops = _photographs(samples, work)
    return Subject(
        name="efficientnet",
        title="EfficientNet-Lite0",
        model="examples.efficientnet.model:factory",
        weights=samples / "efficientnet-lite0-57934424.pth",
        calibrate=crops["calibrate"],
        select=crops["select"],
        report=crops["report"],
        block=CROPS_PER_PHOTO,
    )


def _face(samples: Path, work: Path) -> Subject:
    face_anchors = importlib.import_module("examples.face.anchors").face_anchors
    folder = work / "face"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "examples/face/spec.toml", folder)
    write_bytes(folder / "anchors.npy", npy_bytes(face_anchors(320, 320)))
    clip = str(samples / "carphone_pristine.mp4")
    return Subject(
        name="face",
        title="face detector (RetinaFace, MobileNet-0.25)",
        model=str(samples / "retinaface.onnx"),
        spec=folder / "spec.toml",
        calibrate=f"{clip}#0::4",
        select=f"{clip}#2::4",
        report=f"{clip}#1::2",
    )


def _fashion(samples: Path, work: Path) -> Subject:
    weights = work / "fashion" / "weights.npz"
    command = [
        sys.executable,
        "-m",
        "examples.fashion.train",
        "--data",
        str(samples / "fashion"),
        "--out",
        str(weights),
    ]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    folders = fashion_folders(samples / "fashion", work / "fashion")
    return Subject(
        name="fashion",
        title="depthwise net on Fashion-MNIST",
        model="examples.fashion.model:factory",
        weights=weights,
        calibrate=folders["calibrate"],
        select=folders["select"],
        report=folders["report"],
        labels=Path(folders["labels"]),
        images=folders["report"],
    )


_SUBJECTS: dict[str, tuple[list[str], Callable[[Path, Path], Subject]]] = {
    "person": (["person"], _person),
    "mobilenet": (["classifier"], _mobilenet),
    "efficientnet": (["efficientnet"], _efficientnet),
    "face": (["face"], _face),
    "fashion": (["fashion"], _fashion),
}
NAMES = tuple(_SUBJECTS)
