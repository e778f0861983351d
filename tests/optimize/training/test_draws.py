"""What is drawn depends on the seed and the step, on nothing before them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgewright.optimize.training.draws import Draws


@given(st.integers(0, 2**63), st.integers(1, 60), st.integers(1, 80), st.integers(1, 4))
def test_every_picture_comes_once_in_each_pass(seed: int, pictures: int, batch: int, passes: int) -> None:
    draws = Draws(seed, pictures, batch)
    steps = -(-passes * pictures // draws.batch)
    dealt = [draws.rows(step) for step in range(1, steps + 1)]
    assert {len(rows) for rows in dealt} == {min(batch, pictures)}
    packs = np.concatenate(dealt)[: passes * pictures].reshape(passes, pictures)
    assert all(sorted(pack) == list(range(pictures)) for pack in packs)


@given(st.integers(0, 1000), st.integers(1, 50), st.integers(1, 60), st.integers(1, 200))
def test_a_step_draws_the_same_whatever_came_before(seed: int, pictures: int, batch: int, step: int) -> None:
    warm = Draws(seed, pictures, batch)
    for earlier in range(max(1, step - 5), step):
        warm.rows(earlier)
    fresh = Draws(seed, pictures, batch)
    assert warm.rows(step).tolist() == fresh.rows(step).tolist()
    assert warm.distortions(step).integers(1 << 60) == fresh.distortions(step).integers(1 << 60)


def test_seeds_and_steps_and_streams_differ() -> None:
    drawn = set()
    for seed in (1, 2):
        for step in (1, 2, 3):
            draws = Draws(seed, 1000, 4)
            with torch.random.fork_rng([]):
                draws.seed_torch(step, torch.device("cpu"))
                drawn.add(int(torch.randint(1 << 62, ())))
            drawn.add(int(draws.distortions(step).integers(1 << 62)))
            drawn.add(tuple(draws.rows(step).tolist()))
    assert len(drawn) == 18
