"""TFLite variants from frame to answer: NHWC, integers in and out, the same detections as ONNX."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from bundles import picture
from tflite_models import both_formats_parts, int8_detector_tflite

from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.cli.main import main
from edgewright.runtime.backends import choice
from edgewright.runtime.errors import ModelMismatchError
from edgewright.runtime.session import first_runnable, open_session
from edgewright.runtime.types import Detections
from edgewright.runtime.verify import verify_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.bundle.manifest import Variant


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("both") / "both.edge"
    write_bundle(target, *both_formats_parts())
    return target


def test_every_variant_finds_the_same_boxes(both: Path) -> None:
    with open_bundle(both) as bundle:
        sessions = [open_session(bundle, variant.name) for variant in bundle.manifest.variants]
    assert len(sessions) == 3
    for seed in range(6):
        image = picture(seed, 96, 128)
        wanted, *others = [live.infer(image) for live in sessions]
        assert isinstance(wanted, Detections)
        assert len(wanted) == 1
        for found in others:
            assert isinstance(found, Detections)
            np.testing.assert_allclose(found.boxes, wanted.boxes, atol=1e-3)
            np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-3)


def test_an_integer_variant_sees_integers_and_answers_in_them(both: Path) -> None:
    with open_bundle(both) as bundle:
        live = open_session(bundle, "int8-tflite")
        floats = open_session(bundle, "float32-onnx")
    raw, exact = live.raw(picture(3)), floats.raw(picture(3))
    assert {value.dtype.name for value in raw.values()} == {"int8"}
    step = 20 / 255
    np.testing.assert_allclose(raw["scores"] * step, exact["scores"], atol=1.5 * step)


def test_the_engine_is_told(both: Path) -> None:
    with open_bundle(both) as bundle:
        assert open_session(bundle, "float32-onnx").engine.startswith("onnxruntime ")
        assert open_session(bundle, "int8-tflite").engine.startswith("LiteRT ")


def lies(variant: Variant) -> dict[str, Variant]:
    (image,), (boxes, scores) = variant.inputs, variant.outputs
    return {
        "has tensor 'image'": replace(variant, inputs=(replace(image, dtype="float32", scale=None, zero_point=None),)),
        "tensor 'image' has scale": replace(variant, inputs=(replace(image, scale=0.5, zero_point=0),)),
        "tensor 'boxes' has scale": replace(variant, outputs=(replace(boxes, zero_point=7), scores)),
        "tensor 'scores' has scale": replace(variant, outputs=(boxes, replace(scores, scale=None, zero_point=None))),
    }


def test_a_manifest_that_reads_the_integers_otherwise_is_refused(tmp_path: Path) -> None:
    manifest, payload = both_formats_parts()
    others, variant = manifest.variants[:2], manifest.variants[2]
    assert variant.sha256 == sha256_hex(int8_detector_tflite())
    for index, (message, lie) in enumerate(lies(variant).items()):
        path = tmp_path / f"{index}.edge"
        write_bundle(path, replace(manifest, variants=(*others, lie)), payload)
        with open_bundle(path) as bundle, pytest.raises(ModelMismatchError, match=message):
            open_session(bundle, variant.name)


def test_a_bundle_of_both_formats_is_verified_on_both_engines(both: Path) -> None:
    report = verify_bundle(both)
    assert report.ok
    assert len(report.checks) == 6
    assert report.skipped == {}
    assert [engine.split()[0] for engine in report.engines.values()] == ["onnxruntime", "LiteRT", "LiteRT"]


def test_a_device_with_one_engine_runs_and_verifies_what_it_can(
    both: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = choice.importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else there(name))
    with open_bundle(both) as bundle:
        assert first_runnable(bundle).name == "float32-tflite"
    assert main(["verify", str(both)]) == 0
    shown = capsys.readouterr().out
    assert "float32-onnx was not run: running an .onnx model needs onnxruntime" in shown
    assert "PASS" in shown
