"""Plain ``.onnx`` files: what is accepted, and one clear message for each that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgewright.bundle.manifest import ClassifyDecode, Layout, ScoreActivation
from edgewright.optimize.errors import ModelError, OptimizeError, SpecError
from edgewright.optimize.sources import load_source
from edgewright.optimize.sources.onnx_file import convert_opset
from edgewright.optimize.spec import ClassifierOptions

if TYPE_CHECKING:
    import onnx

Build = Callable[..., Path]
Break = Callable[[Path], None]
CLASSIFIER = ClassifierOptions()


def test_static_file_is_taken_as_it_is(classifier_file: Build) -> None:
    loaded = load_source(str(classifier_file()), spec=CLASSIFIER)
    assert loaded.spec.name == "model"
    assert loaded.inputs[0].shape == (1, 3, 8, 8)
    assert loaded.outputs[0].shape == (1, 4)
    assert [note for note in loaded.notes if "activation" not in note] == []
    assert len(loaded.source_sha256) == 64
    assert {"onnx", "onnxruntime"} <= set(loaded.tools)


def test_open_sizes_are_fixed_by_the_flag(classifier_file: Build) -> None:
    path = classifier_file(("N", 3, "H", "W"))
    loaded = load_source(str(path), spec=ClassifierOptions(size=(16, 12)))
    assert loaded.inputs[0].shape == (1, 3, 12, 16)
    assert "(?, 3, ?, ?)" in loaded.notes[0]


@pytest.mark.parametrize("opset", [9, 12, 15])
def test_old_operator_sets_are_converted_and_compared(classifier_file: Build, opset: int) -> None:
    loaded = load_source(str(classifier_file(opset=opset)), spec=CLASSIFIER)
    assert loaded.notes[0] == f"operator set converted from {opset} to 17"


def test_channels_last_is_recognised(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save_model

    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Softmax", ["mean"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes,
        "last",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 6, 10, 3))],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ("n", 3))],
    )
    path = tmp_path / "last.onnx"
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    loaded = load_source(str(path), spec=CLASSIFIER)
    assert loaded.spec.layout is Layout.NHWC
    assert (loaded.spec.preprocess.width, loaded.spec.preprocess.height) == (10, 6)
    assert isinstance(loaded.spec.decode, ClassifyDecode)
    assert loaded.spec.decode.activation is ScoreActivation.NONE


def write(data: bytes) -> Break:
    """Replaces the file's content."""
    return lambda path: path.write_bytes(data) and None


