"""Zeros where they are wanted, as many as wanted, and the same after a stop."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from pruning_nets import Chain, CrossEntropy, Residual, batches, settled

from edgewright.optimize.errors import SpecError
from edgewright.optimize.pruning.sparse import SparseSettings, SparsityHook, make_sparse_permanent, sparsity_of
from edgewright.optimize.training.settings import Device, TrainSettings
from edgewright.optimize.training.trainer import Trainer
from edgewright.optimize.training.types import Batch, Loss


@examples(max_examples=30, deadline=None)
@given(st.floats(0.05, 0.95), st.booleans())
def test_the_share_of_zeros_is_the_one_asked_for_and_twice_changes_nothing(share: float, across: bool) -> None:
    module = settled(Residual())
    wanted = SparseSettings(share=share, across=across)
    once = make_sparse_permanent(module, wanted)
    before = copy.deepcopy(module.state_dict())
    concerned = {name: part for name, part in module.named_modules() if once.layers.get(name)}
    weights = sum(part.weight.numel() for name, part in module.named_modules() if _concerned(part))
    assert once.zeros == pytest.approx(share * weights, abs=len(concerned) + 1)
    assert make_sparse_permanent(module, wanted) == once
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def _concerned(part: object) -> bool:
    return isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)) and part.weight.numel() >= 256


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (1, 2)])
def test_of_every_m_neighbours_n_stay_and_they_are_the_largest(n: int, m: int) -> None:
    module = settled(Residual())
    before = module.get_submodule("c.0").weight.detach().clone()
    make_sparse_permanent(module, SparseSettings(pattern=(n, m)))
    after = module.get_submodule("c.0").weight.detach()
    blocks, whole = (w.movedim(1, -1).reshape(-1, m).abs() for w in (after, before))
    assert ((blocks > 0).sum(1) == n).all()
    assert torch.equal(blocks.sort(1, descending=True).values[:, :n], whole.sort(1, descending=True).values[:, :n])


def test_the_smallest_weights_go() -> None:
    module = settled(Chain())
    before = module.get_submodule("second").weight.detach().abs()
    make_sparse_permanent(module, SparseSettings(share=0.5))
    gone = module.get_submodule("second").weight == 0
    assert before[gone].max() <= before[~gone].min()


def test_the_schedule_is_cubic_between_begin_and_end() -> None:
    wanted = SparseSettings(share=0.8, begin=0.2, end=0.6)
    shares = [wanted.share_at(step, 100) for step in (1, 20, 40, 60, 100)]
    assert shares == pytest.approx([0.0, 0.0, 0.8 * (1 - 0.5**3), 0.8, 0.8])
    rising = [wanted.share_at(step, 100) for step in range(1, 101)]
    assert rising == sorted(rising)


def test_training_goes_on_after_a_stop_as_if_there_had_been_none() -> None:
    wanted = SparseSettings(share=0.7, end=0.8)

    def trained(module: torch.nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
        hook = SparsityHook(module, wanted)  # a new one, as after a stop
        for step in range(first, last + 1):
            for batch in batches(count=1):
                optimizer.zero_grad()
                CrossEntropy()(module, batch).total.backward()
                optimizer.step()
            hook(module, step, 10)

    whole, parts = settled(Chain()), settled(Chain())
    trained(whole, torch.optim.SGD(whole.parameters(), 0.05, momentum=0.9), 1, 10)
    optimizer = torch.optim.SGD(parts.parameters(), 0.05, momentum=0.9)
    trained(parts, optimizer, 1, 4)
    trained(parts, optimizer, 5, 10)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    zeros = sparsity_of(whole)
    assert zeros.layers["first"] == pytest.approx(0.7, abs=0.01)
    assert zeros.layers["second"] == pytest.approx(0.7, abs=0.01)
    assert zeros.layers["out"] == 0.0


class Drawn:
    """A training set of noise."""

    digest = "noise"

    def __init__(self) -> None:
        self._all = list(batches(count=4, size=8))

    def __len__(self) -> int:
        return 32

    def batch(self, rows: NDArray[np.int64], _rng: np.random.Generator) -> Batch:
        inputs = torch.cat([batch.inputs for batch in self._all])[rows]
        classes = torch.cat([batch.classes for batch in self._all if batch.classes is not None])[rows]
        return Batch(inputs, rows, np.zeros_like(rows), classes)


SHORT = TrainSettings(epochs=5, batch=8, rate=0.02, evaluations=5, threads=1, device=Device.CPU)


def density(module: torch.nn.Module) -> float:
    """A metric that likes dense networks, as every real one does."""
    return 1.0 - sparsity_of(module).share


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("wanted", [SparseSettings(share=0.7), SparseSettings(pattern=(2, 4), end=1.0)], ids=str)
def test_training_itself_ends_with_all_zeros_though_dense_looks_are_better(wanted: SparseSettings, ema: float) -> None:
    module = settled(Chain())
    hook = SparsityHook(module, wanted)
    settings = replace(SHORT, ema=ema, patience=1)
    trained = Trainer(settings).fit(
        module,
        Drawn(),
        CrossEntropy(),
        title="sparsify",
        evaluate=density,
        enough=lambda value: value > 0.9,
        hooks=[hook],
    )
    looks = [look.metric for look in trained.history if look.metric is not None]
    assert looks[0] > looks[-1] == trained.best_metric
    left = copy.deepcopy(module.state_dict())
    zeros = sparsity_of(module)
    assert zeros.layers["second"] == pytest.approx(wanted.final, abs=0.01)
    assert make_sparse_permanent(module, wanted) == zeros
    assert all(torch.equal(value, left[name]) for name, value in module.state_dict().items())


def test_a_killed_sparse_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    wanted = SparseSettings(share=0.7, end=0.8)

    class Stopping(CrossEntropy):
        calls = 0

        def __call__(self, module: torch.nn.Module, batch: Batch) -> Loss:
            self.calls += 1
            if self.calls == 11:
                raise KeyboardInterrupt
            return super().__call__(module, batch)

    def trained(folder: Path, objective: CrossEntropy) -> tuple[torch.nn.Module, int]:
        module = settled(Chain())
        done = Trainer(replace(SHORT, ema=0.9, checkpoint_minutes=0), folder=folder).fit(
            module,
            Drawn(),
            objective,
            title="sparsify",
            evaluate=density,
            hooks=[SparsityHook(module, wanted)],
        )
        return module, done.resumed_from

    whole, _ = trained(tmp_path / "whole", CrossEntropy())
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", Stopping())
    parts, resumed_from = trained(tmp_path / "parts", CrossEntropy())
    assert resumed_from == 10
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name])


def test_kept_and_depthwise_layers_stay_dense() -> None:
    module = torch.nn.Sequential(
        torch.nn.Conv2d(64, 64, 3, groups=64), torch.nn.Conv2d(64, 64, 1), torch.nn.Conv2d(64, 8, 1)
    )
    counted = make_sparse_permanent(module, SparseSettings(share=0.5, keep=("2",)))
    assert (counted.layers["0"], counted.layers["2"]) == (0.0, 0.0)
    assert counted.layers["1"] == pytest.approx(0.5)
    assert np.isclose(counted.share, counted.zeros / counted.weights)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"share": 0.5, "pattern": (2, 4)},
        {"share": 1.0},
        {"pattern": (4, 4)},
        {"share": 0.5, "begin": 0.9, "end": 0.1},
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        SparseSettings(**wrong)  # type: ignore[arg-type]


def test_nothing_to_make_sparse_is_refused() -> None:
    with pytest.raises(SpecError, match="no layer is left"):
        SparsityHook(settled(Chain()), SparseSettings(share=0.5, keep=("*",)))
