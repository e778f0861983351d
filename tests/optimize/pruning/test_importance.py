"""Scores say which channels matter, and Taylor scores are what the loss does."""

import numpy as np
import pytest
import torch
from pruning_nets import Chain, CrossEntropy, Gated, batches, source_of

from edgewright.optimize.errors import DataError
from edgewright.optimize.pruning.importance import score_channels
from edgewright.optimize.pruning.removal import silenced
from edgewright.optimize.pruning.settings import Importance
from edgewright.optimize.pruning.tracing import Traced, trace


@pytest.fixture
def chain() -> Traced:
    return trace(source_of(Chain()))


@pytest.mark.parametrize("kind", [Importance.L1, Importance.L2])
def test_small_weights_score_low(chain: Traced, kind: Importance) -> None:
    with torch.no_grad():
        chain.module.get_submodule("first").weight[5] *= 0.01
        chain.module.get_submodule("second").weight[:, 5] *= 0.01
    scores = score_channels(chain, kind)["first"]
    assert scores.argmin() == 5
    assert scores.mean() == pytest.approx(1.0)


def test_batch_norms_that_scale_down_score_low(chain: Traced) -> None:
    with torch.no_grad():
        chain.module.get_submodule("norm").weight[7] = -0.01
        chain.module.get_submodule("norm").weight[3] = -9.0
    scores = score_channels(chain, Importance.BN)["first"]
    assert (scores.argmin(), scores.argmax()) == (7, 3)


@pytest.mark.parametrize("kind", [Importance.ACTIVATION, Importance.APOZ, Importance.TAYLOR])
def test_a_channel_that_never_fires_scores_nothing(chain: Traced, kind: Importance) -> None:
    with torch.no_grad():
        norm = chain.module.get_submodule("norm")
        norm.weight[2], norm.bias[2] = 0.0, -1.0
    scores = score_channels(chain, kind, batches, CrossEntropy())["first"]
    assert scores[2] == 0.0
    assert (np.delete(scores, 2) > 0).all()
    assert all(parameter.grad is None for parameter in chain.module.parameters())


def test_taylor_is_the_squared_slope_of_the_loss_as_the_channel_fades(chain: Traced) -> None:
    once = lambda: batches(count=1)  # noqa: E731
    scores = score_channels(chain, Importance.TAYLOR, once, CrossEntropy())["first"]
    batch, weight, step = next(batches(count=1)), chain.module.get_submodule("second").weight, 1e-2
    slopes = []
    for channel in range(16):
        losses = []
        for factor in (1 + step, (1 - step) / (1 + step)):
            with torch.no_grad():
                weight[:, channel] *= factor
                losses.append(float(CrossEntropy()(chain.module, batch).total))
        with torch.no_grad():
            weight[:, channel] /= 1 - step
        slopes.append((losses[0] - losses[1]) / (2 * step))
    np.testing.assert_allclose(scores, np.square(slopes), rtol=0.1, atol=1e-5)


def test_scores_are_of_units() -> None:
    traced = trace(source_of(Gated()))
    scores = score_channels(traced, Importance.TAYLOR, batches, CrossEntropy())
    assert {name: len(row) for name, row in scores.items()} == {group.name: len(group.units) for group in traced.groups}


def test_no_pictures_are_an_error(chain: Traced) -> None:
    for kind in (Importance.TAYLOR, Importance.ACTIVATION):
        with pytest.raises(DataError, match="there are no pictures"):
            score_channels(chain, kind, lambda: (), CrossEntropy())


def test_silencing_is_undone() -> None:
    traced = trace(source_of(Gated()))
    before = {name: value.clone() for name, value in traced.module.state_dict().items()}
    picture = next(batches()).inputs
    with torch.no_grad():
        whole = traced.module(picture)
        with silenced({"stem.0": np.asarray([3, 19])}, traced.by_name):
            assert not torch.equal(traced.module(picture), whole)
    assert all(torch.equal(value, before[name]) for name, value in traced.module.state_dict().items())
