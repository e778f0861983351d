"""The real detectors: their heads keep boxes and scores apart already, and nothing is invented."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgewright.optimize.calibration.choice import RangeMethod
from edgewright.optimize.calibration.collect import RangeCollector
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.heads import mend_heads
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.sensitivity.regions import RegionKind, find_regions
from edgewright.optimize.sources import load_source
from edgewright.optimize.sources.spec_file import load_spec
from edgewright.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from edgewright.optimize.sources import FloatModel

ROOT = Path(__file__).resolve().parents[3]


def refused(*_: Any) -> Any:
    pytest.fail("nothing shares a grid, so nothing is to be tried")


def unmended(source: FloatModel, pictures: str) -> tuple[bytes, tuple[str, ...]]:
    model = prepare_graph(source.model, source.feeds).model
    preprocess, collector, feeds = Preprocessor(source.spec.preprocess, source.inputs[0]), RangeCollector(model), []
    for sample in itertools.islice(open_samples(pictures), 6):
        feeds.append({source.inputs[0].name: preprocess(sample.image)[0].copy()})
        collector.observe(feeds[-1])
    result = mend_heads(model, collector.ranges(RangeMethod.MINMAX), refused, refused, feeds[:2])
    assert (result.remedy, result.findings, result.model) == ("none", (), model)
    return model, tuple(region.name for region in find_regions(model) if region.kind is RegionKind.HEAD)


def test_the_person_detector_needs_no_mending_and_shows_its_heads(person: FloatModel, clip: str) -> None:
    _, heads = unmended(person, f"{clip}#1:90:16")
    assert heads == ("last weights of class_logits", "last weights of box_codes")


def test_the_face_detector_needs_no_mending_and_shows_its_heads(samples: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples/face/spec.toml", tmp_path / "spec.toml")
    command = [sys.executable, "-m", "examples.face.anchors", "320", "320", str(tmp_path / "anchors.npy")]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    source = load_source(str(samples / "retinaface.onnx"), spec=load_spec(tmp_path / "spec.toml"))
    _, heads = unmended(source, str(samples / "vtest.avi") + "#1:90:16")
    assert {name.removeprefix("last weights of ") for name in heads} >= {"loc", "conf"}
