"""One run, two formats: both are chosen, judged and shipped, and the report says whether they agree."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from chain_models import classes_command

from edgewright.bundle.manifest import ColorOrder, Format, Layout
from edgewright.bundle.reader import open_bundle
from edgewright.cli.main import main
from edgewright.optimize import tflite_forms
from edgewright.optimize.converters import borrowed
from edgewright.optimize.tflite import TfliteFile, Tuning, write_tflite
from edgewright.optimize.tflite.source import Node
from edgewright.optimize.tflite.source import refuse as refuse_node
from edgewright.runtime.machine import describe_machine

if TYPE_CHECKING:
    from pathlib import Path

BORROWED = """
import torch


def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
        torch.nn.ReLU6(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 3),
    )
"""
BRIEF = ("--passes", "minmax,round-depthwise", "--keep-float")


def made(folder: Path, classes: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    status = main([*classes_command(classes, folder / "a.edge", *BRIEF, *more), "--json"])
    said = capsys.readouterr()
    assert status in {0, 3, 4}, said.err
    report: dict[str, Any] = json.loads(said.out)["report"]
    return report


def test_both_formats_go_into_one_bundle(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = made(tmp_path, classes, capsys, "--formats", "onnx,tflite", "--ship", "int8", "--min-agreement", "50")
    with open_bundle(tmp_path / "a.edge") as bundle:
        variants = {variant.name: variant for variant in bundle.manifest.variants}
        metrics = {row.variant for row in bundle.manifest.metrics}
    assert list(variants) == ["int8", "int8-tflite", "float", "float-tflite"]
    assert {variant.format for variant in variants.values()} == {Format.ONNX, Format.TFLITE}
    tensor = variants["int8-tflite"].inputs[0]
    assert (tensor.layout, tensor.dtype) == (Layout.NHWC, "int8")
    assert variants["int8-tflite"].latency[0].speedup is not None
    assert {"int8", "int8-tflite"} <= metrics
    assert report["format"] == "onnx"
    assert [row["format"] for row in report["further_formats"]] == ["tflite"]
    assert report["tflite_route"] == tflite_forms.WRITER_ROUTE
    assert [clause["sentence"].split(":")[0] for clause in report["verdict"]["clauses"]] == ["onnx", "tflite"]
    assert main(["verify", str(tmp_path / "a.edge")]) == 0
    capsys.readouterr()
    assert main(["report", str(tmp_path / "a.edge"), "--max-size", "1kB"]) == 3
    told = capsys.readouterr().out
    assert "onnx: " in told
    assert "tflite: " in told


def test_the_two_integer_files_say_the_same(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = made(tmp_path, classes, capsys, "--formats", "onnx,tflite", "--ship", "int8")
    (between,) = report["between_formats"]
    assert (between["first"], between["second"]) == ("int8", "int8-tflite")
    assert between["headline"]["value"] >= 80  # of twelve pictures
    rows = {(row["reference"], row["form"]): row for row in report["story"]["parity"]["outputs"]}
    assert rows["float", "float-tflite"]["sqnr_db"] > 90
    assert rows["int8", "int8-tflite"]["sqnr_db"] > rows["float", "int8"]["sqnr_db"]
    page = (tmp_path / "a-report" / "report.html").read_text(encoding="utf-8")
    assert "The same model in each format" in page
    assert "int8 stands in the place of float" in page
    assert "Parity, output by output" in page


def test_tflite_alone(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = made(tmp_path, classes, capsys, "--formats", "tflite", "--ship", "int8")
    with open_bundle(tmp_path / "a.edge") as bundle:
        assert [variant.name for variant in bundle.manifest.variants] == ["int8-tflite", "float-tflite"]
    assert report["format"] == "tflite"
    assert report["further_formats"] == []
    recipe = str(tmp_path / "a-report" / "recipe.toml")
    capsys.readouterr()
    assert main(["optimize", "--recipe", recipe, "-o", str(tmp_path / "b.edge"), "--no-cache"]) in {0, 3, 4}
    with open_bundle(tmp_path / "a.edge") as first, open_bundle(tmp_path / "b.edge") as second:
        assert first.manifest.variants[0].sha256 == second.manifest.variants[0].sha256


@pytest.mark.parametrize(
    ("instructions", "flags", "columns"),
    [((), (), 0), (("amx_int8",), (), 64), (("amx_int8",), ("--profile", "raspberry-pi-4"), 0)],
)
def test_the_form_that_takes_camera_pictures(
    instructions: tuple[str, ...],
    flags: tuple[str, ...],
    columns: int,
    classes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tunings = []

    def recorded(model: bytes, **given: Any) -> TfliteFile:
        tunings.append(given.get("tuning"))
        return write_tflite(model, **given)

    machine = replace(describe_machine(), instructions=instructions)
    monkeypatch.setattr(tflite_forms, "describe_machine", lambda: machine)
    monkeypatch.setattr(tflite_forms, "write_tflite", recorded)
    wanted = ("--passes", "minmax,uint8-input", "--formats", "tflite", "--ship", "uint8-input")
    words = classes_command(classes, tmp_path / "a.edge", *wanted, *flags)
    assert main(words) in {0, 3, 4}, capsys.readouterr().err
    with open_bundle(tmp_path / "a.edge") as bundle:
        (variant,) = bundle.manifest.variants
        (tensor,) = variant.inputs
        assert (variant.name, tensor.dtype, tensor.scale) == ("uint8-input-tflite", "int8", None)
        assert (tensor.layout, tensor.color) == (Layout.NHWC, ColorOrder.BGR)
    assert tunings == [
        *[None] * 3,
        Tuning(columns, signed_pixels=True),
    ]  # the trial, the float and the plain file have none
    assert main(["verify", str(tmp_path / "a.edge")]) == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--formats", "coreml"), "--formats cannot be 'coreml'"),
        (("--formats", "tflite", "--ship", "weight-only"), "there is no such form in TFLite"),
    ],
)
def test_what_no_format_has_is_refused_before_any_work(
    flags: tuple[str, ...], said: str, classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = classes_command(classes, tmp_path / "a.edge", "--passes", "minmax,weight-only", *flags)
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_the_package_the_extra_is_named(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    assert main(classes_command(classes, tmp_path / "a.edge", "--formats", "onnx,tflite")) == 5
    assert "pip install 'edgewright[optimize,tflite]'" in capsys.readouterr().err


def test_a_file_that_computes_something_else_is_never_used(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(model: bytes, **settings: Any) -> Any:
        graph = onnx.load_model_from_string(model)
        weight = next(one for one in graph.graph.initializer if one.data_type == onnx.TensorProto.FLOAT)
        weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 1.5, weight.name))
        return write_tflite(graph.SerializeToString(), **settings)

    monkeypatch.setattr(tflite_forms, "write_tflite", spoilt)
    assert main(classes_command(classes, tmp_path / "a.edge", *BRIEF, "--formats", "onnx,tflite")) == 2
    assert "differs from the float graph by" in capsys.readouterr().err
    assert not (tmp_path / "a.edge").exists()


def test_a_borrowed_converter_takes_over_for_pytorch(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise refuse_node(Node("mix", "Einsum", (), ("y",)), "this writer does not know the operator")

    (tmp_path / "borrowed_net.py").write_text(BORROWED, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tflite_forms, "write_tflite", refuse)
    words = classes_command(classes, tmp_path / "a.edge", "--passes", "minmax", "--formats", "tflite", "--json")
    words[1:2] = ["borrowed_net:make", "--size", "32x32"]
    assert main(words) in {0, 3, 4}
    report = json.loads(capsys.readouterr().out)["report"]
    assert report["tflite_route"] == "litert-torch"
    rows = {(row["reference"], row["form"]): row for row in report["story"]["parity"]["outputs"]}
    assert rows["source", "float-tflite"]["sqnr_db"] > 90
    assert "install" not in " ".join(report["notes"])


def with_celu(path: Path) -> bytes:
    """The network with one operator that TFLite has not."""
    model = onnx.load_model(path)
    relu = next(node for node in model.graph.node if node.name == "relu2")
    relu.op_type, relu.name = "Celu", "odd"
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("flags", [(), ("--plan",)])
def test_a_graph_that_nobody_can_convert_is_refused_before_the_search_with_a_remedy_that_helps(
    flags: tuple[str, ...], classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.onnx").write_bytes(with_celu(classes / "depthwise.onnx"))
    words = classes_command(classes, tmp_path / "a.edge", *BRIEF, "--formats", "onnx,tflite", *flags)
    words[1] = str(tmp_path / "odd.onnx")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "Celu 'odd' cannot be written as TFLite" in said
    assert "choose --formats onnx" in said
    assert "steps, about" not in said  # the search was not begun
    assert "tflite-export" not in said  # no borrowed converter starts from such a file
    assert not (tmp_path / "a.edge").exists()


def test_a_missing_converter_that_could_help_is_named_before_the_search(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "celu_net.py").write_text(BORROWED.replace("ReLU6()", "CELU()"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(borrowed, "find_spec", lambda name: None if name == "litert_torch" else object())
    words = classes_command(classes, tmp_path / "a.edge", "--passes", "minmax", "--formats", "tflite")
    words[1:2] = ["celu_net:make", "--size", "32x32"]
    assert main(words) == 5
    said = capsys.readouterr().err
    assert "Celu" in said
    assert "litert_torch is not installed" in said
    assert "pip install 'edgewright[optimize,torch,tflite-export]'" in said
    assert "steps, about" not in said
