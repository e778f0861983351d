"""ONNX Runtime's own ``quantize_static``: as it comes, plainly set for x86, and its best documented settings."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import (  # noqa: TID253 - this child is about nothing else
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: TID253
from peer_common import main, tensors

_X86: dict[str, Any] = {
    "quant_format": QuantFormat.QDQ,
    "activation_type": QuantType.QUInt8,
    "weight_type": QuantType.QInt8,
    "per_channel": True,
}
_HISTOGRAM = {
    "CalibMaxIntermediateOutputs": 16
}  # histograms merged every so many pictures; all outputs are kept without


class Reader(CalibrationDataReader):
    """The calibration tensors one by one."""

    def __init__(self, path: str) -> None:
        """Loads them."""
        self._name, self._rows = tensors(path)
        self._next = 0

    def get_next(self) -> dict[str, Any] | None:
        """The next feed, None after the last."""
        if self._next >= len(self._rows):
            return None
        self._next += 1
        return {self._name: np.ascontiguousarray(self._rows[self._next - 1 : self._next])}


def _one(job: dict[str, Any], label: str, model: str, settings: dict[str, Any]) -> dict[str, Any]:
    target = Path(job["out"], f"{label}.onnx")
    started = time.perf_counter()
    quantize_static(model, str(target), Reader(job["calibration"]), **settings)
    return {"file": str(target), "label": label, "seconds": time.perf_counter() - started}


def defaults(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Not one argument given."""
    return [_one(job, "defaults", job["float"], {})]


def plain(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Min-max, U8S8, per channel: what the documentation recommends for x86 first."""
    return [_one(job, "minmax", job["float"], _X86)]


def best(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Pre-processing, and every documented way to set ranges; one that fails is left out."""
    model = str(Path(job["out"], "preprocessed.onnx"))
    quant_pre_process(job["float"], model, skip_symbolic_shape=True)
    fixed = _X86 | {"reduce_range": not job["vnni"]}
    ways: dict[str, dict[str, Any]] = {
        "minmax": {},
        "moving-average": {"extra_options": {"CalibMovingAverage": True}},
        "minmax-symmetric-signed": {
            "activation_type": QuantType.QInt8,
            "extra_options": {"ActivationSymmetric": True},
        },
        "percentile": {
            "calibrate_method": CalibrationMethod.Percentile,
            "extra_options": {"CalibPercentile": 99.999, **_HISTOGRAM},
        },
        "percentile-99.99": {
            "calibrate_method": CalibrationMethod.Percentile,
            "extra_options": {"CalibPercentile": 99.99, **_HISTOGRAM},
        },
        "entropy": {"calibrate_method": CalibrationMethod.Entropy, "extra_options": _HISTOGRAM},
    }
    tried = [_tried(job, label, model, fixed | way) for label, way in ways.items()]
    return [row for row in tried if row is not None]


def _tried(job: dict[str, Any], label: str, model: str, settings: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return _one(job, label, model, settings)
    except Exception as error:  # noqa: BLE001 - a peer may fail in any way; the others of its settings go on
        print(f"{label}: {type(error).__name__}: {error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    ENGINES = {"onnxruntime": defaults, "onnxruntime-plain": plain, "onnxruntime-best": best}
    sys.exit(main(ENGINES, ("onnxruntime", "onnx", "numpy")))
