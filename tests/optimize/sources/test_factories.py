"""PyTorch factories: a real export of a small network, and a message for every way a factory can be wrong."""

from __future__ import annotations

import re
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from edgewright.bundle.errors import MissingExtraError
from edgewright.bundle.manifest import ClassifyDecode, ScoreActivation
from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.sources import load_source
from edgewright.optimize.sources.factory import is_factory_reference
from edgewright.optimize.spec import ClassifierOptions, ModelSpec, classifier_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = """
import torch
from torch import nn
from edgewright.optimize.spec import ClassifierOptions, SourceModel, classifier_spec

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2)
    def forward(self, x):
        return self.conv(x).mean((2, 3))

def spec():
    return classifier_spec(ClassifierOptions(), name="net", input_shape=(1, 3, 16, 16), scores="scores")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """A module of the user's in the current folder, its text given by the test's parameter; returns its name."""
    name = f"usermodel_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(HEAD + textwrap.dedent(request.param))
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop(name, None)


GOOD = """
def make(weights=None):
    torch.manual_seed(0)
    return SourceModel(Net(), spec(), ("scores",))
def bare():
    torch.manual_seed(0)
    return Net()
def ends_in_softmax():
    return nn.Sequential(Net(), nn.Softmax(1))
"""


@pytest.mark.parametrize("module", [GOOD], indirect=True)
def test_a_factory_becomes_one_checked_file(module: str, tmp_path: Path) -> None:
    import onnx

    weights = tmp_path / "w.bin"
    weights.write_bytes(b"abc")
    before = list(sys.path)
    made = load_source(f"{module}:make", weights=weights)
    assert sys.path == before
    assert made.max_difference is not None
    assert made.max_difference < 1e-4
    assert made.source_sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert made.outputs[0].shape == (1, 4)
    assert made.tools["torch"].startswith("2.")
    onnx.checker.check_model(onnx.load_model_from_string(made.model), full_check=True)

    options = ClassifierOptions(name="mine", size=(16, 16))
    again = load_source(f"{module}:bare", spec=options)
    assert (again.spec.name, again.outputs[0].name) == ("mine", "scores")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        pytest.param("def make(): return 3", "returned int", id="no model"),
        pytest.param("def make(): return Net()", "bare torch.nn.Module; say how to read it", id="no spec"),
        pytest.param("def make(weights): return Net()", "needs --weights FILE", id="weights wanted"),
        pytest.param("def make(): raise KeyError('layer7')", "failed: KeyError: 'layer7'", id="raises"),
        pytest.param("make = 3", "is not a function", id="no function"),
        pytest.param("def build(): pass", "has no 'make'; it offers Net, build", id="other name"),
        pytest.param("import no_such_package", "needs the package 'no_such_package'", id="missing package"),
        pytest.param("1 / 0", "failed: ZeroDivisionError", id="import fails"),
        pytest.param("def make(:", "failed: SyntaxError", id="no Python"),
        pytest.param("raise SystemExit(3)", "failed: SystemExit", id="exits"),
        pytest.param(
            "def make(): return SourceModel(Net(), spec(), ('scores', 'boxes'))", "returns 1 tensors", id="outputs"
        ),
        pytest.param(
            "def make(): return SourceModel(Net(), spec(), ('other',))", "no output 'scores'", id="output names"
        ),
        pytest.param("def make(): return SourceModel(nn.Linear(3, 3), spec(), ('scores',))", "fails on", id="shape"),
        pytest.param(
            """
            class Dict(Net):
                def forward(self, x):
                    return {"scores": super().forward(x)}
            def make():
                return SourceModel(Dict(), spec(), ("scores",))
            """,
            "returns dict",
            id="dictionary",
        ),
        pytest.param(
            """
            class Noise(Net):
                def forward(self, x):
                    return super().forward(x) + torch.rand(1)
            def make():
                return SourceModel(Noise(), spec(), ("scores",))
            """,
            "differs from PyTorch by",
            id="random",
        ),
        pytest.param(
            """
            class Branch(Net):
                def forward(self, x):
                    return super().forward(x) * (2 if x.sum() > 0 else 3)
            def make():
                return SourceModel(Branch(), spec(), ("scores",))
            """,
            "cannot be exported",
            id="depends on values",
        ),
    ],
    indirect=["module"],
)
def test_wrong_factories(module: str, words: str) -> None:
    with pytest.raises((ModelError, SpecError), match=words):
        load_source(f"{module}:make")


@pytest.mark.parametrize("module", [GOOD], indirect=True)
def test_wrong_flags(module: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"weights file .* does not exist"):
        load_source(f"{module}:make", weights=tmp_path / "none.bin")
    (tmp_path / "w.bin").touch()
    with pytest.raises(ModelError, match="takes no weights"):
        load_source(f"{module}:bare", weights=tmp_path / "w.bin")
    with pytest.raises(SpecError, match="brings its own spec"):
        load_source(f"{module}:make", spec=ClassifierOptions())
    with pytest.raises(SpecError, match="--size WIDTHxHEIGHT"):
        load_source(f"{module}:bare", spec=ClassifierOptions())
    other: ModelSpec = classifier_spec(ClassifierOptions(), name="n", input_shape=(1, 16, 16, 3), scores="scores")
    with pytest.raises(ModelError, match="fails on an input of shape"):
        load_source(f"{module}:bare", spec=other)


@pytest.mark.parametrize(("package", "extra"), [("torch", "optimize,torch"), ("onnxscript", "optimize")])
def test_a_missing_package_names_the_line_that_installs_it(
    package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=re.escape(f"pip install 'edgewright[{extra}]'")):
        load_source("examples.person.model:factory")


def test_no_such_module() -> None:
    with pytest.raises(ModelError, match=r"no module 'nowhere_at_all'.*run the command from the folder"):
        load_source("nowhere_at_all.model:make")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("examples.person.model:factory", True),
        ("module:Class.make", True),
        ("model.onnx", False),
        ("folder/module.py:make", False),
        ("a:b:c", False),
        (":make", False),
        ("module:", False),
    ],
)
def test_what_reads_as_a_factory(text: str, answer: bool) -> None:
    assert is_factory_reference(text) is answer


SURE = """
def bare():
    return nn.Sequential(Net(), nn.Softmax(1), nn.Unflatten(1, (4, 1)), nn.Flatten())
"""


@pytest.mark.parametrize("module", [SURE], indirect=True)
def test_a_module_that_ends_in_a_softmax_gets_no_second_one(module: str) -> None:
    made = load_source(f"{module}:bare", spec=ClassifierOptions(size=(16, 16)))
    assert isinstance(made.spec.decode, ClassifyDecode)
    assert made.spec.decode.activation is ScoreActivation.NONE


@pytest.mark.parametrize("module", [GOOD], indirect=True)
def test_what_the_graph_says_of_scores_holds_for_the_network_too(module: str) -> None:
    made = load_source(f"{module}:ends_in_softmax", spec=ClassifierOptions(size=(16, 16)))
    assert made.module is not None
    assert isinstance(made.module.spec.decode, ClassifyDecode)
    assert made.module.spec.decode.activation is ScoreActivation.NONE
