"""Which of TensorFlow's formats a path is, and what can be refused before TensorFlow is started.

Nothing here runs anything from the file: sizes, the layout of the archive, and the names of Keras classes.
"""

from __future__ import annotations

import json
import zipfile
from enum import Enum
from typing import TYPE_CHECKING, Any

from edgewright.bundle.digest import sha256_hex, sha256_stream
from edgewright.optimize.errors import ModelError
from edgewright.runtime.backends.tflite_file import read_tflite
from edgewright.runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MAX_BYTES", "TfFormat", "check_file", "digest_of", "format_of"]

MAX_BYTES = 2 << 30
"""Largest file, or sum of a folder's files, that is read."""

_MAX_MEMBERS = 4096
_MAX_CONFIG_BYTES = 64 << 20
_MAX_FILES = 4096
_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
#: These run code or read files that the archive names.
_UNSAFE_LAYERS = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})


class TfFormat(str, Enum):
    """A format that TensorFlow reads; the value is its name in messages."""

    KERAS = "Keras model"
    SAVED_MODEL = "SavedModel"
    FROZEN_GRAPH = "TensorFlow frozen graph"
    TFLITE = "TFLite model"


_SUFFIXES = {".keras": TfFormat.KERAS, ".pb": TfFormat.FROZEN_GRAPH, ".tflite": TfFormat.TFLITE}


def format_of(path: Path) -> TfFormat | None:
    """The format, None where it is none of TensorFlow's.

    Raises:
        ModelError: It is one that is not read, with what to do instead.
    """
    suffix = path.suffix.lower()
    if suffix in {".h5", ".hdf5"}:
        msg = (
            f"{path} is a Keras model of the old HDF5 form, which can hide code; load it where it was made and write "
            "the new form: model.save('MODEL.keras'), or model.export('FOLDER') for a SavedModel"
        )
        raise ModelError(msg)
    if path.name in _GRAPHS:
        msg = f"{path} is one file of a SavedModel; name its folder: {path.parent}"
        raise ModelError(msg)
    if path.is_dir():
        return TfFormat.SAVED_MODEL if any((path / name).is_file() for name in _GRAPHS) else None
    return _SUFFIXES.get(suffix)


def check_file(path: Path, kind: TfFormat) -> None:
    """Refuses what need not be opened to be refused.

    Raises:
        ModelError: Missing, empty, too large, cut short, not what its name says, or holding code.
    """
    if not path.exists():
        msg = f"{path} does not exist; give the path of a {kind.value}"
        raise ModelError(msg)
    size = sum(file.stat().st_size for file in _files(path))
    if size > MAX_BYTES:
        msg = f"{path} has {size} bytes; at most {MAX_BYTES} are read, and edge models are far smaller"
        raise ModelError(msg)
    if not size:
        msg = f"{path} is empty (0 bytes); it was probably not written to the end"
        raise ModelError(msg)
    if kind is TfFormat.KERAS:
        _check_keras(path)
    elif kind is TfFormat.TFLITE:
        _check_lite(path)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and digests of a folder's files."""
    lines = []
    for file in _files(path):
        with file.open("rb") as stream:
            digest = sha256_stream(stream, file.stat().st_size)[0]
        if file == path:
            return digest
        lines.append(f"{digest}  {file.relative_to(path).as_posix()}\n")
    return sha256_hex("".join(lines).encode())


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = []
    for file in sorted(path.rglob("*")):
        if file.is_symlink():
            msg = f"{file} is a link; a SavedModel is read from its own folder only, copy the file there"
            raise ModelError(msg)
        if file.is_file():
            files.append(file)
        if len(files) > _MAX_FILES:
            msg = f"{path} holds more than {_MAX_FILES} files; that is not a SavedModel"
            raise ModelError(msg)
    return files


def _check_lite(path: Path) -> None:
    try:
        custom = read_tflite(path.read_bytes()).custom
    except BackendError as error:
        msg = f"{path}: {error}"
        raise ModelError(msg) from error
    if custom:
        word = "a TensorFlow (flex) operator" if custom[0].startswith("Flex") else "a custom operator"
        msg = (
            f"{path} uses {custom[0]}, {word} that LiteRT on a device does not have; convert the model with builtin "
            "operators only, without its own non-maximum suppression"
        )
        raise ModelError(msg)


def _check_keras(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                parts = member.filename.replace("\\", "/").split("/")
                if member.filename.startswith("/") or ".." in parts or ":" in parts[0]:
                    msg = f"{path}: the archive's member {member.filename!r} points outside of it; do not use this file"
                    raise ModelError(msg)
            total = sum(member.file_size for member in members)
            if total > MAX_BYTES or len(members) > _MAX_MEMBERS:
                msg = (
                    f"{path} unpacks to {total} bytes in {len(members)} members; at most {MAX_BYTES} in {_MAX_MEMBERS}"
                )
                raise ModelError(msg)
            with archive.open("config.json") as stream:
                text = stream.read(_MAX_CONFIG_BYTES + 1)
    except KeyError as error:
        msg = f"{path} is not a .keras file: the archive has no config.json; write it with model.save('MODEL.keras')"
        raise ModelError(msg) from error
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        msg = f"{path} is not a .keras file, or is cut short: {error}; write it again with model.save('MODEL.keras')"
        raise ModelError(msg) from error
    if len(text) > _MAX_CONFIG_BYTES:
        msg = f"{path}: its config.json has more than {_MAX_CONFIG_BYTES} bytes; that is no model's"
        raise ModelError(msg)
    _check_config(path, text)


def _check_config(path: Path, text: bytes) -> None:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"{path}: its config.json is not JSON: {error}"
        raise ModelError(msg) from error
    for entry in _objects(config):
        kind, module, name = entry.get("class_name"), entry.get("module"), _layer_name(entry)
        if kind in _UNSAFE_LAYERS or kind == "__lambda__":
            msg = (
                f"{path}: layer {name!r} is a {kind.strip('_')}, which carries code of its own, so the file is not opened; "
                "rewrite it with ordinary layers or keras.ops, or export a SavedModel: model.export('FOLDER')"
            )
            raise ModelError(msg)
        if isinstance(module, str) and module.partition(".")[0] not in {"keras", "builtins"}:
            msg = (
                f"{path}: layer {name!r} is a {kind} of the module {module!r}, not of Keras; export a SavedModel, which "
                "carries its operations: model.export('FOLDER')"
            )
            raise ModelError(msg)
        if entry.get("registered_name") not in (None, kind) and "module" in entry:
            msg = (
                f"{path}: layer {name!r} is the custom class {entry['registered_name']!r}; export a SavedModel, which "
                "carries its operations: model.export('FOLDER')"
            )
            raise ModelError(msg)


def _layer_name(entry: dict[str, Any]) -> str:
    config = entry.get("config")
    inner = config.get("name") if isinstance(config, dict) else None
    return str(entry.get("name") or inner or entry.get("class_name"))


def _objects(value: object) -> Iterator[dict[str, Any]]:
    """Every object of a JSON document that names a class, without recursion: depth is the file's choice."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            if isinstance(current.get("class_name"), str):
                yield current
            waiting += current.values()
        elif isinstance(current, list):
            waiting += current
