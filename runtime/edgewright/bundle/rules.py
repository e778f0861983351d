"""Everything a manifest must fulfil beyond its types. Rules only, no I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgewright.bundle.digest import is_sha256_hex
from edgewright.bundle.errors import ManifestError
from edgewright.bundle.manifest import ResizeMode, SsdDecode, Task

if TYPE_CHECKING:
    from edgewright.bundle.manifest import FileEntry, Golden, Manifest, Preprocess, Variant

__all__ = ["DIGEST_FILE", "MANIFEST_FILE", "MAX_FILES", "check_manifest", "check_path"]

MANIFEST_FILE = "manifest.json"
DIGEST_FILE = "manifest.json.sha256"

MAX_FILES = 1000

_MAX_PATH = 200
_MAX_SIDE = 16384
_PATH_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+/")
_NAME_CHARACTERS = _PATH_CHARACTERS - {"/", "+"}


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ManifestError(message)


def check_path(path: str) -> None:
    """Refuses a path that could leave the bundle or mean two things on two systems.

    Raises:
        ManifestError: Absolute, empty, too long, with ``..`` or ``.`` parts, backslashes or odd characters.
    """
    seen = repr(path[:_MAX_PATH])
    _require(0 < len(path) <= _MAX_PATH, f"file path {seen} must have 1 to {_MAX_PATH} characters")
    _require(set(path) <= _PATH_CHARACTERS, f"file path {seen} may hold only letters, digits and . _ - + /")
    parts = path.split("/")
    _require(
        all(part not in {"", ".", ".."} for part in parts), f"file path {seen} must be relative, without '.' or '..'"
    )


def check_manifest(manifest: Manifest) -> None:
    """Checks the invariants of the manifest module.

    Raises:
        ManifestError: Naming the field that breaks one.
    """
    _require(bool(manifest.name), "manifest.name must not be empty")
    entries = _check_files(manifest)
    names = [variant.name for variant in manifest.variants]
    _require(bool(names), "manifest.variants must not be empty")
    _require(len(set(names)) == len(names), f"manifest.variants: names must differ, found {names}")
    for variant in manifest.variants:
        _check_variant(variant, entries)
    _check_preprocess(manifest.preprocess)
    _check_decode(manifest, entries)
    if manifest.golden is not None:
        _check_golden(manifest, manifest.golden, entries)


def _check_files(manifest: Manifest) -> dict[str, FileEntry]:
    _require(len(manifest.files) <= MAX_FILES, f"manifest.files lists {len(manifest.files)} files, at most {MAX_FILES}")
    entries: dict[str, FileEntry] = {}
    folded: set[str] = set()
    for entry in manifest.files:
        check_path(entry.path)
        _require(entry.path not in {MANIFEST_FILE, DIGEST_FILE}, f"manifest.files must not list {entry.path}")
        # Two names that differ in case only are one file on some file systems.
        _require(entry.path.lower() not in folded, f"manifest.files lists {entry.path!r} twice")
        folded.add(entry.path.lower())
        _require(entry.bytes >= 0, f"manifest.files: {entry.path!r} has a negative size")
        _require(is_sha256_hex(entry.sha256), f"manifest.files: {entry.path!r} has no valid sha256")
        entries[entry.path] = entry
    return entries


def _check_variant(variant: Variant, entries: dict[str, FileEntry]) -> None:
    where = f"variant {variant.name!r}"
    _require(bool(variant.name) and set(variant.name) <= _NAME_CHARACTERS, f"{where}: a name is letters, digits, . _ -")
    entry = entries.get(variant.file)
    _require(entry is not None, f"{where}: its file {variant.file!r} is not in manifest.files")
    if entry is not None:
        same = (entry.bytes, entry.sha256) == (variant.bytes, variant.sha256)
        _require(same, f"{where}: size or sha256 differ from those in manifest.files")
    _require(bool(variant.inputs) and bool(variant.outputs), f"{where}: inputs and outputs must not be empty")
    for tensor in variant.inputs + variant.outputs:
        sizes = all(0 < size <= 2**31 for size in tensor.shape)
        _require(sizes, f"{where}: tensor {tensor.name!r} has sizes {tensor.shape}, all must be positive")
        _require(
            (tensor.scale is None) == (tensor.zero_point is None),
            f"{where}: tensor {tensor.name!r} needs scale and zero_point together",
        )
        _require(tensor.scale is None or tensor.scale > 0, f"{where}: tensor {tensor.name!r}: scale must be positive")


def _check_golden(manifest: Manifest, golden: Golden, entries: dict[str, FileEntry]) -> None:
    _require(golden.file in entries, f"manifest.golden.file {golden.file!r} is not in manifest.files")
    _require(golden.count >= 1, f"manifest.golden.count {golden.count} must be at least 1")
    wanted = {f"{variant.name}/{output.name}" for variant in manifest.variants for output in variant.outputs}
    odd = sorted(wanted ^ set(golden.tolerance))
    _require(not odd, f"manifest.golden.tolerance must name every variant/output just once; look at {odd[:1]}")
    for key, tolerance in golden.tolerance.items():
        _require(tolerance >= 0, f"manifest.golden.tolerance of {key} must not be negative")


def _check_preprocess(pre: Preprocess) -> None:
    _require(
        0 < pre.width <= _MAX_SIDE and 0 < pre.height <= _MAX_SIDE,
        f"preprocess: size {pre.width}x{pre.height} must be within 1..{_MAX_SIDE}",
    )
    _require(all(s != 0 and math.isfinite(s) for s in pre.std), f"preprocess.std {pre.std} must not hold zeros")
    _require(0 <= pre.pad_value <= 255, f"preprocess.pad_value {pre.pad_value} must be within 0..255")
    if pre.resize is ResizeMode.CROP:
        least = max(pre.width, pre.height)
        fits = pre.crop_from is not None and least <= pre.crop_from <= _MAX_SIDE
        _require(fits, f"preprocess.crop_from {pre.crop_from} must be at least {least} when resize is 'crop'")


def _check_decode(manifest: Manifest, entries: dict[str, FileEntry]) -> None:
    decode = manifest.decode
    needed = [decode.scores]
    if isinstance(decode, SsdDecode):
        _require(manifest.task is Task.DETECT, "decode.head 'ssd' needs task 'detect'")
        needed.append(decode.boxes)
        _require(decode.anchors in entries, f"decode.anchors {decode.anchors!r} is not in manifest.files")
        _require(0.0 <= decode.score_threshold <= 1.0, "decode.score_threshold must be within 0..1")
        _require(0.0 <= decode.iou_threshold <= 1.0, "decode.iou_threshold must be within 0..1")
        _require(1 <= decode.max_detections <= 100_000, "decode.max_detections must be within 1..100000")
    else:
        _require(manifest.task is Task.CLASSIFY, "decode.head 'classify' needs task 'classify'")
        _require(decode.top_k >= 1, "decode.top_k must be at least 1")
    for variant in manifest.variants:
        outputs = {tensor.name for tensor in variant.outputs}
        for name in needed:
            _require(name in outputs, f"decode wants output {name!r}, variant {variant.name!r} has {sorted(outputs)}")
