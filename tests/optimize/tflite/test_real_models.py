"""The real detector and the real classifier: LiteRT beside ONNX Runtime on real pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from shared import float_model

from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.evaluate.agreement import box_agreement
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.quantization.writer import QuantizedGraph
from edgewright.optimize.tflite import TfliteForm, Tuning, write_tflite
from edgewright.optimize.variants.uint8_input import uint8_input_form
from edgewright.runtime.backends.onnx import OnnxBackend
from edgewright.runtime.decode import make_decoder
from edgewright.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from edgewright.bundle.manifest import TensorSpec
    from edgewright.optimize.sources import FloatModel

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def frames(clip: str) -> list[Any]:
    return [sample.image for sample in open_samples(f"{clip}#3:795:80")]


@pytest.fixture(scope="module")
def detector(person: FloatModel, clip: str, quantize: Callable[..., Any]) -> tuple[bytes, bytes]:
    """The prepared detector, float and quantized."""
    ready = prepare_graph(person.model, person.feeds).model
    fit = Preprocessor(person.spec.preprocess, person.inputs[0])
    feeds = [{"input": fit(sample.image)[0].copy()} for sample in open_samples(f"{clip}#1:161:32")]
    return ready, quantize(ready, feeds)[0]


def detections(
    person: FloatModel, answers: list[dict[str, Any]], outputs: tuple[TensorSpec, ...], frames: list[Any]
) -> Any:
    fit = Preprocessor(person.spec.preprocess, person.inputs[0])
    decode = make_decoder(
        person.spec.decode, person.spec.preprocess, person.spec.arrays, {spec.name: spec for spec in outputs}
    )
    return [decode(answer, fit(frame)[1], 0.01) for answer, frame in zip(answers, frames, strict=True)]


def test_the_detector_in_float(
    person: FloatModel, detector: tuple[bytes, bytes], frames: list[Any], run_tflite: Run
) -> None:
    ready, _ = detector
    fit, onnx = Preprocessor(person.spec.preprocess, person.inputs[0]), OnnxBackend(ready)
    file = write_tflite(ready, form=TfliteForm.FLOAT32)
    assert [spec.shape for spec in file.outputs] == [spec.shape for spec in person.outputs]
    assert not any("transposition" in note or "PAD" in note for note in file.notes)
    for frame in frames[:3]:
        feeds = {"input": fit(frame)[0]}
        wanted = onnx.run(feeds)
        for name, value in run_tflite(file, feeds).items():
            assert np.abs(value - wanted[name]).max() < 1e-4 * np.abs(wanted[name]).max()


def test_the_detector_in_int8(
    person: FloatModel, detector: tuple[bytes, bytes], frames: list[Any], run_tflite: Run
) -> None:
    _, qdq = detector
    fit, onnx = Preprocessor(person.spec.preprocess, person.inputs[0]), OnnxBackend(qdq)
    file = write_tflite(qdq, form=TfliteForm.INT8)
    assert file.inputs[0].dtype == "int8"
    assert len(file.model) < 1.1 * len(qdq)
    assert any("88 operators with weights compute in INT8" in note for note in file.notes)
    both: tuple[list[Any], list[Any]] = ([], [])
    for frame in frames:
        feeds = {"input": fit(frame)[0].copy()}
        both[0].append({name: value.copy() for name, value in onnx.run(feeds).items()})
        both[1].append(run_tflite(file, feeds))
    for name, floor in (("box_codes", 22), ("class_logits", 30)):
        wanted, seen = (np.stack([answer[name] for answer in side]) for side in both)
        assert 10 * np.log10(np.square(wanted).mean() / np.square(seen - wanted).mean()) > floor
    boxes = [detections(person, side, person.outputs, frames) for side in both]
    agreement = box_agreement(boxes[0], boxes[1], 0.5, block=1)
    assert agreement.float_boxes >= 20
    assert agreement.kept_boxes >= 0.9 * agreement.float_boxes
    assert agreement.agreement_ap50 is not None
    assert agreement.agreement_ap50.value > 0.98


def test_the_detector_that_takes_camera_pictures(
    person: FloatModel, detector: tuple[bytes, bytes], frames: list[Any], run_tflite: Run
) -> None:
    form = uint8_input_form(QuantizedGraph(detector[1]), person.spec.preprocess)
    assert form.inputs is not None
    file = write_tflite(form.model, form=TfliteForm.INT8)
    assert (file.inputs[0].dtype, file.inputs[0].shape, file.inputs[0].scale) == ("uint8", (1, 300, 300, 3), None)
    feeds = {"input": Preprocessor(person.spec.preprocess, form.inputs[0])(frames[0])[0]}
    wanted = OnnxBackend(form.model).run(feeds)
    for name, value in run_tflite(file, feeds).items():
        assert 10 * np.log10(np.square(wanted[name]).mean() / np.square(value - wanted[name]).mean()) > 22


def test_the_detector_written_for_speed_says_the_very_same(
    person: FloatModel, detector: tuple[bytes, bytes], frames: list[Any], run_tflite: Run
) -> None:
    form = uint8_input_form(QuantizedGraph(detector[1]), person.spec.preprocess)
    assert form.inputs is not None
    plain = write_tflite(form.model, form=TfliteForm.INT8)
    quick = write_tflite(form.model, form=TfliteForm.INT8, tuning=Tuning(columns=64, signed_pixels=True))
    assert (quick.inputs[0].dtype, quick.inputs[0].shape, quick.inputs[0].scale) == ("int8", (1, 300, 300, 3), None)
    assert any("2 convolutions take several pixels as one" in note for note in quick.notes)
    fits = [
        Preprocessor(person.spec.preprocess, replace(file.inputs[0], color=form.inputs[0].color))
        for file in (plain, quick)
    ]
    for frame in frames[:3]:
        answers = [run_tflite(file, {"input": fit(frame)[0]}) for file, fit in zip((plain, quick), fits, strict=True)]
        for name, value in answers[0].items():
            np.testing.assert_array_equal(answers[1][name], value)


def test_the_classifier(
    samples: Path,
    tmp_path_factory: pytest.TempPathFactory,
    quantize: Callable[..., Any],
    run_onnx: Run,
    run_tflite: Run,
) -> None:
    source = float_model(tmp_path_factory, samples, "mobilenet")
    fit = Preprocessor(source.spec.preprocess, source.inputs[0])
    name = source.inputs[0].name
    feeds = [{name: fit(sample.image)[0].copy()} for sample in open_samples(str(samples / "photos"))]
    ready = prepare_graph(source.model, feeds[:1]).model
    qdq, ranges, _ = quantize(ready, feeds)
    plain = write_tflite(ready, form=TfliteForm.FLOAT32)
    codes = write_tflite(qdq, form=TfliteForm.INT8, ranges=ranges)
    assert codes.outputs[0].dtype == "int8"
    assert codes.outputs[0].scale is not None
    for feed in feeds[:6]:
        wanted = run_onnx(ready, feed)["logits"]
        assert np.abs(run_tflite(plain, feed)["logits"] - wanted).max() < 1e-4 * np.abs(wanted).max()
        wanted, seen = run_onnx(qdq, feed)["logits"], run_tflite(codes, feed)["logits"]
        assert 10 * np.log10(np.square(wanted).mean() / np.square(seen - wanted).mean()) > 25
        assert wanted.max() - wanted.reshape(-1)[seen.argmax()] < 4 * codes.outputs[0].scale
