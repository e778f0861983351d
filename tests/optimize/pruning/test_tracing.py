"""Which channels can go, which cannot and why, and modules that cannot be traced."""

import numpy as np
import pytest
import torch
from pruning_nets import Branching, Chain, Concat, Gated, Residual, source_of
from torch import nn

from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.pruning.groups import Side, counts_allowed
from edgewright.optimize.pruning.tracing import trace


def test_layers_that_a_sum_ties_are_one_group() -> None:
    traced = trace(source_of(Residual()))
    groups = traced.by_name
    assert {member.name for member in groups["stem.0"].makers} == {"stem.0", "b.0"}
    assert {member.name for name in groups for member in groups[name].makers if "skip" in member.name} == {"skip"}
    tied = next(group for group in traced.groups if "skip" in {member.name for member in group.makers})
    assert {member.name for member in tied.makers} == {"skip", "d"}
    assert {member.name for member in groups["stem.0"].readers} == {"a.0", "c.0", "skip"}


def test_heads_are_found_by_structure_and_stay() -> None:
    traced = trace(source_of(Concat(), 32, ("map", "flat")))
    assert set(traced.heads) == {"map", "flat"}
    assert {layer for row in traced.skipped for layer in row.layers} == {"map", "flat"}
    assert all("makes an output" in row.reason for row in traced.skipped)


def test_a_layer_whose_sum_is_the_output_is_a_head() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.left, self.right = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 8, 1), nn.Conv2d(3, 8, 1)
            self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.depth(self.left(torch.relu(self.inner(x))) + self.right(x))

    traced = trace(source_of(Sum()))
    assert set(traced.heads) == {"left", "right", "depth"}
    assert [group.name for group in traced.groups] == ["inner"]


def test_a_flattened_map_reads_each_channel_many_times() -> None:
    group = trace(source_of(Concat(), 32, ("map", "flat"))).by_name["join.0"]
    flat = next(member for member in group.members if member.name == "flat" and member.side is Side.READS)
    assert np.array_equal(flat.positions(np.asarray([2])), np.arange(32, 48))


def test_channels_that_only_go_together_are_units() -> None:
    groups = trace(source_of(Gated())).by_name
    assert groups["split"].units.tolist() == [[index, index + 24] for index in range(24)]
    assert groups["stem.0"].units.tolist() == [[index, index + 16] for index in range(16)]


def test_what_is_kept_is_named_with_the_pattern() -> None:
    traced = trace(source_of(Residual()), keep=("c.*",))
    assert "c.0" not in traced.by_name
    assert any("c.0" in row.layers and "'c.*'" in row.reason for row in traced.skipped)


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match=r"nothing is called 'nobody'.*first, second, out"):
        trace(source_of(Chain()), keep=("nobody",))


def test_a_path_that_depends_on_the_picture_is_refused() -> None:
    with pytest.raises(ModelError, match="the path depends on the picture"):
        trace(source_of(Branching()))


def test_the_place_that_looks_at_numbers_is_named() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = Branching()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inside(x)

    with pytest.raises(ModelError, match=r"inside \(Branching\) looks at the numbers"):
        trace(source_of(Outer()))


def test_an_output_without_trainable_weights_is_refused() -> None:
    class Detached(Chain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).detach()

    with pytest.raises(ModelError, match="output 0 does not depend on any weight"):
        trace(source_of(Detached()))


def test_a_module_that_fails_is_refused_in_its_words() -> None:
    with pytest.raises(ModelError, match=r"fails on an input of shape \[1, 3, 16, 16\]"):
        trace(source_of(nn.Sequential(nn.Conv2d(4, 8, 3))))


@pytest.mark.parametrize(
    ("size", "width", "round_to", "most", "allowed"),
    [
        (32, 1, 8, 0.8, (8, 16, 24, 32)),
        (20, 1, 8, 0.5, (16, 20)),
        (48, 2, 8, 0.9, (8, 16, 24, 32, 40, 48)),
        (9, 3, 8, 0.9, (9,)),
        (8, 1, 8, 0.9, (8,)),
        (6, 1, 1, 0.5, (3, 4, 5, 6)),
    ],
)
def test_counts_are_multiples_and_never_nothing(
    size: int, width: int, round_to: int, most: float, allowed: tuple[int, ...]
) -> None:
    assert counts_allowed(size, width, round_to, most) == allowed
