"""Checkpoints on disk: folders that appear whole, hold nothing but numbers and JSON, and are checked when read.

    FOLDER/distil-0123456789abcdef/        one training: its title, and the key of all that determines it
        step-000000120/
            record.json                     state as JSON, size and SHA-256 of each file, and its own SHA-256
            module-0.npz  optimizer-0.npz   named arrays, stored without pickle

The two newest are kept, so that the former one is there until the new one is whole and when that turns out to be
damaged later. A training that has ended leaves one, which holds its result only.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.bundle.arrays import npy_bytes, read_npz
from edgewright.bundle.atomic import atomic_directory
from edgewright.bundle.errors import IntegrityError
from edgewright.optimize.errors import TrainingError
from edgewright.optimize.training.tensors import from_arrays, to_arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

__all__ = ["Checkpoint", "CheckpointFolder", "Parts"]

Parts = dict[str, dict[str, "torch.Tensor"]]

_FORMAT = 1
_FILE_BYTES = 256 << 20  # of arrays in one file; the reader of such files takes at most twice that
_FILE_ARRAYS = 2048
_RECORD_BYTES = 32 << 20
_NAME = re.compile(r"step-(\d{9,12})(-end)?")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What was read.

    Attributes:
        step: Steps done.
        ended: Whether the training was over.
        state: JSON values.
        parts: Tensors by part and name.
    """

    step: int
    ended: bool
    state: dict[str, Any]
    parts: Parts


class CheckpointFolder:
    """The checkpoints of one training."""

    def __init__(self, folder: Path, title: str, key: str, network: str = "") -> None:
        """Writes and reads nothing yet.

        Args:
            folder: Of the checkpoints of any trainings.
            title: Of this one.
            key: SHA-256 over all that determines it.
            network: SHA-256 over the layers of what is trained, whatever their weights.
        """
        self._key, self._network = key, network
        self._damaged: dict[str, str] = {}  # what is wrong with those that were found damaged, by name
        self._slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or "training"
        self.path = folder / f"{self._slug}-{key[:16]}"

    def prepare(self, tensors: int) -> None:
        """Makes the folder, takes away what a killed process left half-written, and looks for room.

        Args:
            tensors: Bytes of one checkpoint.

        Raises:
            TrainingError: It cannot be written to, or two checkpoints will not fit.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for left in self.path.glob(".step-*"):
                shutil.rmtree(left, ignore_errors=True)
            free = shutil.disk_usage(self.path).free
        except OSError as error:
            msg = f"checkpoints cannot be kept in {self.path}: {error.strerror or error}; choose another folder"
            raise TrainingError(msg) from error
        own = sum(file.stat().st_size for file in self.path.glob("*/*"))
        needed = 2 * tensors
        if free + own < needed:
            msg = (
                f"there is no room for checkpoints in {self.path}: two of them take {needed:,} bytes, {free + own:,} are "
                f"free; make room, or choose a folder on another disk"
            )
            raise TrainingError(msg)

    def others(self) -> list[str]:
        """Folders of trainings of the same network with this title that something else determines."""
        return sorted(
            path.name
            for path in self.path.parent.glob(f"{self._slug}-*")
            if path != self.path
            and re.fullmatch(r"[0-9a-f]{16}", path.name[len(self._slug) + 1 :])
            and self._same_network(path)
        )

    def _same_network(self, training: Path) -> bool:
        """Whether another training is one of this network; what cannot be read is none."""
        newest = max(training.glob("step-*/record.json"), default=None)
        if newest is None:
            return False
        try:
            return bool(_read_record(newest).get("network") == self._network)
        except (IntegrityError, OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError):
            return False

    def save(self, step: int, state: Mapping[str, Any], parts: Parts, *, ended: bool = False) -> None:
        """Writes one; until it is whole, the one before stays.

        Args:
            step: Steps done.
            state: JSON values.
            parts: Tensors by part and name.
            ended: Whether the training is over; then the ones before are removed.

        Raises:
            OutputError: It cannot be written; those before it are as they were.
        """
        name = f"step-{step:09d}{'-end' if ended else ''}"
        self._leave([old for old in self._names() if old not in self._damaged][:1])
        with atomic_directory(self.path / name) as folder:
            files, kinds = {}, {}
            for part, tensors in parts.items():
                arrays, kinds[part] = to_arrays(tensors)
                for number, chunk in enumerate(_chunks(arrays)):
                    data = _stored(chunk)
                    file = f"{part}-{number}.npz"
                    (folder / file).write_bytes(data)
                    files[file] = {"part": part, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            record = {"format": _FORMAT, "key": self._key, "step": step, "ended": ended, "state": dict(state)}
            record |= {"network": self._network, "parts": sorted(parts), "files": files, "kinds": kinds}
            text = json.dumps({"record": record, "sha256": _digest(record)}, sort_keys=True)
            (folder / "record.json").write_text(text, encoding="utf-8")
        if ended:
            self._leave([name])

    def load(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest one that is whole.

        Returns:
            It, None without any; and what is wrong with newer ones.
        """
        self._damaged = {}
        for name in self._names():
            found = self._try(name)
            if isinstance(found, Checkpoint):
                return found, list(self._damaged.values())
            self._damaged[name] = f"the checkpoint {self.path / name} is damaged and is not used: {found}"
        return None, list(self._damaged.values())

    def _try(self, name: str) -> Checkpoint | str:
        """One of them, or what is wrong with it."""
        try:
            return self._read(self.path / name)
        except IntegrityError as error:
            return str(error)
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            # Whatever the readers say of what a damaged record holds.
            return f"{type(error).__name__}: {error}"

    def _names(self) -> list[str]:
        """Newest first."""
        if not self.path.is_dir():
            return []
        found = [path.name for path in self.path.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda name: (len(name.removesuffix("-end")), name), reverse=True)

    def _leave(self, kept: Iterable[str]) -> None:
        for name in set(self._names()) - set(kept):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def _read(self, folder: Path) -> Checkpoint:
        record = _read_record(folder / "record.json")
        if record["format"] != _FORMAT or record["key"] != self._key:
            msg = "it belongs to another training, or was written by another edgewright"
            raise IntegrityError(msg)
        parts: Parts = {str(part): {} for part in record["parts"]}
        for name, file in record["files"].items():
            arrays = _read_file(folder, str(name), file)
            kinds = {key: kind for key, kind in record["kinds"][file["part"]].items() if key in arrays}
            parts[file["part"]].update(from_arrays(arrays, kinds))
        return Checkpoint(int(record["step"]), bool(record["ended"]), dict(record["state"]), parts)


