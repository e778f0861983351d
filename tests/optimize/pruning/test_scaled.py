"""Narrower copies with fresh weights."""

import pytest
import torch
from examples.fashion.model import DepthwiseNet
from pruning_nets import Chain, Concat, Residual, source_of

from edgewright.optimize.errors import PassError, SpecError
from edgewright.optimize.pruning.network import cost_of_module
from edgewright.optimize.pruning.scaled import scaled_copy
from edgewright.optimize.pruning.tracing import probe_input


def test_a_student_has_the_same_outputs_and_fewer_channels() -> None:
    source = source_of(Concat(), 32, ("map", "flat"))
    student = scaled_copy(source, 0.5, 1)
    picture = probe_input(source, 1)
    with torch.no_grad():
        shapes = [[output.shape for output in made.module(picture)] for made in (source, student)]
    assert shapes[0] == shapes[1]
    costs = [cost_of_module(made.module, picture, "net") for made in (source, student)]
    assert costs[1].macs < 0.5 * costs[0].macs
    assert student.output_names == source.output_names


def test_weights_are_fresh_and_follow_from_the_seed() -> None:
    source, differing = source_of(Residual()), source_of(Residual(), seed=4)
    first = scaled_copy(source, 0.5, 7).module.state_dict()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    again = scaled_copy(differing, 0.5, 7).module.state_dict()
    other = scaled_copy(source, 0.5, 8).module.state_dict()
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])
    assert torch.equal(first["stem.1.running_mean"], torch.zeros_like(first["stem.1.running_mean"]))


def test_signals_keep_their_size_through_a_net_without_norms() -> None:
    student = scaled_copy(source_of(DepthwiseNet(), 28), 0.5, 3)
    picture = probe_input(student, 2)
    with torch.no_grad():
        spread = float(student.module.features(picture).std())
    assert 0.05 < spread < 20.0


def test_full_width_keeps_all_channels() -> None:
    source = source_of(Chain())
    student = scaled_copy(source, 1.0, 1)
    assert [p.shape for p in student.module.parameters()] == [p.shape for p in source.module.parameters()]


@pytest.mark.parametrize("width", [0.0, -1.0, 1.5])
def test_a_width_is_a_share(width: float) -> None:
    with pytest.raises(SpecError, match="width"):
        scaled_copy(source_of(Chain()), width, 1)


def test_what_cannot_be_narrowed_is_refused() -> None:
    with pytest.raises(PassError, match="cannot be made narrower"):
        scaled_copy(source_of(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3))), 0.5, 1)
