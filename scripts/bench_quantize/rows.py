"""Finished work, kept under the digest of all that determined it, so that a bench can be broken off and taken up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench_quantize.engines import Candidate
from edgewright.bundle.atomic import write_bytes
from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.manifest import ColorOrder, Layout, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Rows", "key_of"]


def key_of(*parts: str) -> str:
    """A key from everything that a result depends on."""
    return sha256_hex("\n".join(parts).encode())


class Rows:
    """A folder of finished rows, one JSON file each, and the model files beside them."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def get(self, key: str) -> dict[str, Any] | None:
        """The row, None when there is none."""
        try:
            row: dict[str, Any] = json.loads((self._folder / f"{key}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return row

    def put(self, key: str, row: Mapping[str, Any]) -> None:
        """Keeps a row."""
        write_bytes(self._folder / f"{key}.json", json.dumps(row, indent=1).encode())

    def get_candidate(self, key: str) -> Candidate | None:
        """The model of a row, None when it is not there whole."""
        told = self.get(f"{key}-model")
        try:
            model = (self._folder / f"{key}.onnx").read_bytes()
        except FileNotFoundError:
            return None
        if told is None or told["sha256"] != sha256_hex(model):
            return None
        inputs, outputs = (tuple(_tensor(row) for row in told[side]) for side in ("inputs", "outputs"))
        return Candidate(model, told["label"], inputs, outputs, told["options"])

    def put_candidate(self, key: str, made: Candidate) -> None:
        """Keeps a model."""
        write_bytes(self._folder / f"{key}.onnx", made.model)
        sides = {
            side: [_told(spec) for spec in specs]
            for side, specs in (("inputs", made.inputs), ("outputs", made.outputs))
        }
        told = {"label": made.label, "sha256": sha256_hex(made.model), "options": dict(made.options), **sides}
        self.put(f"{key}-model", told)


def _told(spec: TensorSpec) -> dict[str, Any]:
    layout = None if spec.layout is None else spec.layout.value
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "layout": layout,
        "scale": spec.scale,
        "zero_point": spec.zero_point,
        "color": None if spec.color is None else spec.color.value,
    }


def _tensor(row: dict[str, Any]) -> TensorSpec:
    layout = None if row["layout"] is None else Layout(row["layout"])
    color = None if row["color"] is None else ColorOrder(row["color"])
    return TensorSpec(row["name"], tuple(row["shape"]), row["dtype"], layout, row["scale"], row["zero_point"], color)
