"""Whole real networks: float answers are the engine's, and simulated integers are the file's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from qat_networks import run_file, run_module, start_of

from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.qat.agreement import prove_float
from edgewright.optimize.qat.build import float_network, simulated_network
from edgewright.optimize.qat.write import differences, learnable_grids
from edgewright.optimize.quantization.scheme import IntegerType, Scheme
from edgewright.optimize.sources import load_source
from edgewright.optimize.sources.spec_file import load_spec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qat_networks import Pictures

    from edgewright.optimize.sources import FloatModel

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def detector(person: FloatModel) -> tuple[bytes, NDArray[np.float32]]:
    """The prepared person detector, and two pictures as it takes them."""
    (name,) = person.feeds[0]
    images = np.concatenate([feeds[name] for feeds in person.feeds[:2]])
    return prepare_graph(person.model, person.feeds[:1]).model, np.asarray(images, np.float32)


def relative(before: NDArray[Any], after: NDArray[Any]) -> float:
    return float(np.abs(before - after).max() / np.abs(before).max())


def test_the_person_detector_in_float(detector: tuple[bytes, NDArray[np.float32]]) -> None:
    model, images = detector
    for before, after in zip(run_file(model, images), run_module(float_network(model), images), strict=True):
        assert relative(before, after) < 1e-4


def test_a_foreign_file_with_resizing_and_concats_in_float(samples: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples/face/spec.toml", tmp_path / "spec.toml")
    command = [sys.executable, "-m", "examples.face.anchors", "320", "320", str(tmp_path / "anchors.npy")]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    source = load_source(str(samples / "retinaface.onnx"), spec=load_spec(tmp_path / "spec.toml"))
    model = prepare_graph(source.model, source.feeds[:1]).model
    (name,) = source.feeds[0]
    images = np.concatenate([feeds[name] for feeds in source.feeds[:2]])
    network = float_network(model)
    prove_float(network, model, torch.from_numpy(images))
    # Reshapes merge pictures with their anchors, and part them again.
    assert not network.one_by_one
    for before, after in zip(run_file(model, images), run_module(network, images), strict=True):
        assert relative(before, after) < 1e-4


@pytest.mark.parametrize(
    "scheme",
    [
        Scheme(),
        Scheme(per_channel=False),
        Scheme(weight_bits=7),
        Scheme(weights=IntegerType.UINT8),
        Scheme(activations=IntegerType.INT8),
        Scheme(activations=IntegerType.INT8, weights=IntegerType.UINT8, per_channel=False),
    ],
    ids=lambda scheme: scheme.name,
)
def test_every_integer_of_the_file_is_simulated(fashion: bytes, pictures: Pictures, scheme: Scheme) -> None:
    start = start_of(fashion, pictures.images[:32], scheme)
    network = simulated_network(fashion, start.graph.model, scheme)

    assert differences(network, start.graph.model) == ()
    images = pictures.images[32:288]
    (wanted,), (seen,) = run_file(start.graph.model, images), run_module(network, images)
    assert (wanted.argmax(1) == seen.argmax(1)).mean() > 0.99
    assert 20 * np.log10(np.linalg.norm(wanted) / np.linalg.norm(wanted - seen)) > 40


def test_the_detectors_integers_are_simulated(detector: tuple[bytes, NDArray[np.float32]]) -> None:
    model, images = detector
    start = start_of(model, images)
    network = simulated_network(model, start.graph.model)

    assert differences(network, start.graph.model) == ()
    # Sums near the middle between two integers part simulation and engine, layer after layer: still nearer than float.
    wanted, seen, exact = run_file(start.graph.model, images), run_module(network, images), run_file(model, images)
    for before, after, real in zip(wanted, seen, exact, strict=True):
        assert np.linalg.norm(before - after) < 0.8 * np.linalg.norm(before - real)


def test_another_grid_or_rounding_is_not_the_files(
    fashion: bytes, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = start_of(fashion, pictures.images[:32])
    images = pictures.images[32:96]
    (wanted,) = run_file(start.graph.model, images)
    network = simulated_network(fashion, start.graph.model)
    close = np.abs(run_module(network, images)[0] - wanted).mean()

    coarse = simulated_network(fashion, start.graph.model, Scheme(weight_bits=7))
    assert differences(coarse, start.graph.model)
    assert np.abs(run_module(coarse, images)[0] - wanted).mean() > 20 * close

    monkeypatch.setattr(torch.Tensor, "round_", torch.Tensor.floor_)
    assert np.abs(run_module(network, images)[0] - wanted).mean() > 20 * close


def test_layers_kept_in_float_stay_float(fashion: bytes, pictures: Pictures) -> None:
    kept = next(node.name for node in onnx.load_model_from_string(fashion).graph.node if node.op_type == "Conv")
    start = start_of(fashion, pictures.images[:32], keep=frozenset({kept}))
    network = simulated_network(fashion, start.graph.model)

    assert [name for name, layer in network.layers.items() if layer.grid is None] == [kept]
    images = pictures.images[32:96]
    (wanted,), (seen,) = run_file(start.graph.model, images, start.graph.engine), run_module(network, images)
    assert (wanted.argmax(1) == seen.argmax(1)).all()


def test_integers_that_a_pass_moved_are_where_training_starts(fashion: bytes, pictures: Pictures) -> None:
    start = start_of(fashion, pictures.images[:32])
    model = onnx.load_model_from_string(start.graph.model)
    layer = next(node for node in model.graph.node if node.op_type == "Gemm")
    makers = {name: node for node in model.graph.node for name in node.output}
    moved = next(item for item in model.graph.initializer if item.name == makers[layer.input[1]].input[0])
    codes = numpy_helper.to_array(moved).copy()
    inside = np.abs(codes) < 100
    codes[inside] += 2
    moved.CopyFrom(numpy_helper.from_array(codes, moved.name))

    network = simulated_network(fashion, model.SerializeToString())

    assert differences(network, model.SerializeToString()) == ()


def test_steps_that_the_writer_fixes_are_not_trained(fashion: bytes, pictures: Pictures) -> None:
    start = start_of(fashion, pictures.images[:32])
    all_of_them = learnable_grids(start.graph.model, start.ranges)
    name = min(all_of_them)
    other = {**start.ranges, name.removesuffix("_scale"): (0.0, 123.0)}

    assert learnable_grids(start.graph.model, other) == all_of_them - {name}