def cut(path: Path) -> None:
    """Half of the file."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def edit(change: Callable[..., None]) -> Break:
    """Changes the model in the file."""
    import onnx

    def apply(path: Path) -> None:
        model = onnx.load_model(str(path))
        change(model)
        path.write_bytes(model.SerializeToString())

    return apply


def with_node(op: str, inputs: list[str], outputs: list[str], **attributes: object) -> Break:
    """Puts a node in front of the others."""
    from onnx import helper

    node = helper.make_node(op, inputs, outputs, **attributes)
    return edit(lambda model: model.graph.node.insert(0, node))


def second_input(path: Path) -> None:
    """An input beside the picture."""
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("size", TensorProto.FLOAT, (2,))
    edit(lambda model: model.graph.input.append(value))(path)


def foreign_operator(path: Path) -> None:
    """An operator of a library that is not here."""
    from onnx import helper

    def change(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Foo", ["input"], ["f"], domain="my.ops"))
        model.opset_import.append(helper.make_opsetid("my.ops", 1))

    edit(change)(path)


def no_input(path: Path) -> None:
    """No input at all, and a graph that does not need one."""
    from onnx import TensorProto, helper, save_model

    node = helper.make_node("Constant", [], ["logits"], value_float=1.0)
    graph = helper.make_graph([node], "none", [], [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ())])
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))


def positions_as_output(path: Path) -> None:
    """An output as long as there are positive values in the picture."""
    from onnx import TensorProto, helper, save_model

    nodes = [helper.make_node("NonZero", ["i"], ["where"]), helper.make_node("Cast", ["where"], ["logits"], to=1)]
    nodes.insert(0, helper.make_node("Relu", ["input"], ["i"]))
    graph = helper.make_graph(
        nodes,
        "positions",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (4, None))],
    )
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(Path.unlink, "does not exist", id="missing"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), "is not a file", id="folder"),
        pytest.param(write(b""), "is empty", id="empty"),
        pytest.param(write(b"hello, this is text\n"), "not an ONNX", id="text"),
        pytest.param(write(b"\xff\xd8\xff\xe0\x00\x10JFIF"), "not an ONNX", id="picture"),
        pytest.param(write(b"PK\x03\x04" + bytes(60)), "not an ONNX", id="zip"),
        pytest.param(cut, "cut short|not valid ONNX|no graph", id="cut in half"),
        pytest.param(edit(lambda m: m.graph.ClearField("node")), "holds no graph", id="no nodes"),
        pytest.param(with_node("Relu", ["nowhere"], ["r"]), "not valid ONNX", id="value from nowhere"),
        pytest.param(foreign_operator, "ONNX Runtime refuses", id="unknown operator"),
        pytest.param(
            with_node("DequantizeLinear", ["input", "kernel"], ["q"]), "quantized already.*DequantizeLinear", id="int8"
        ),
        pytest.param(second_input, r"2 inputs \(input, size\)", id="two inputs"),
        pytest.param(no_input, r"0 inputs \(none\)", id="no input"),
        pytest.param(positions_as_output, "depends on the picture", id="output of varying size"),
    ],
)
def test_refused_files(classifier_file: Build, damage: Break, words: str) -> None:
    path = classifier_file()
    damage(path)
    with pytest.raises(ModelError, match=words) as caught:
        load_source(str(path), spec=CLASSIFIER)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("build", "options", "words"),
    [
        pytest.param({"shape": ("N", 3, "H", "W")}, {}, "height of input 'input' is open.*axis 2.*--size", id="open"),
        pytest.param({"shape": (1, 3, 8, "W")}, {}, "width of input 'input' is open.*axis 3.*--size", id="open width"),
        pytest.param({}, {"size": (9, 8)}, "width .* fixed at 8 in the file, but 9", id="other size"),
        pytest.param({"shape": (4, 3, 8, 8)}, {}, "batch of 4", id="batch"),
        pytest.param({"shape": (1, 3, "H", "W")}, {"size": (99_999, 8)}, "within 1..16384 pixels", id="huge size"),
        pytest.param({"shape": (1, 1, 8, 8)}, {}, "3 channels", id="grey"),
        pytest.param({"shape": (1, "C", 8, "W")}, {}, "which of its axes holds the colours", id="open channels"),
        pytest.param({"shape": (1, 3, 8)}, {}, "four axes", id="three axes"),
        pytest.param({"dtype": 2}, {}, "is uint8; only float32", id="uint8"),
        pytest.param({"dtype": 10}, {}, "is float16; only float32", id="float16"),
    ],
)
def test_unsupported_inputs(
    classifier_file: Build, build: dict[str, object], options: dict[str, object], words: str
) -> None:
    path = classifier_file(**build)
    with pytest.raises(ModelError, match=words):
        load_source(str(path), spec=ClassifierOptions(**options))  # type: ignore[arg-type]


def test_weights_beside_the_file_are_refused_with_the_remedy(classifier_file: Build) -> None:
    path = classifier_file(save_as_external_data=True, location="weights.data", size_threshold=0)
    with pytest.raises(ModelError, match=r"weights\.data.*save_as_external_data=False"):
        load_source(str(path), spec=CLASSIFIER)


def test_a_file_says_nothing_about_its_numbers(classifier_file: Build) -> None:
    with pytest.raises(SpecError, match=r"'logits'.*--task classify.*--spec FILE\.toml"):
        load_source(str(classifier_file()))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("weights.pth", "--weights"),
        ("no/such/model.onnx", "does not exist"),
    ],
)
def test_other_files(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_source(name, spec=CLASSIFIER)


def test_weights_belong_to_factories(classifier_file: Build) -> None:
    with pytest.raises(ModelError, match="--weights belongs to"):
        load_source(str(classifier_file()), weights=Path("w.pth"), spec=CLASSIFIER)


def test_every_error_is_bad_input(classifier_file: Build) -> None:
    with pytest.raises(OptimizeError) as caught:
        load_source(str(classifier_file(("N", 3, "H", "W"))), spec=CLASSIFIER)
    assert caught.value.exit_code == 2


def test_real_frames_join_the_comparison(classifier_file: Build) -> None:
    frame = np.full((30, 40, 3), 77, np.uint8)
    loaded = load_source(str(classifier_file()), spec=CLASSIFIER, images=[frame])
    assert len(loaded.feeds) == 4
    assert np.ptp(loaded.feeds[0]["input"][0, 0]) == 0.0


def test_weights_on_the_input_list_are_no_inputs(classifier_file: Build) -> None:
    from onnx import TensorProto, helper

    path = classifier_file()
    values = [
        helper.make_tensor_value_info("kernel", TensorProto.FLOAT, (5, 3, 3, 3)),
        helper.make_tensor_value_info("matrix", TensorProto.FLOAT, (5, 4)),
    ]
    edit(lambda model: model.graph.input.extend(values))(path)
    loaded = load_source(str(path), spec=CLASSIFIER)
    assert [tensor.name for tensor in loaded.inputs] == ["input"]
    assert "taken off the input list" in loaded.notes[0]


def with_engine_operator(opset: int, path: Path) -> None:
    """A classifier with an operator that only ONNX Runtime knows."""
    from onnx import TensorProto, helper, save_model

    nodes = [
        helper.make_node("Relu", ["input"], ["r"]),
        helper.make_node("Gelu", ["r"], ["g"], domain="com.microsoft"),
        helper.make_node("GlobalAveragePool", ["g"], ["p"]),
        helper.make_node("Flatten", ["p"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 3))],
    )
    sets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    save_model(helper.make_model(graph, opset_imports=sets, ir_version=8), str(path))


def test_operators_of_the_engine_are_welcome_even_in_old_files(tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    with_engine_operator(13, path)
    loaded = load_source(str(path), spec=CLASSIFIER)
    assert loaded.outputs[0].shape == (1, 3)
    assert loaded.notes[0] == "operator set converted from 13 to 17"


def test_an_old_file_that_cannot_be_converted_is_a_message() -> None:
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 8, 8)) for name in "xy"]
    node = helper.make_node("Pad", ["x"], ["y"], paddings=[0] * 8)  # as it was written in the first operator set
    graph = helper.make_graph([node], "first", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 1)], ir_version=3)
    with pytest.raises(ModelError, match=r"^old\.onnx uses operator set 1 and cannot be converted.*opset_version=17"):
        convert_opset(model, "old.onnx")


def test_several_outputs_need_a_spec(classifier_file: Build) -> None:
    from onnx import TensorProto, helper

    path = classifier_file()
    value = helper.make_tensor_value_info("flat", TensorProto.FLOAT, (1, 5))
    edit(lambda model: model.graph.output.append(value))(path)
    with pytest.raises(SpecError, match=r"2 outputs \(logits, flat\).*--spec"):
        load_source(str(path), spec=CLASSIFIER)
