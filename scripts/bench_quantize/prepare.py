"""What every engine is given: the same prepared float file and the same tensors."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewright.bundle.arrays import npz_bytes
from edgewright.bundle.atomic import write_bytes
from edgewright.bundle.digest import sha256_hex
from edgewright.optimize.data.digest import frame_digest
from edgewright.optimize.data.labels import labelled_samples, load_box_labels
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.sources import load_source, load_spec
from edgewright.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench_quantize.subjects import Subject
    from edgewright.optimize.data.samples import Sample
    from edgewright.optimize.sources import FloatModel

__all__ = ["Prepared", "pictures_of", "prepare"]

_SELECTION_TENSORS = 64


@dataclass(frozen=True, eq=False)
class Prepared:
    """A subject, ready for the engines.

    Attributes:
        subject: Which.
        source: The float model as loaded.
        naive: Its graph as exported.
        prepared: Its graph folded: what every engine starts from, and the baseline of all ratios.
        folder: Where the files below lie.
        float_file: ``prepared`` as a file.
        calibration: ``.npz`` of calibration tensors, (n, ...) under the input's name.
        selection: The same for selection, at most 64 tensors.
        digest: Of all of it.
        reserved: Digests of labelled frames that serve nothing else.
    """

    subject: Subject
    source: FloatModel
    naive: bytes
    prepared: bytes
    folder: Path
    float_file: Path
    calibration: Path
    selection: Path
    digest: str
    reserved: frozenset[bytes]


def prepare(subject: Subject, work: Path) -> Prepared:
    """Loads, folds and writes.

    Args:
        subject: Which network.
        work: Folder of the bench.
    """
    spec = load_spec(subject.spec) if subject.spec is not None else None
    first = next(iter(open_samples(subject.calibrate))).image
    source = load_source(subject.model, weights=subject.weights, spec=spec, images=[first])
    graph = prepare_graph(source.model, source.feeds).model
    folder = work / subject.name
    folder.mkdir(parents=True, exist_ok=True)
    reserved = _reserved(subject, source)
    files = {"float.onnx": graph}
    for role, most in (("calibrate", None), ("select", _SELECTION_TENSORS)):
        files[f"{role}.npz"] = _tensors(subject, source, getattr(subject, role), reserved, most)
    for name, data in files.items():
        write_bytes(folder / name, data)
    naive = _naive(subject, source, folder)
    digest = sha256_hex(b"".join(sha256_hex(data).encode() for data in files.values()))
    return Prepared(
        subject=subject,
        source=source,
        naive=naive or source.model,
        prepared=graph,
        folder=folder,
        float_file=folder / "float.onnx",
        calibration=folder / "calibrate.npz",
        selection=folder / "select.npz",
        digest=digest,
        reserved=reserved,
    )


def pictures_of(expression: str, reserved: frozenset[bytes]) -> Iterator[Sample]:
    """The pictures of a source without the reserved ones."""
    for sample in open_samples(expression):
        if not reserved or frame_digest(sample.image) not in reserved:
            yield sample


def _reserved(subject: Subject, source: FloatModel) -> frozenset[bytes]:
    if subject.labels is None or subject.images is None or subject.images == subject.report:
        return frozenset()
    labels = load_box_labels(subject.labels, source.spec.labels)
    pictures = labelled_samples(labels, open_samples(subject.images))
    return frozenset(frame_digest(sample.image) for sample, _ in pictures)


def _tensors(
    subject: Subject, source: FloatModel, expression: str, reserved: frozenset[bytes], most: int | None
) -> bytes:
    pictures = list(pictures_of(expression, reserved))
    if most is not None and len(pictures) > most:
        pictures = [pictures[int((2 * k + 1) * len(pictures) / (2 * most))] for k in range(most)]
    preprocessor = Preprocessor(source.spec.preprocess, source.inputs[0])
    rows = [preprocessor(sample.image)[0].copy() for sample in pictures]
    if not rows:
        msg = f"{subject.name}: no pictures in {expression}"
        raise SystemExit(msg)
    return npz_bytes({source.inputs[0].name: np.concatenate(rows)})


def _naive(subject: Subject, source: FloatModel, folder: Path) -> bytes | None:
    """The plainest export of a PyTorch network, None where the model came as ``.onnx``.

    Today's exporter folds a good deal by itself; the older one, still what most files come from, does not.
    """
    if not subject.is_factory:
        return None
    import torch

    module, _, name = subject.model.partition(":")
    made = getattr(importlib.import_module(module), name)(weights=subject.weights)
    example = (torch.zeros(source.inputs[0].shape),)
    plain = folder / "naive.onnx"
    with torch.no_grad():
        torch.onnx.export(
            made.module,
            example,
            str(plain),
            input_names=[made.input_name],
            output_names=list(made.output_names),
            opset_version=17,
            dynamo=False,
        )
    return plain.read_bytes()
