"""Training an INT8 candidate: a better file of the same operators, which is what was trained."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from qat_networks import run_file, run_module, start_of

from edgewright.bundle.manifest import ClassifyDecode
from edgewright.optimize.errors import SpecError
from edgewright.optimize.qat.build import simulated_network
from edgewright.optimize.qat.imitation import Imitation
from edgewright.optimize.qat.train import QatResult, QatSettings, QatStart, train_quantized
from edgewright.optimize.qat.write import differences
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.optimize.training.settings import Device, TrainSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qat_networks import Pictures

    from edgewright.optimize.qat.network import Network

SHORT = TrainSettings(epochs=1.0, rate=1e-3, weight_decay=0.0, evaluations=0, threads=1, device=Device.CPU)
DECODE = ClassifyDecode("logits")


@pytest.fixture(scope="module")
def start(fashion: bytes, pictures: Pictures) -> QatStart:
    """One step for all weights of a layer, of seven bits: what breaks this network."""
    return start_of(fashion, pictures.images[:64], Scheme(weight_bits=7, per_channel=False))


@pytest.fixture(scope="module")
def result(start: QatStart, pictures: Pictures) -> QatResult:
    return train_quantized(start, pictures, QatSettings(SHORT), decode=DECODE)


def error(wanted: NDArray[np.float32], seen: NDArray[np.float32]) -> float:
    return float(np.square(wanted - seen).mean() / wanted.var())


def test_the_trained_file_is_nearer_to_float(start: QatStart, result: QatResult, pictures: Pictures) -> None:
    images = pictures.images[-256:]
    wanted, plain, trained = (
        run_file(model, images)[0] for model in (start.model, start.graph.model, result.graph.model)
    )

    assert error(wanted, plain) > 0.02
    assert error(wanted, trained) < 0.3 * error(wanted, plain)
    assert (wanted.argmax(1) == trained.argmax(1)).mean() > (wanted.argmax(1) == plain.argmax(1)).mean()


def test_training_alone_helps_too(start: QatStart, pictures: Pictures) -> None:
    alone = train_quantized(start, pictures, QatSettings(SHORT, pictures=0), decode=DECODE)
    images = pictures.images[-256:]
    wanted, before, after = (run_file(m, images)[0] for m in (start.model, start.graph.model, alone.graph.model))

    assert error(wanted, after) < 0.7 * error(wanted, before)


def test_the_file_is_what_was_trained(start: QatStart, result: QatResult, pictures: Pictures) -> None:
    assert result.replaced == 0
    # Nothing but the float graph and the ranges is needed to write it again.
    again = quantize_graph(result.model, result.ranges, start.keep_float, start.scheme)
    assert again.model == result.graph.model
    simulated = simulated_network(result.model, result.graph.model, start.scheme)
    assert differences(simulated, result.graph.model) == ()
    images = pictures.images[-256:]
    (wanted,), (seen,) = run_file(result.graph.model, images), run_module(simulated, images)
    assert (wanted.argmax(1) == seen.argmax(1)).mean() > 0.99
    assert result.agreement.noise["logits"] > 40
    assert result.agreement.same_top["logits"] > 0.98


def test_the_file_has_the_same_operators_and_size(start: QatStart, result: QatResult) -> None:
    before, after = (onnx.load_model_from_string(graph.model).graph for graph in (start.graph, result.graph))
    assert [(node.op_type, *node.input, *node.output) for node in before.node] == [
        (node.op_type, *node.input, *node.output) for node in after.node
    ]
    assert Counter(item.data_type for item in before.initializer) == Counter(
        item.data_type for item in after.initializer
    )
    assert len(result.graph.model) == len(start.graph.model)


def test_the_same_seed_gives_the_same_file(start: QatStart, pictures: Pictures) -> None:
    few = type(pictures)(pictures.images[:192], pictures.labels[:192])
    settings = QatSettings(SHORT, labels=0.5)
    one, other = (train_quantized(start, few, settings, decode=DECODE).graph.model for _ in range(2))
    assert one == other


def test_gradients_reach_everything_that_is_trained(start: QatStart, pictures: Pictures) -> None:
    reached: dict[str, bool] = {}

    class Watched(Imitation):
        def __call__(self, module, batch):  # type: ignore[no-untyped-def]
            loss = super().__call__(module, batch)
            loss.total.backward(retain_graph=True)
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    reached[name] = parameter.grad is not None and bool(torch.isfinite(parameter.grad).all())
            module.zero_grad()
            return loss

    def make(reference: Network) -> Imitation:
        return Watched(reference, DECODE)

    few = type(pictures)(pictures.images[:64], pictures.labels[:64])
    done = train_quantized(start, few, QatSettings(SHORT), objective=make)

    assert done.trained.steps == 1
    assert len(reached) > 50
    assert all(reached.values())


def test_what_is_switched_off_is_not_trained(start: QatStart, pictures: Pictures) -> None:
    few = type(pictures)(pictures.images[:128], pictures.labels[:128])
    done = train_quantized(start, few, QatSettings(SHORT, steps=False, bounds=False), decode=DECODE)
    assert done.ranges == start.ranges


def test_layers_in_float_are_written_as_float(fashion: bytes, pictures: Pictures) -> None:
    kept = next(node.name for node in onnx.load_model_from_string(fashion).graph.node if node.op_type == "Conv")
    start = start_of(fashion, pictures.images[:64], keep=frozenset({kept}))
    few = type(pictures)(pictures.images[:128], pictures.labels[:128])

    done = train_quantized(start, few, QatSettings(SHORT), decode=DECODE)

    assert done.graph.engine == start.graph.engine
    assert done.replaced == 0
    assert done.agreement.same_top["logits"] == 1.0


def test_settings_that_make_no_sense_are_named() -> None:
    with pytest.raises(SpecError, match="labels -1"):
        QatSettings(labels=-1)
    with pytest.raises(SpecError, match="temperature is 0"):
        QatSettings(temperature=0)