def _read_record(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _RECORD_BYTES:
        msg = f"record.json has {path.stat().st_size} bytes; at most {_RECORD_BYTES} are read"
        raise IntegrityError(msg)
    both = json.loads(path.read_bytes())
    record: dict[str, Any] = both["record"]
    if both["sha256"] != _digest(record):
        msg = "record.json is not what was written"
        raise IntegrityError(msg)
    return record


def _read_file(folder: Path, name: str, file: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    if not re.fullmatch(r"[a-z]+-\d+\.npz", name):
        msg = f"record.json names the file {name}"
        raise IntegrityError(msg)
    path = folder / name
    data = path.read_bytes() if path.stat().st_size == file["bytes"] else b""
    if hashlib.sha256(data).hexdigest() != file["sha256"]:
        msg = f"{name} is not what was written"
        raise IntegrityError(msg)
    return read_npz(data, name)


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _chunks(arrays: Mapping[str, NDArray[Any]]) -> Iterable[dict[str, NDArray[Any]]]:
    chunk: dict[str, NDArray[Any]] = {}
    size = 0
    for name, array in arrays.items():
        if chunk and (size + array.nbytes > _FILE_BYTES or len(chunk) == _FILE_ARRAYS):
            yield chunk
            chunk, size = {}, 0
        chunk[name] = array
        size += array.nbytes
    if chunk:
        yield chunk


def _stored(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An ``.npz`` file as it stands: weights hardly shrink, and packing them would hold up the training."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)), npy_bytes(array))
    return buffer.getvalue()
