"""Other people's converters, run for real in their child process on a network small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgewright.bundle.errors import MissingExtraError
from edgewright.bundle.manifest import ClassifyDecode, Preprocess, ResizeMode, Task
from edgewright.optimize.converters import borrowed
from edgewright.optimize.converters.borrowed import Names, Route, convert_tensorflow, convert_torch, quantize_file
from edgewright.optimize.errors import ModelError
from edgewright.optimize.spec import ModelSpec, SourceModel

SIDE = 16
NAMES = Names("picture", ("scores", "features"))


class TwoHeads(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.head = torch.nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = torch.nn.functional.relu6(self.body(x)).mean((2, 3))
        return self.head(features), features


class Untraceable(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum().item() > 0 else -x


def source_of(module: torch.nn.Module) -> SourceModel:
    spec = ModelSpec(
        name="two-heads",
        task=Task.CLASSIFY,
        preprocess=Preprocess(ResizeMode.STRETCH, SIDE, SIDE),
        decode=ClassifyDecode("scores"),
        labels=("a", "b", "c", "d"),
        input_shape=(1, 3, SIDE, SIDE),
    )
    return SourceModel(module, spec, NAMES.outputs)


@pytest.fixture(scope="module")
def pictures() -> Any:
    return np.random.default_rng(0).uniform(0, 1, (12, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def module() -> TwoHeads:
    torch.manual_seed(0)
    return TwoHeads().eval()


@pytest.fixture(scope="module")
def converted(module: TwoHeads, pictures: Any) -> borrowed.BorrowedFiles:
    return convert_torch(source_of(module), pictures, NAMES)


def answers(model: bytes, picture: Any) -> dict[str, Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    signature = interpreter.get_signature_runner()
    (name, details), *_ = signature.get_input_details().items()
    scale, zero = details["quantization"]
    value = picture if not scale else np.clip(np.rint(picture / scale) + zero, -128, 127).astype(details["dtype"])
    told = signature.get_output_details()
    found = signature(**{name: value})
    grids = {key: told[key]["quantization"] for key in found}
    return {k: (v.astype(np.float32) - grids[k][1]) * (grids[k][0] or 1.0) for k, v in found.items()}


def test_the_float_file_computes_what_pytorch_does(
    converted: borrowed.BorrowedFiles, module: TwoHeads, pictures: Any
) -> None:
    assert converted.route is Route.LITERT_TORCH
    with torch.no_grad():
        scores, features = module(torch.from_numpy(pictures[:1].transpose(0, 3, 1, 2)))
    found = answers(converted.float_model, pictures[:1])
    assert set(found) == {"scores", "features"}
    assert found["scores"] == pytest.approx(scores.numpy(), abs=1e-5)
    assert found["features"] == pytest.approx(features.numpy(), abs=1e-5)


def test_the_integer_file_is_integer_and_near(converted: borrowed.BorrowedFiles, pictures: Any) -> None:
    from ai_edge_litert.interpreter import Interpreter

    assert converted.integer_model is not None
    interpreter = Interpreter(model_content=converted.integer_model)
    assert {row["dtype"] for row in interpreter.get_input_details()} == {np.int8}
    assert {row["dtype"] for row in interpreter.get_output_details()} == {np.int8}
    for picture in pictures[:4]:
        wanted, found = (answers(file, picture[None]) for file in (converted.float_model, converted.integer_model))
        spread = float(np.ptp(wanted["scores"]))
        assert found["scores"] == pytest.approx(wanted["scores"], abs=0.05 * spread + 0.02)


def test_ranges_known_already_are_used(converted: borrowed.BorrowedFiles, pictures: Any) -> None:
    from ai_edge_litert.interpreter import Interpreter

    tensor = Interpreter(model_content=converted.float_model).get_output_details()[0]["name"]
    made = quantize_file(converted.float_model, pictures, {tensor: (-2.55, 2.55)})
    row = next(row for row in Interpreter(model_content=made).get_output_details() if row["name"] == tensor)
    assert row["quantization"][0] == pytest.approx(5.1 / 255, rel=0.02)


def test_what_cannot_be_traced_is_refused_with_the_reason() -> None:
    with pytest.raises(ModelError, match="cannot be traced"):
        convert_torch(source_of(Untraceable()), None, Names("picture", ("scores",)))


def test_a_file_that_is_no_model_is_refused_in_the_converters_words(tmp_path: Path) -> None:
    file = tmp_path / "broken.keras"
    file.write_bytes(b"no archive")
    with pytest.raises(ModelError, match=r"tensorflow cannot convert this network: .*(keras|file)"):
        convert_tensorflow(file, None, Names("picture", ("scores",)))


def test_another_number_of_outputs_is_said(converted: borrowed.BorrowedFiles) -> None:
    from edgewright.optimize.converters.signature import rename_signature

    with pytest.raises(ModelError, match="has 2 outputs, the network 1"):
        rename_signature(converted.float_model, ("picture",), ("scores",))


def test_a_missing_converter_names_its_extra(module: TwoHeads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(borrowed, "find_spec", lambda name: None if name == "litert_torch" else object())
    with pytest.raises(MissingExtraError, match=r"edgewright\[optimize,torch,tflite-export\]"):
        convert_torch(source_of(module), None, NAMES)
