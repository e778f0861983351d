"""Models that cannot be quantized as they are: handled, or one message that names the node, and nothing written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import classifier_onnx, write_photos

from edgewright.cli.main import main
from edgewright.runtime.verify import verify_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIDE = 16


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("bad") / "photos", 18, film=False)


def weights(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng((seed, *shape)).normal(0, 0.2, shape).astype(np.float32)


def conv(source: str, target: str, weight: str) -> Any:
    return helper.make_node("Conv", [source, weight], [target], name=f"conv-{target}", pads=[1] * 4)


def network(
    middle: Sequence[Any] = (),
    *,
    shape: Sequence[int | str] = (1, 3, SIDE, SIDE),
    opset: int = 18,
    second: str = "w2",
    **constants: Any,
) -> bytes:
    """Conv to ``a``, Relu to ``r``, whatever makes ``m`` of it, Conv, pooling, Flatten: three scores."""
    nodes = [
        conv("image", "a", "w1"),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        *(middle or [helper.make_node("Identity", ["r"], ["m"], name="same")]),
        conv("m", "b", second),
        helper.make_node("GlobalAveragePool", ["b"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["scores"], name="flat"),
    ]
    values = {"w1": weights(3, 3, 3, 3), "w2": weights(3, 3, 3, 3, seed=1), **constants}
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "bad",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(model.SerializeToString())


def if_node() -> Any:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["r"], ["branch"])],
        "branch",
        [],
        [helper.make_tensor_value_info("branch", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
    )
    return [
        helper.make_node("ReduceSum", ["image"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["bright"]),
        helper.make_node("If", ["bright"], ["m"], name="which", then_branch=branch, else_branch=branch),
    ]


def quantized_already() -> list[Any]:
    return [
        helper.make_node("QuantizeLinear", ["r", "step", "null"], ["q"], name="to-integers"),
        helper.make_node("DequantizeLinear", ["q", "step", "null"], ["m"], name="from-integers"),
    ]


def spoilt(value: float) -> Any:
    array = weights(3, 3, 3, 3, seed=1)
    array[1, 2, 0, 1] = value
    return array


def dead_channel() -> Any:
    array = weights(3, 3, 3, 3, seed=1)
    array[1] = 0
    return array


def words(model: bytes, folder: Path, photos: Path, *more: str) -> list[str]:
    (folder / "model.onnx").write_bytes(model)
    told = ["optimize", str(folder / "model.onnx"), "--task", "classify", "--resize", "stretch", "--runs", "10"]
    told += ["--passes", "mean-minmax,round-second-moment,correct-bias", "--ship", "int8"]
    return [*told, "--calibrate", str(photos), "-o", str(folder / "out" / "model.edge"), *more]


REFUSED = {
    "open height": (network(shape=(1, 3, "h", "w")), ["h", "--size"]),
    "control flow": (network(if_node(), zero=np.float32(0)), ["'which' is If"]),
    "quantized already": (
        network(quantized_already(), step=np.float32(0.1), null=np.uint8(0)),
        ["'to-integers' is QuantizeLinear", "quantized already"],
    ),
    "a weight that is no number": (network(w2=spoilt(np.nan)), ["conv-b", "w2"]),
    "an infinite weight": (network(w2=spoilt(np.inf)), ["conv-b", "w2"]),
    "an activation that is no number": (
        network(
            [
                helper.make_node("Sub", ["r", "far"], ["below"], name="less"),
                helper.make_node("Sqrt", ["below"], ["m"], name="root"),
            ],
            far=np.float32(1e3),
        ),
        ["NaN", "root"],
    ),
    "an operator of nobody": (network([helper.make_node("Polish", ["r"], ["m"], name="shine")]), ["Polish"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_name_of_the_node(
    case: str, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, expected = REFUSED[case]
    assert main(words(model, tmp_path, photos)) == 2
    said = capfd.readouterr()
    told = [line for line in said.err.splitlines() if line.startswith("edgewright optimize: ")]
    assert len(told) == 1
    for part in expected:
        assert part in told[0], told[0]
    assert "Traceback" not in said.err
    assert said.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


HANDLED = {
    "an open batch": network(shape=("n", 3, SIDE, SIDE)),
    "shared weights": network(
        [conv("r", "c", "w1"), helper.make_node("Relu", ["c"], ["m"], name="relu2")], second="w1"
    ),
    "a dead channel": network(w2=dead_channel()),
    "constant activations": network(w1=np.zeros((3, 3, 3, 3), np.float32)),
    "an old operator set": network(opset=11),
    "a clip without zero": network(
        [helper.make_node("Clip", ["r", "low", "high"], ["m"], name="clip")], low=np.float32(0.5), high=np.float32(0.9)
    ),
    "an operator without integers": network([helper.make_node("Erf", ["r"], ["m"], name="erf")]),
    "weights made at run time": network(
        [
            helper.make_node("ReduceMax", ["r"], ["peak"], name="peak", keepdims=0),
            helper.make_node("Mul", ["w2", "peak"], ["made"], name="made"),
            helper.make_node("Identity", ["r"], ["m"], name="same"),
        ],
        second="made",
    ),
}


@pytest.mark.parametrize("case", HANDLED)
def test_handled(case: str, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = main(words(HANDLED[case], tmp_path, photos))
    said = capfd.readouterr()
    assert code == 0, said.err.splitlines()[-1]
    assert verify_bundle(tmp_path / "out" / "model.edge").ok
    assert "Traceback" not in said.err


def test_one_calibration_picture(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, rest = tmp_path / "one", sorted(path for path in photos.rglob("*.png"))
    one.mkdir()
    image = cv2.imread(str(rest[0]))
    assert image is not None
    assert cv2.imwrite(str(one / "x.png"), 255 - image)
    select = ("--calibrate", str(one), "--select", str(photos), "--agree", str(_other(tmp_path / "other")))
    assert main(words(classifier_onnx(), tmp_path, photos, *select)) == 0
    assert "only 1 calibration picture" in capsys.readouterr().err


def _other(folder: Path) -> Path:
    return write_photos(folder, 6, start=300, film=False)


def test_arrays_of_the_wrong_shape(photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, shape in (("flat.npz", (9, 256)), ("deep.npz", (9, 16, 16, 7))):
        np.savez(tmp_path / name, images=np.zeros(shape, np.uint8))
        assert main(words(classifier_onnx(), tmp_path, photos, "--calibrate", str(tmp_path / name))) == 2
        told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("edgewright optimize: ")]
        assert len(told) == 1
        assert name in told[0]
        assert str(shape[0]) in told[0] or str(shape) in told[0]
    assert not (tmp_path / "out").exists()


def test_a_graph_whose_file_is_cut_off(photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = network()
    assert main(words(model[: len(model) // 2], tmp_path, photos)) == 2
    assert "not an ONNX" in capfd.readouterr().err
