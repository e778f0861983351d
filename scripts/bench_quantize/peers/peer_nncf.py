"""NNCF on ONNX: ``nncf.quantize`` as it comes, and ``quantize_with_accuracy_control``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["CI"] = "true"  # its telemetry stays off in CI; set before it is imported

import nncf
import numpy as np
import onnx  # noqa: TID253 - this child is about nothing else
import onnxruntime as ort  # noqa: TID253
from peer_common import main, tensors

if TYPE_CHECKING:
    from collections.abc import Iterable

# Mean over outputs of 1 - |int8 - float|^2 / |float|^2; .99 is 20 dB.
_MAX_DROP = 0.01


def _dataset(path: str) -> nncf.Dataset:
    name, rows = tensors(path)
    return nncf.Dataset([{name: row[None]} for row in rows])


def _save(job: dict[str, Any], model: onnx.ModelProto, label: str) -> list[dict[str, Any]]:
    target = Path(job["out"], f"{label}.onnx")
    onnx.save(model, target)
    return [{"file": str(target), "label": label}]


def defaults(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Only the model and the data are given."""
    return _save(job, nncf.quantize(onnx.load(job["float"]), _dataset(job["calibration"])), "defaults")


def accuracy_control(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Leaves in float what costs most, until outputs on the selection tensors are within 20 dB of float's."""
    model = onnx.load(job["float"])
    float_ = _session(model)
    name, rows = tensors(job["selection"])
    wanted = {row.tobytes(): float_.run(None, {name: row[None]}) for row in rows}

    def validate(candidate: onnx.ModelProto, feeds: Iterable[dict[str, Any]]) -> tuple[float, None]:
        session, scores = _session(candidate), []
        for feed in feeds:
            row = next(iter(feed.values()))
            for told, got in zip(wanted[row.tobytes()], session.run(None, feed), strict=True):
                scores.append(1.0 - float(np.square(told - got).sum() / max(np.square(told).sum(), 1e-12)))
        return float(np.mean(scores)), None

    calibration, selection = _dataset(job["calibration"]), _dataset(job["selection"])
    made = nncf.quantize_with_accuracy_control(model, calibration, selection, validate, max_drop=_MAX_DROP)
    return _save(job, made, "accuracy-control")


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    ENGINES = {"nncf": defaults, "nncf-accuracy-control": accuracy_control}
    sys.exit(main(ENGINES, ("nncf", "onnx", "onnxruntime", "numpy")))
