"""The running mean of weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.optimize.training.average import Average


@settings(max_examples=30)
@given(st.floats(0.0, 0.999), st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_it_is_the_mean_with_falling_weights(decay: float, values: list[float]) -> None:
    module = torch.nn.Linear(1, 1, bias=False).double()
    average = Average(module, decay)
    for value in values:
        with torch.no_grad():
            module.weight.fill_(value)
        average.follow(module)
    shares = [decay ** (len(values) - 1 - number) for number in range(len(values))]
    wanted = sum(share * value for share, value in zip(shares, values, strict=True)) / sum(shares)
    assert float(average.values["weight"]) == pytest.approx(wanted, abs=1e-9)


def test_what_does_not_change_stays_exactly_and_counters_are_not_averaged() -> None:
    module = torch.nn.BatchNorm1d(3)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.1, 1 / 3, 7e-9]))
    average = Average(module, 0.99)
    for _ in range(50):
        module.num_batches_tracked += 1
        average.follow(module)
    assert torch.equal(average.values["weight"], module.weight.detach())
    assert "num_batches_tracked" not in average.values
    assert {"running_mean", "running_var"} <= set(average.values)


def test_frozen_weights_are_left_out() -> None:
    module = torch.nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    assert set(Average(module, 0.9).values) == {"weight"}
