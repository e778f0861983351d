"""Layers that stay in float do so in both formats, and the report names the engine of each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from chain_models import classes_command

from edgewright.bundle.manifest import Format
from edgewright.bundle.reader import open_bundle
from edgewright.cli.main import main
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.runtime.backends.tflite_file import read_tflite

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FLOAT32, INT8 = 0, 9  # TFLite's numbers of them


def test_a_layer_left_in_float(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--passes", "minmax,round-depthwise", "--leave-float", "deep", "--formats", "onnx,tflite"]
    words += ["--ship", "int8", "--min-agreement", "50", "--json"]
    status = main(classes_command(classes, tmp_path / "a.edge", *words))
    said = capsys.readouterr()
    assert status in {0, 3, 4}, said.err
    report = json.loads(said.out)["report"]
    with open_bundle(tmp_path / "a.edge") as bundle:
        files = {variant.format: bundle.read(variant.file) for variant in bundle.manifest.variants}
    assert {layer.node for layer in IntegerGraph(files[Format.ONNX]).layers} == {"stem", "point", "head"}
    tensors = [tensor for tensor in read_tflite(files[Format.TFLITE]).tensors if tensor.constant]
    types = {tensor.shape: tensor.type for tensor in tensors if len(tensor.shape) == 4}
    # The depthwise layer, the two before and behind it, and the last one.
    assert types == {(1, 3, 3, 8): FLOAT32, (8, 3, 3, 3): INT8, (12, 1, 1, 8): INT8, (6, 1, 1, 12): INT8}
    # The two agree with each other better than either does with float.
    assert report["between_formats"][0]["headline"]["value"] >= 80
    rows = {(row["reference"], row["form"]): row for row in report["story"]["parity"]["outputs"]}
    assert rows["int8", "int8-tflite"]["sqnr_db"] > rows["float", "int8"]["sqnr_db"]
    assert main(["verify", str(tmp_path / "a.edge")]) == 0

    for part, engine in ((report, "onnxruntime"), (report["further_formats"][0], "LiteRT")):
        assert {row["engine"].partition(" ")[0] for row in part["speed"]["variants"]} == {engine}
    page = (tmp_path / "a-report" / "report.html").read_text(encoding="utf-8")
    for part in (report, report["further_formats"][0]):
        assert f">{part['speed']['variants'][0]['engine']}</span>" in page
