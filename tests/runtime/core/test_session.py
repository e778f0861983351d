"""Frame in, answer out: the path that everything is judged by."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import (
    CLASSIFY,
    DETECT,
    PREPROCESS,
    anchors,
    classifier_onnx,
    classifier_parts,
    detector_onnx,
    detector_parts,
    picture,
    session,
    write_classifier,
    write_detector,
)

from edgewright.bundle.errors import import_problem
from edgewright.bundle.manifest import Format, TensorSpec
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.runtime.backends.onnx import DISABLED_OPTIMIZERS, OnnxBackend
from edgewright.runtime.errors import BackendError, FrameError, ModelMismatchError
from edgewright.runtime.session import Session, open_session
from edgewright.runtime.types import Classification, Detections


def test_a_bright_square_is_found_where_it_is() -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[10:20, 60:80] = 255
    found = session().infer(image)
    assert isinstance(found, Detections)
    np.testing.assert_allclose(found.boxes, [[60, 10, 80, 20]], atol=1e-3)
    assert found.class_ids.tolist() == [0]
    assert found.scores[0] > 0.99


def test_a_lower_threshold_shows_weaker_boxes_best_first() -> None:
    image = np.full((32, 32, 3), 120, np.uint8)
    image[:8, :8] = 140
    strict, open_ = session().infer(image), session().infer(image, score_threshold=0.01)
    assert isinstance(strict, Detections)
    assert isinstance(open_, Detections)
    assert len(strict) == 1
    assert len(open_) == 16
    assert (np.diff(open_.scores) <= 0).all()


def test_two_frames_in_a_row_do_not_share_results() -> None:
    live = session()
    first, second = picture(1), picture(2)
    before = live.infer(first)
    raw = live.raw(first)
    live.infer(second)
    after = live.infer(first)
    assert isinstance(before, Detections)
    assert isinstance(after, Detections)
    np.testing.assert_array_equal(before.boxes, after.boxes)
    np.testing.assert_array_equal(raw["scores"], live.raw(first)["scores"])


def test_a_classifier_names_the_colour(tmp_path: Path) -> None:
    with open_bundle(write_classifier(tmp_path / "c.edge")) as bundle:
        live = open_session(bundle)
        image = np.zeros((10, 10, 3), np.uint8)
        image[..., 0] = 255  # blue in BGR, third channel in RGB
        answer = live.infer(image)
    assert isinstance(answer, Classification)
    assert bundle.manifest.labels[answer.class_ids[0]] == "blue"
    assert answer.scores.sum() == pytest.approx(1, abs=1e-5)
    assert set(live.last_timings_ms) == {"preprocess", "inference", "decode"}
    assert len(live.infer(image, score_threshold=0.5).scores) == 1


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
    ids=["grey", "alpha", "float", "empty"],
)
def test_what_is_no_frame_is_refused(image: np.ndarray) -> None:
    with pytest.raises(FrameError, match="H, W, 3"):
        session().infer(image)


def test_a_non_contiguous_frame_is_fine() -> None:
    image = picture(3, 64, 96)
    live = session()
    a, b = live.infer(image[::2, ::2]), live.infer(np.ascontiguousarray(image[::2, ::2]))
    assert isinstance(a, Detections)
    assert isinstance(b, Detections)
    np.testing.assert_array_equal(a.boxes, b.boxes)


@pytest.mark.parametrize("model", [b"", b"not a model", detector_onnx()[:-40]], ids=["empty", "noise", "truncated"])
def test_a_file_the_engine_refuses(model: bytes) -> None:
    with pytest.raises(BackendError, match="refuses the model"):
        OnnxBackend(model)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"),
            r"not installed; .*edgewright\[onnx\]",
        ),
        (ImportError("libgomp.so.1: cannot open shared object file"), "cannot be loaded: libgomp"),
        (ModuleNotFoundError("No module named 'flatbuffers'", name="flatbuffers"), "cannot be loaded: No module"),
    ],
)
def test_a_missing_engine_and_a_broken_one_read_differently(error: ImportError, message: str) -> None:
    problem = import_problem(error, "onnxruntime", "running an .onnx model", "onnx")
    assert problem.exit_code == 5
    assert re.search(message, str(problem))


def test_engine_options_from_a_bundle_are_not_trusted() -> None:
    OnnxBackend(detector_onnx(), engine={DISABLED_OPTIMIZERS: ["WeightBiasQuantization"]})
    with pytest.raises(BackendError, match="does not know"):
        OnnxBackend(detector_onnx(), engine={"custom_op_library": "/tmp/evil.so"})
    for wrong in ([3], 5, None, "abc"):
        with pytest.raises(BackendError, match="list of names"):
            OnnxBackend(detector_onnx(), engine={DISABLED_OPTIMIZERS: wrong})


def test_feeds_of_the_wrong_shape_are_refused() -> None:
    backend = OnnxBackend(detector_onnx())
    with pytest.raises(BackendError, match="got nothing"):
        backend.run({})
    with pytest.raises(BackendError, match=r"got \(1, 3, 4, 4\)"):
        backend.run({"image": np.zeros((1, 3, 4, 4), np.float32)})


def mismatches() -> list[tuple[str, object, str]]:
    detector, classifier = OnnxBackend(detector_onnx()), OnnxBackend(classifier_onnx())
    arrays = {DETECT.anchors: anchors()}
    short = {DETECT.anchors: anchors()[:5]}
    return [
        ("size", lambda: Session(detector, replace(PREPROCESS, width=16), DETECT, arrays), "preprocessing makes"),
        ("output", lambda: Session(classifier, PREPROCESS, DETECT, arrays), "no output 'boxes'"),
        ("anchors", lambda: Session(detector, PREPROCESS, DETECT, short), "anchors"),
        ("no anchors", lambda: Session(detector, PREPROCESS, DETECT, {DETECT.anchors: anchors()[:0]}), "anchors"),
        ("background", lambda: Session(detector, PREPROCESS, replace(DETECT, background=2), arrays), "background"),
        ("classes", lambda: Session(detector, PREPROCESS, CLASSIFY, {}), "no output 'logits'"),
    ]


@pytest.mark.parametrize("case", mismatches(), ids=lambda c: c[0])
def test_parts_that_do_not_fit(case: tuple[str, object, str]) -> None:
    with pytest.raises(ModelMismatchError, match=case[2]):
        case[1]()  # type: ignore[operator]


def test_a_manifest_that_lies_about_its_model_is_refused(tmp_path: Path) -> None:
    manifest, payload = detector_parts()
    (variant,) = manifest.variants
    lies = [
        replace(variant, inputs=(replace(variant.inputs[0], dtype="uint8"),)),
        replace(variant, outputs=(*variant.outputs[:1], TensorSpec("scores", (1, 8, 4), "float32"))),
    ]
    for i, lie in enumerate(lies):
        path = tmp_path / f"{i}.edge"
        write_bundle(path, replace(manifest, variants=(lie,)), payload)
        with open_bundle(path) as bundle, pytest.raises(ModelMismatchError, match="the manifest says"):
            open_session(bundle)


def test_variants_are_picked_by_name(tmp_path: Path) -> None:
    with open_bundle(write_detector(tmp_path / "d.edge")) as bundle:
        open_session(bundle, "float32-onnx")
        with pytest.raises(ModelMismatchError, match=r"no variant 'int4'; it has float32-onnx"):
            open_session(bundle, "int4")


def test_a_file_of_another_format_than_declared_is_refused(tmp_path: Path) -> None:
    manifest, payload = classifier_parts()
    foreign = replace(manifest.variants[0], format=Format.TFLITE)
    write_bundle(tmp_path / "t.edge", replace(manifest, variants=(foreign,)), payload)
    with open_bundle(tmp_path / "t.edge") as bundle, pytest.raises(BackendError, match="not a TFLite file"):
        open_session(bundle)


def test_a_closed_session_says_so() -> None:
    live = session()
    live.close()
    with pytest.raises(BackendError, match="closed"):
        live.infer(picture())
