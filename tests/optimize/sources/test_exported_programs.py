"""``.pt2`` files: what is accepted, and that nothing in one is run, unpickled or evaluated before it was looked at."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from edgewright.bundle.errors import MissingExtraError
from edgewright.bundle.manifest import Layout
from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.passes.runner import largest_difference, run_onnx
from edgewright.optimize.sources import load_source
from edgewright.optimize.spec import ClassifierOptions

CLASSIFIER = ClassifierOptions()


class Network(torch.nn.Module):
    """Convolution, batch norm, dropout, and an answer of the form asked for."""

    def __init__(self, answer: str = "tensor") -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.norm = torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8)
        self.drop, self.last = torch.nn.Dropout(0.3), torch.nn.Linear(8, 4)
        self.answer = answer

    def forward(self, picture: torch.Tensor) -> object:
        scores = self.last(self.drop(torch.relu(self.norm(self.conv(picture)))).mean((2, 3)))
        return {"tensor": scores, "dict": {"scores": scores, "double": scores * 2}}[self.answer]


def save(path: Path, module: torch.nn.Module, *shape: int, **settings: object) -> Path:
    example = torch.zeros(shape or (1, 3, 12, 16))
    torch.export.save(torch.export.export(module, (example,), **settings), path)  # type: ignore[arg-type]
    return path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A good one."""
    return save(tmp_path / "good.pt2", Network().eval())


def test_an_exported_program_is_a_source(program: Path) -> None:
    frame = np.random.default_rng(4).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    loaded = load_source(str(program), spec=CLASSIFIER, images=[frame])
    assert (loaded.inputs[0].shape, loaded.spec.layout) == ((1, 3, 12, 16), Layout.NCHW)
    assert [tensor.shape for tensor in loaded.outputs] == [(1, 4)]
    assert loaded.notes[0].startswith("exported program converted by torch.onnx; largest difference from PyTorch on 4")
    assert loaded.max_difference is not None
    assert loaded.max_difference < 1e-5
    assert largest_difference(loaded.reference, run_onnx(loaded.model, loaded.feeds)) == loaded.max_difference
    with torch.no_grad():
        expected = Network().eval()(torch.from_numpy(loaded.feeds[0]["input"])).numpy()
    assert np.abs(loaded.reference[0][0] - expected).max() < 1e-6


def test_names_come_from_a_dict_and_unread_outputs_go(tmp_path: Path) -> None:
    path = save(tmp_path / "dict.pt2", Network("dict").eval())
    spec = tmp_path / "spec.toml"
    spec.write_text(
        '[model]\nname = "n"\ntask = "classify"\n[preprocess]\nresize = "stretch"\nwidth = 16\nheight = 12\n'
        '[decode]\nhead = "classify"\nscores = "double"\nactivation = "softmax"\n',
        encoding="utf-8",
    )
    from edgewright.optimize.sources import load_spec

    loaded = load_source(str(path), spec=load_spec(spec))
    assert [tensor.name for tensor in loaded.outputs] == ["double"]
    assert len(loaded.reference[0]) == 1
    assert "outputs nobody reads were dropped: scores" in loaded.notes


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write(path: Path, content: dict[str, bytes]) -> None:
    """As PyTorch writes archives: stored, below one folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(f"model/{name}", data)


def edit(change: Callable[[dict[str, bytes]], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = members(path)
        change(content)
        write(path, content)

    return damage


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (self.path, "w"))


def trapped_input(content: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    torch.save(((Trap("sprung"),), {}), buffer)
    content["data/sample_inputs/model.pt"] = buffer.getvalue()


def pickled_weight(content: dict[str, bytes]) -> None:
    name = "data/weights/model_weights_config.json"
    config = json.loads(content[name])
    config["config"]["conv.weight"]["use_pickle"] = True
    content[name] = json.dumps(config).encode()
    buffer = io.BytesIO()
    torch.save(Trap("sprung"), buffer)
    content[f"data/weights/{config['config']['conv.weight']['path_name']}"] = buffer.getvalue()


def graph(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def apply(content: dict[str, bytes]) -> None:
        model = json.loads(content["models/model.json"])
        change(model)
        content["models/model.json"] = json.dumps(model).encode()

    return edit(apply)


def evaluated_size(model: dict) -> None:
    text = "__import__('pathlib').Path('sprung').touch()"
    sizes = model["graph_module"]["graph"]["tensor_values"]["conv2d"]["sizes"]
    sizes[0] = {"as_expr": {"expr_str": text, "hint": {"as_int": 1}}}


def other_target(target: str) -> Callable[[dict], None]:
    def change(model: dict) -> None:
        model["graph_module"]["graph"]["nodes"][2]["target"] = target

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(Path.unlink, "does not exist", id="missing"),
        pytest.param(lambda path: path.write_bytes(b""), "is not an exported program", id="empty"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:3000]), "cut short", id="cut"),
        pytest.param(edit(lambda c: c.pop("models/model.json")), r"it has no models/model\.json", id="no graph"),
        pytest.param(edit(lambda c: c.update({"models/other.json": b"{}"})), "models/other.json", id="two graphs"),
        pytest.param(
            edit(lambda c: c.update({"data/aotinductor/m/x.so": b"\x7fELF"})), "x.so.*not opened", id="library"
        ),
        pytest.param(
            edit(lambda c: c.update({"data/weights/model.pt": b""})), "model.pt.*not opened", id="old weights"
        ),
        pytest.param(edit(lambda c: c.update({"data/constants/custom_obj_0": b""})), "custom_obj_0", id="object"),
        pytest.param(edit(trapped_input), "example input is more than tensors", id="trapped input"),
        pytest.param(edit(pickled_weight), "'conv.weight' is pickled", id="pickled weight"),
        pytest.param(graph(evaluated_size), "sizes that are open", id="evaluated size"),
        pytest.param(graph(lambda m: m.update(guards_code=["print(1)"])), "sizes that are open", id="guards"),
        pytest.param(graph(other_target("torch.ops.higher_order.cond")), "control flow", id="control flow"),
        pytest.param(graph(other_target("torch.os.system")), "is torch.os.system, not an operator", id="function"),
        pytest.param(graph(other_target("torch.ops.mine.relu.default")), "torch.ops.mine", id="custom operator"),
    ],
)
def test_refused_files(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    damage(program)
    with pytest.raises(ModelError, match=words) as caught:
        load_source(str(program), spec=CLASSIFIER)
    assert str(program) in str(caught.value)
    assert not (tmp_path / "sprung").exists()


def test_the_trap_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise the tests above would prove nothing.
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save(Trap("sprung"), buffer)
    buffer.seek(0)
    torch.load(buffer, weights_only=False).close()
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(
            lambda p: save(p, Network()), "node 'batch_norm' is aten.batch_norm.default, as in training", id="train"
        ),
        pytest.param(
            lambda p: save(p, Network().eval(), 2, 3, 12, 16, dynamic_shapes=({0: torch.export.Dim.AUTO},)),
            "sizes that are open",
            id="dynamic",
        ),
        pytest.param(lambda p: save(p, Network().eval(), 4, 3, 12, 16), "batch of 4", id="batch"),
    ],
)
def test_unsupported_programs(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_source(str(make(tmp_path / "model.pt2")), spec=CLASSIFIER)


def test_a_program_says_nothing_about_its_numbers(program: Path) -> None:
    with pytest.raises(SpecError, match=r"--task classify.*--spec FILE\.toml"):
        load_source(str(program))


def test_without_the_extra(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgewright\[torch\]'"):
        load_source(str(program), spec=CLASSIFIER)
