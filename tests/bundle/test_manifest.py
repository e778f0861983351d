"""Manifest text: what is refused, and with which words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from bundles import classifier_parts, detector_parts

from edgewright.bundle.codec import manifest_from_json, manifest_to_json
from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.errors import ManifestError
from edgewright.bundle.manifest import FileEntry, Manifest, ResizeMode


def complete() -> Manifest:
    manifest, payload = detector_parts()
    return replace(manifest, files=tuple(FileEntry(p, len(d), sha256_hex(d)) for p, d in sorted(payload.items())))


def edited(path: str, value: Any) -> str:
    data = json.loads(manifest_to_json(complete()))
    *parents, last = path.split(".")
    here = data
    for key in parents:
        here = here[int(key)] if key.isdecimal() else here[key]
    if value is DELETE:
        del here[last]
    else:
        here[last] = value
    return json.dumps(data)


DELETE = object()
CASES = [
    ("schema_major", "1", "schema_major must be a positive integer"),
    ("schema_major", DELETE, "schema_major"),
    ("name", "", "name must not be empty"),
    ("task", "segment", "one of detect, classify"),
    ("variants", [], "must not be empty"),
    ("variants.0.bytes", 3, "size or sha256 differ"),
    ("variants.0.bytes", True, "must be an integer"),
    ("variants.0.bytes", 1.5, "must be an integer"),
    ("variants.0.name", "../x", "a name is letters"),
    ("variants.0.file", "models/other.onnx", "not in manifest.files"),
    ("variants.0.inputs", [], "must not be empty"),
    ("variants.0.inputs.0.shape", [1, 0, 8, 8], "must be positive"),
    ("variants.0.inputs.0.scale", 0.5, "scale and zero_point together"),
    ("preprocess", DELETE, "manifest.preprocess is missing"),
    ("preprocess.width", 0, "must be within"),
    ("preprocess.width", 10**9, "must be within"),
    ("preprocess.std", [1, 0, 1], "must not hold zeros"),
    ("preprocess.std", [1, 1], "a list of 3"),
    ("preprocess.pad_value", 256, "within 0..255"),
    ("preprocess.resize", "crop", "crop_from"),
    ("decode.head", "yolo9000", "one of classify, ssd"),
    ("decode.boxes", "nope", "wants output 'nope'"),
    ("decode.anchors", "../../etc/passwd", "not in manifest.files"),
    ("decode.score_threshold", 1.5, "within 0..1"),
    ("decode.max_detections", 0, "within 1..100000"),
    ("task", "classify", "needs task 'detect'"),
    ("golden.file", "other.npz", "not in manifest.files"),
    ("labels", ["\ud800"], "printable"),
    ("labels", ["\x1b[2J"], "printable"),
    ("golden.count", -3, "at least 1"),
    ("golden.tolerance", {}, "every variant/output"),
    ("golden.tolerance", {"float32-onnx/boxes": 1, "float32-onnx/scores": -1}, "negative"),
    ("labels", "person", "must be a list"),
    ("labels", [1], "must be a text"),
    ("provenance", [], "must be an object"),
]


@pytest.mark.parametrize(("path", "value", "message"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_what_a_manifest_must_not_say(path: str, value: Any, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        manifest_from_json(edited(path, value))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"schema_major": NaN}', "[" * 100_000, '{"schema_major": 1}', '{"schema_major": 1e999}'],
)
def test_text_that_is_no_manifest(text: str) -> None:
    with pytest.raises(ManifestError):
        manifest_from_json(text)


def test_two_variants_of_one_name_are_refused() -> None:
    manifest = complete()
    with pytest.raises(ManifestError, match="names must differ"):
        manifest_from_json(manifest_to_json(replace(manifest, variants=manifest.variants * 2)))


def test_names_that_differ_in_case_only_are_refused() -> None:
    manifest = complete()
    twin = FileEntry("GOLDEN.npz", 1, "0" * 64)
    with pytest.raises(ManifestError, match="twice"):
        manifest_from_json(manifest_to_json(replace(manifest, files=(*manifest.files, twin))))


def test_round_trips() -> None:
    manifest = complete()
    assert manifest_from_json(manifest_to_json(manifest)) == manifest
    classifier, payload = classifier_parts()
    classifier = replace(
        classifier,
        preprocess=replace(classifier.preprocess, resize=ResizeMode.CROP, crop_from=10),
        files=tuple(FileEntry(p, len(d), sha256_hex(d)) for p, d in payload.items()),
    )
    assert manifest_from_json(manifest_to_json(classifier)) == classifier
