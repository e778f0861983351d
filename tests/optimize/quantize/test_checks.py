"""What is refused before quantization, by name and with a remedy, and what is handled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import classifier_onnx, detector_onnx

from edgewright.optimize.calibration import RangeCollector, RangeMethod
from edgewright.optimize.errors import JudgeError, ModelError
from edgewright.optimize.passes import prepare_graph, run_passes
from edgewright.optimize.passes.clips import GuardClips
from edgewright.optimize.passes.order import InferShapes
from edgewright.optimize.passes.unshare import UnshareConstants
from edgewright.optimize.quantization.checks import check_quantizable
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.runtime.backends.onnx import OnnxBackend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.passes import Pass

SHAPE = (1, 3, 16, 16)
OUT = {"y": [1, 4, 16, 16]}


def weights(*shape: int, scale: float = 0.2, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng((seed, *shape)).normal(0, scale, shape).astype(np.float32)


FIRST, SECOND, BIAS = weights(4, 3, 3, 3), weights(4, 4, 3, 3), weights(4, seed=1)


def conv(source: str, target: str, *constants: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, *constants], [target], name=f"conv-{target}", pads=[1, 1, 1, 1])


def graph(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, Sequence[int]],
    *,
    opset: int = 18,
    shape: Sequence[int | str] = SHAPE,
) -> bytes:
    built = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return bytes(
        helper.make_model(built, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()
    )


def two_convs(**options: Any) -> bytes:
    """Convolution, ReLU, convolution."""
    constants = {"w1": FIRST, "b1": BIAS, "w2": SECOND, **options.pop("constants", {})}
    nodes = [conv("x", "a", "w1", "b1"), helper.make_node("Relu", ["a"], ["r"], name="relu"), conv("r", "y", "w2")]
    return graph(nodes, constants, OUT, **options)


def shared(*, bias: bool) -> bytes:
    """One convolution that runs on a map and on the same map times thirty."""
    names = ("w", "b") if bias else ("w",)
    nodes = [
        conv("x", "a", "w1"),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("Mul", ["r", "thirty"], ["large"], name="times"),
        conv("r", "c1", *names),
        conv("large", "c2", *names),
        helper.make_node("Concat", ["c1", "c2"], ["y"], name="cat", axis=1),
    ]
    constants = {"w1": FIRST, "w": SECOND, "thirty": np.float32(30)} | ({"b": BIAS} if bias else {})
    return graph(nodes, constants, {"y": [1, 8, 16, 16]})


def clipped(low: float, high: float) -> bytes:
    nodes = [
        conv("x", "a", "w1"),
        helper.make_node("Clip", ["a", "low", "high"], ["r"], name="clip"),
        conv("r", "y", "w2"),
    ]
    constants = {"w1": FIRST, "w2": SECOND, "low": np.float32(low), "high": np.float32(high)}
    return graph(nodes, constants, OUT)


def feeds(count: int = 6) -> list[dict[str, NDArray[np.float32]]]:
    return [{"x": weights(*SHAPE, scale=1.0, seed=10 + k)} for k in range(count)]


def quantized(
    model: bytes, pictures: int = 6, passes: Sequence[Pass] = (), *, prepare: bool = True
) -> tuple[bytes, IntegerGraph, float]:
    """Prepared graph, integers, and the least signal-to-noise ratio of a picture and channel in dB."""
    ready = prepare_graph(model, feeds(2)).model if prepare else model
    run = run_passes(onnx.load_model_from_string(ready), [*passes, InferShapes()], feeds(2))
    ready = run.model.SerializeToString()
    collector = RangeCollector(ready)
    for feed in feeds(pictures):
        collector.observe(feed)
    int8 = quantize_graph(ready, collector.ranges(RangeMethod.MINMAX))
    float_, ours = OnnxBackend(ready), OnnxBackend(int8.model, engine=int8.engine)
    worst = np.inf
    for feed in feeds(pictures):
        expected = float_.run(feed)["y"].astype(np.float64)
        signal = np.square(expected).sum(axis=(0, 2, 3)) + 1e-30
        noise = np.square(ours.run(feed)["y"] - expected).sum(axis=(0, 2, 3)) + 1e-30
        worst = min(worst, float(10 * np.log10(signal / noise).min()))
    return ready, IntegerGraph(int8.model), worst


def if_graph() -> bytes:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["c"], ["branch"])],
        "branch",
        [],
        [helper.make_tensor_value_info("branch", TensorProto.FLOAT, OUT["y"])],
    )
    nodes = [
        conv("x", "c", "w1"),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["bright"]),
        helper.make_node("If", ["bright"], ["y"], name="which", then_branch=branch, else_branch=branch),
    ]
    return graph(nodes, {"w1": FIRST, "zero": np.float32(0)}, OUT)


def with_node(op_type: str) -> bytes:
    """A graph whose middle is one operator; only its name matters."""
    nodes = [conv("x", "a", "w1"), helper.make_node(op_type, ["a"], ["m"], name="middle"), conv("m", "y", "w2")]
    return graph(nodes, {"w1": FIRST, "w2": SECOND}, OUT)


def spoilt(value: float) -> NDArray[np.float32]:
    array = SECOND.copy()
    array[2, 1, 0, 2] = value
    return array


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(two_convs(opset=11), r"operator set 11, .* needs 13.*convert_version", id="old opset"),
        pytest.param(two_convs(opset=999), "operator set 999, the installed onnx knows", id="opset of the future"),
        pytest.param(two_convs(shape=("n", 3, 16, 16)), r"input 'x' has the shape \['n', 3, 16, 16\]", id="open batch"),
        pytest.param(two_convs(shape=(1, 3, "h", "w")), "is not fixed: say the size", id="open size"),
        pytest.param(if_graph(), "node 'which' is If, control flow", id="if"),
        pytest.param(with_node("Loop"), "node 'middle' is Loop", id="loop"),
        *(
            pytest.param(with_node(name), f"'middle' is {name}: the model is quantized already", id=name)
            for name in ("QuantizeLinear", "QLinearConv", "ConvInteger", "DynamicQuantizeLinear", "MatMulNBits")
        ),
        pytest.param(
            two_convs(constants={"w2": spoilt(np.nan)}),
            r"node 'conv-y' \(Conv\) has 1 weights in 'w2' .* \[2, 1, 0, 2\]",
            id="NaN",
        ),
        pytest.param(two_convs(constants={"b1": np.full(4, np.inf, np.float32)}), "'conv-a'.*infinite", id="inf bias"),
        pytest.param(
            two_convs(constants={"w2": SECOND.astype(np.float16)}), "'conv-y'.*float16; export", id="half precision"
        ),
        pytest.param(
            two_convs(constants={"w2": SECOND.astype(np.float64)}), "'conv-y'.*float64; export", id="double precision"
        ),
        pytest.param(
            clipped(0.5, 0.5), r"node 'clip' clips to \[0\.5, 0\.5\], a range without zero", id="clip above zero"
        ),
        pytest.param(clipped(-2, -1), "without zero", id="clip below zero"),
    ],
)
def test_refused(model: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_quantizable(model)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(detector_onnx(), id="detector"),
        pytest.param(classifier_onnx(), id="classifier"),
        pytest.param(clipped(0, 6), id="relu6"),
        pytest.param(clipped(1e-12, 6), id="a bound that guards a division"),
        *(pytest.param(two_convs(opset=opset), id=f"opset {opset}") for opset in (13, 17, 21)),
    ],
)
def test_not_refused(model: bytes) -> None:
    assert check_quantizable(model) == ()


def test_the_quantized_file_itself_is_refused() -> None:
    _, int8, _ = quantized(two_convs())
    with pytest.raises(ModelError, match="quantized already"):
        check_quantizable(int8.to_bytes())


@pytest.mark.parametrize("bias", [False, True])
def test_shared_constants_serve_both_layers(bias: bool) -> None:
    model = shared(bias=bias)
    assert check_quantizable(model) == ("2 operators share the weights 'w' (conv-c1, conv-c2); they get one grid",)
    assert quantized(model)[2] > 25


def test_unshared_constants_can_be_changed_apart() -> None:
    model = onnx.load_model_from_string(shared(bias=True))
    cheap, dear = (run_passes(model, [UnshareConstants(growth)], feeds(1)) for growth in (10.0, 0.0))
    assert cheap.notes == ("unshare-constants: 2 copies of 2 constants that several layers shared",)
    assert check_quantizable(cheap.model.SerializeToString()) == ()
    readers = [node.input for node in dear.model.graph.node if node.name in {"conv-c1", "conv-c2"}]
    assert readers[0][1] == readers[1][1]
    assert readers[0][2] != readers[1][2]
    _, int8, quality = quantized(cheap.model.SerializeToString())
    assert quality > 25
    before = int8.layer("conv-c2").codes
    int8.set_codes("conv-c1", np.zeros_like(before))
    assert (int8.layer("conv-c2").codes == before).all()
    assert before.any()


def test_nothing_shared_nothing_changed() -> None:
    assert not UnshareConstants().run(onnx.load_model_from_string(two_convs())).changed


@pytest.mark.parametrize("bounds", [(0.5, 0.5), (0.3, 0.9), (-2.0, -1.0)])
def test_a_guarded_clip_is_kept(bounds: tuple[float, float]) -> None:
    model = clipped(*bounds)
    guarded = run_passes(onnx.load_model_from_string(model), [GuardClips()], feeds(2))
    assert guarded.notes == ("guard-clips: 1 Clip to ranges without zero became Max and Min",)
    assert check_quantizable(guarded.model.SerializeToString()) == ()
    assert quantized(model, prepare=False)[2] < 15  # what would have happened
    ready, _, quality = quantized(model)
    assert quality > 25
    assert "Clip" not in {node.op_type for node in onnx.load_model_from_string(ready).graph.node}


def test_an_ordinary_clip_stays() -> None:
    assert not GuardClips().run(onnx.load_model_from_string(clipped(0, 6))).changed


def zero_channel() -> NDArray[np.float32]:
    array = SECOND.copy()
    array[1] = 0
    return array


@pytest.mark.parametrize(
    "constants",
    [
        pytest.param({"w1": np.zeros_like(FIRST), "b1": np.ones(4, np.float32)}, id="constant activation"),
        pytest.param({"w2": SECOND * 1e-9}, id="tiny weights"),
        pytest.param({"w1": FIRST * 1e4}, id="huge activations"),
    ],
)
def test_odd_ranges_are_handled(constants: dict[str, NDArray[np.float32]]) -> None:
    model = two_convs(constants=constants)
    check_quantizable(model)
    assert quantized(model)[2] > 25


def test_a_channel_of_zeros_stays_zero() -> None:
    model = two_convs(constants={"w2": zero_channel()})
    assert check_quantizable(model) == (
        "output channels whose weights are all zero: 1 of 4 in conv-y; pruning would save their time",
    )
    _, int8, _ = quantized(model)
    layer = int8.layer("conv-y")
    assert np.isfinite(layer.scale).all()
    assert (layer.scale > 0).all()
    assert not layer.codes[1].any()
    answer = OnnxBackend(int8.to_bytes()).run(feeds(1)[0])["y"]
    assert not answer[:, 1].any()
    assert answer[:, 0].any()


def test_a_dead_layer_gives_its_bias() -> None:
    model = two_convs(constants={"b1": np.full(4, -100, np.float32)})
    _, int8, _ = quantized(model)
    assert not OnnxBackend(int8.to_bytes()).run(feeds(1)[0])["y"].any()


def test_one_picture_is_enough_to_quantize() -> None:
    assert quantized(two_convs(), pictures=1)[2] > 25


def test_weights_computed_at_run_time_are_told() -> None:
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], name="most", keepdims=0),
        helper.make_node("Mul", ["w", "m"], ["wm"], name="times"),
        conv("x", "y", "wm"),
    ]
    notes = check_quantizable(graph(nodes, {"w": FIRST}, OUT))
    assert notes == ("weights computed at run time get one grid for all pictures: conv-y",)


def test_a_model_that_answers_nan_is_refused_at_its_tensor() -> None:
    nodes = [conv("x", "a", "w1"), helper.make_node("Sqrt", ["a"], ["y"], name="root")]
    collector = RangeCollector(
        prepare_graph(graph(nodes, {"w1": FIRST}, OUT), [{"x": np.zeros(SHAPE, np.float32)}]).model
    )
    with pytest.raises(JudgeError, match="NaN or infinity in tensor 'y'"):
        collector.observe(feeds(1)[0])
