"""The optimizer's side of the TensorFlow process: asks it to convert a model and to run it on some inputs."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from edgewright.bundle.arrays import npz_bytes, read_npz
from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

    from edgewright.optimize.sources.tf.formats import TfFormat
    from edgewright.optimize.sources.tf.names import GraphNames

__all__ = ["TfModel", "read_by_tensorflow"]

_TIMEOUT_S = 900.0
_CHUNK = 1 << 16
# TensorFlow silent and on the processor, Keras 3 on TensorFlow, and no answer that hangs on the user's own settings.
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_USE_LEGACY_KERAS": "0",
    "PYTHONWARNINGS": "ignore",
}


@dataclass(eq=False)
class TfModel:
    """A model that TensorFlow has open in its own process.

    Attributes:
        onnx: The ONNX file, channels first where the model was channels last.
        versions: Package name to version of what read and converted it.
        output_names: In the order of the ONNX file.
    """

    onnx: bytes
    versions: Mapping[str, str]
    output_names: tuple[str, ...]
    _where: str
    _talk: _Conversation = field(repr=False)

    def run(self, feeds: Sequence[Mapping[str, NDArray[Any]]], wanted: Sequence[str]) -> list[list[NDArray[Any]]]:
        """The outputs called ``wanted`` as TensorFlow computes them.

        Args:
            feeds: Inputs of the ONNX file, each with one tensor.
            wanted: Some of ``output_names``.

        Raises:
            ModelError: TensorFlow fails on them, or dies.
        """
        folder = self._talk.folder
        pictures = {f"{index:04d}": next(iter(feed.values())) for index, feed in enumerate(feeds)}
        (folder / "feeds.npz").write_bytes(npz_bytes(pictures))
        places = {"feeds": str(folder / "feeds.npz"), "outputs": str(folder / "outputs.npz")}
        self._talk.ask({"do": "run", "where": self._where, **places})
        made = read_npz((folder / "outputs.npz").read_bytes(), "TensorFlow's outputs")
        columns = [self.output_names.index(name) for name in wanted]
        return [[made[f"{key}.{column}"] for column in columns] for key in pictures]


@contextmanager
def read_by_tensorflow(
    path: Path, kind: TfFormat, names: GraphNames, size: tuple[int, int] | None
) -> Iterator[TfModel]:
    """Converts a model, and keeps TensorFlow ready to run it inside the block.

    Args:
        path: The file or folder.
        kind: Its format; the file is checked already.
        names: Where to cut a frozen graph.
        size: (width, height) to fix, None to take the model's own.

    Raises:
        ModelError: The model cannot be used, or TensorFlow died on it.
        MissingExtraError: TensorFlow or tf2onnx is not installed.
    """
    for package in ("tensorflow", "tf2onnx"):
        if find_spec(package) is None:
            what = f"{path} is a {kind.value}, and {package}, which reads it, is not installed"
            raise MissingExtraError(what, "tensorflow")
    where = str(path)
    with (
        tempfile.TemporaryDirectory(prefix="edgewright-tensorflow-") as folder,
        _Conversation(Path(folder), where) as talk,
    ):
        onnx_file = Path(folder) / "model.onnx"
        asked = {
            "do": "convert",
            "format": kind.value,
            "path": str(path.absolute()),
            "where": where,
            "size": size,
            "inputs": names.inputs,
            "outputs": names.outputs,
            "onnx": str(onnx_file),
        }
        told = talk.ask(asked)
        yield TfModel(onnx_file.read_bytes(), told["versions"], tuple(told["outputs"]), where, talk)


class _Conversation:
    """A child process, one JSON line each way."""

    def __init__(self, folder: Path, where: str) -> None:
        self.folder = folder
        self._where = where
        self._log = folder / "log.txt"
        self._pending = b""

    def __enter__(self) -> Self:
        # Keras reads its own settings from this folder, and so finds none.
        environment = {**os.environ, **_ENVIRONMENT, "KERAS_HOME": str(self.folder)}
        command = [sys.executable, "-m", "edgewright.optimize.sources.tf.child"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was left unsent is of no use to anybody

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Sends a question and waits for its answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            msg = "the TensorFlow process has no pipes"
            raise RuntimeError(msg)
        try:
            stdin.write(json.dumps(question).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error
        told: dict[str, Any] = json.loads(self._line(stdout))
        if "error" in told:
            raise ModelError(told["error"])
        return told

    def _line(self, pipe: IO[bytes]) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(_TIMEOUT_S):
                    msg = f"TensorFlow took more than {_TIMEOUT_S:.0f} s over {self._where}; give a smaller model"
                    raise ModelError(msg)
                chunk = os.read(pipe.fileno(), _CHUNK)
                if not chunk:
                    raise self._died()
                self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _died(self) -> ModelError:
        status = self._process.wait()
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1][:300] if lines else "it left no message"
        return ModelError(f"the TensorFlow process that read {self._where} ended with status {status}: {last}")
