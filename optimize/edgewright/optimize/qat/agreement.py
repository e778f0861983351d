"""Whether a network as it is trained answers what a file answers in the engine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import ModelError
from edgewright.optimize.graph.engine import open_engine, run_engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from numpy.typing import NDArray

    from edgewright.optimize.qat.network import Network

__all__ = ["Agreement", "agreement_of", "prove_float"]

_MATRIX = 2  # dimensions
_TOLERANCE = 1e-3
"""Of the largest value of an output: float sums in another order differ by a thousandth of that."""


@dataclass(frozen=True)
class Agreement:
    """How near a simulation comes to its file, on real pictures.

    Both hold the same integers. What is left are sums whose value lies so near the middle between two integers that
    the order of adding decides; the file itself differs as much from one processor or optimization level to another.

    Attributes:
        pictures: How many were compared.
        noise: Signal over difference of each output in decibel, by name; infinite where nothing differs.
        same_top: Share of pictures with the same best class, by output of that form.
    """

    pictures: int
    noise: Mapping[str, float]
    same_top: Mapping[str, float]


def agreement_of(
    network: Network, model: bytes, pictures: torch.Tensor, engine: Mapping[str, Any] | None = None
) -> Agreement:
    """Compares a network's answers with a file's.

    Args:
        network: On the processor.
        model: An ONNX file for one picture at a time.
        pictures: As the network takes them.
        engine: Options that the file needs (``QuantizedGraph.engine``).

    Raises:
        JudgeError: The engine refuses the file.
    """
    seen, wanted = _simulated(network, pictures), _measured(network, model, pictures, engine)
    noise, same = {}, {}
    for name, before, after in zip(network.output_names, wanted, seen, strict=True):
        signal, error = np.square(before, dtype=np.float64).sum(), np.square(before - after, dtype=np.float64).sum()
        noise[name] = math.inf if error == 0 else 10.0 * math.log10(max(float(signal), 1e-30) / float(error))
        if before.ndim == _MATRIX and before.shape[1] > 1:
            same[name] = float((before.argmax(1) == after.argmax(1)).mean())
    return Agreement(len(pictures), noise, same)


def prove_float(network: Network, model: bytes, pictures: torch.Tensor) -> None:
    """Makes sure that the float network computes what its file does, also on several pictures at once.

    Where it does not, because the graph has one picture written into it, it is made to run them one by one.

    Args:
        network: Of the float graph; ``one_by_one`` may be set.
        model: Its file.
        pictures: Two or more that differ.

    Raises:
        ModelError: It computes something else.
    """
    wanted = _measured(network, model, pictures, None)
    for one_by_one in (False, True):
        network.one_by_one = one_by_one
        try:
            seen = _simulated(network, pictures)
        except ModelError:
            if one_by_one:
                raise
            continue
        worst = max((_distance(a, b), name) for a, b, name in zip(wanted, seen, network.output_names, strict=True))
        if worst[0] <= _TOLERANCE:
            return
    msg = (
        f"output {worst[1]!r} of the network to be trained differs from the file's by {100 * worst[0]:.2g} % of its "
        "largest value; quantization-aware training of this graph would train something else, leave it out"
    )
    raise ModelError(msg)


def _distance(wanted: NDArray[np.float32], seen: NDArray[np.float32]) -> float:
    if wanted.shape != seen.shape or not np.isfinite(seen).all():
        return math.inf
    return float(np.abs(wanted - seen).max() / max(float(np.abs(wanted).max()), 1e-12))


def _simulated(network: Network, pictures: torch.Tensor) -> list[NDArray[np.float32]]:
    import torch

    was, _ = network.training, network.eval()
    with torch.no_grad():
        answers = [value.numpy() for value in network(pictures)]
    network.train(was)
    return answers


def _measured(
    network: Network, model: bytes, pictures: torch.Tensor, engine: Mapping[str, Any] | None
) -> list[NDArray[np.float32]]:
    session = open_engine(model, engine, what="the graph that is trained")
    name = session.get_inputs()[0].name
    each = [
        run_engine(session, network.output_names, {name: pictures[k : k + 1].numpy()}) for k in range(len(pictures))
    ]
    return [np.concatenate([answer[output] for answer in each]) for output in network.output_names]
