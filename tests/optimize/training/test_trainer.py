"""What a training ends with, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from training import SETTINGS, CrossEntropy, Pictures, tiny_net, top1, weights_of

from edgewright.optimize.errors import TrainingError
from edgewright.optimize.training.optimizers import open_optimizer
from edgewright.optimize.training.settings import Device, OptimizerName, TrainSettings
from edgewright.optimize.training.trainer import Trainer
from edgewright.optimize.training.types import Batch, Loss

PLAIN = replace(SETTINGS, ema=0.0)


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return Pictures()


def fit(settings: TrainSettings, pictures: Pictures, module: torch.nn.Module | None = None, **rest: Any) -> Any:
    module = tiny_net() if module is None else module
    objective = rest.pop("objective", None) or CrossEntropy()
    return module, Trainer(settings).fit(module, pictures, objective, title="tiny", **rest)


@pytest.mark.parametrize(
    "settings",
    [PLAIN, SETTINGS, replace(PLAIN, optimizer=OptimizerName.SGD, rate=0.05), replace(PLAIN, mixed=True)],
    ids=["adamw", "mean", "sgd", "bfloat16"],
)
def test_it_learns_real_pictures(settings: TrainSettings, pictures: Pictures) -> None:
    measured = top1(pictures)
    module, trained = fit(replace(settings, epochs=8), pictures, evaluate=measured)
    assert trained.steps == 80
    assert trained.epochs == 8
    assert trained.stopped == "all 80 steps done"
    assert [look.step for look in trained.history] == [20, 40, 60, 80]
    assert trained.history[-1].loss < 0.8 * trained.history[0].loss
    assert trained.best_metric == max(look.metric for look in trained.history) > 0.5
    with torch.no_grad():
        assert measured(module) == trained.best_metric
    assert not module.training
    assert all(parameter.grad is None for parameter in module.parameters())


def test_the_same_seed_gives_the_same_weights(pictures: Pictures) -> None:
    short = replace(SETTINGS, epochs=1, evaluations=1)
    (one, _), (same, _), (other, _) = (fit(replace(short, seed=seed), pictures) for seed in (5, 5, 6))
    assert weights_of(one) == weights_of(same)
    assert weights_of(one) != weights_of(other)


def test_the_best_weights_come_back_and_patience_ends_it(pictures: Pictures) -> None:
    metrics = iter([0.5, 0.9, 0.8, math.nan, 0.7, 0.6])
    seen: list[dict[str, bytes]] = []

    def evaluate(module: torch.nn.Module) -> float:
        assert not module.training
        assert not torch.is_grad_enabled()
        seen.append(weights_of(module))
        return next(metrics)

    settings = replace(SETTINGS, evaluations=10, patience=3)
    module, trained = fit(settings, pictures, evaluate=evaluate)
    assert trained.stopped == "no better metric in 3 looks, at step 20 of 40"
    assert trained.best_metric == 0.9
    assert weights_of(module) == seen[1]


def test_it_ends_early_when_it_is_good_enough(pictures: Pictures) -> None:
    _, trained = fit(PLAIN, pictures, evaluate=top1(pictures), enough=lambda value: value > 0.15)
    assert trained.steps < 40
    assert trained.stopped.startswith(f"good enough at step {trained.steps} of 40: metric ")


def test_without_a_metric_the_last_weights_stay(pictures: Pictures) -> None:
    last: list[dict[str, bytes]] = []
    module, trained = fit(PLAIN, pictures, hooks=[lambda module, _step, _steps: last.append(weights_of(module))])
    assert len(last) == 40
    assert weights_of(module) == last[-1]
    assert trained.best_metric is None
    assert [look.metric for look in trained.history] == [None] * 4
    unseen, never = fit(replace(PLAIN, evaluations=0), pictures)
    assert weights_of(unseen) == last[-1]
    assert never.history == ()


def test_hooks_hold_for_the_mean_weights_too(pictures: Pictures) -> None:
    def zero(module: torch.nn.Module, _step: int, _steps: int) -> None:
        with torch.no_grad():
            module[3].weight[0] = 0  # type: ignore[index, operator]

    module, _ = fit(SETTINGS, pictures, hooks=[zero])
    assert not module[3].weight[0].any()


class Late:
    """A hook whose result is there from some step on."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __call__(self, module: torch.nn.Module, step: int, _steps: int) -> None:
        with torch.no_grad():
            module[3].weight[0] = 0.0 if step >= self.first else 1.0  # type: ignore[index, operator]

    def settled(self, step: int, steps: int) -> bool:
        return step >= self.first <= steps


@pytest.mark.parametrize("settings", [PLAIN, SETTINGS], ids=["last", "mean"])
def test_looks_count_from_when_the_hooks_are_settled(settings: TrainSettings, pictures: Pictures) -> None:
    """Earlier ones are neither the best, nor good enough, nor a reason for impatience; they are told all the same."""
    falling = iter([0.9, 0.8, 0.5, 0.7])
    module, trained = fit(
        replace(settings, patience=1),
        pictures,
        evaluate=lambda _: next(falling),
        enough=lambda metric: metric >= 0.8,
        hooks=[Late(25), lambda *_: None],
    )
    assert not module[3].weight[0].any()
    assert trained.best_metric == 0.7
    assert [look.metric for look in trained.history] == [0.9, 0.8, 0.5, 0.7]
    assert trained.stopped == "all 40 steps done"


def test_the_mean_of_weights_is_what_is_looked_at(pictures: Pictures) -> None:
    raw, _ = fit(PLAIN, pictures)
    mean, _ = fit(SETTINGS, pictures)
    assert weights_of(raw) != weights_of(mean)
    counted = [int(module[1].num_batches_tracked) for module in (raw, mean)]
    assert counted == [40, 40]


def test_nobody_elses_random_numbers_and_threads_are_touched(pictures: Pictures) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    before = torch.get_rng_state()
    fit(replace(PLAIN, epochs=1), pictures)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def test_what_is_frozen_stays(pictures: Pictures) -> None:
    module = tiny_net()
    first = module[0].weight.clone()
    module[0].weight.requires_grad_(False)
    norm = weights_of(module[1])
    fit(replace(PLAIN, average_norms=False, epochs=1), pictures, module)
    assert torch.equal(module[0].weight, first)
    after = weights_of(module[1])
    changed = {name for name in norm if after[name] != norm[name]}
    assert changed == {"weight", "bias"}


def test_biases_and_norms_do_not_decay() -> None:
    module = tiny_net()
    for name in OptimizerName:
        optimizer = open_optimizer(TrainSettings(optimizer=name, weight_decay=0.1), list(module.parameters()))
        decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        assert {decays[id(p)] for p in module.parameters() if p.ndim > 1} == {0.1}
        assert {decays[id(p)] for p in module.parameters() if p.ndim <= 1} == {0.0}


def test_adapters_are_trained_beside_the_network(pictures: Pictures) -> None:
    adapters = torch.nn.Linear(10, 10)
    first = weights_of(adapters)
    fit(replace(PLAIN, epochs=1), pictures, objective=CrossEntropy(adapters))
    assert weights_of(adapters) != first
    assert not adapters.training


class Runaway(CrossEntropy):
    """Gives no number at one step, or no gradient."""

    def __init__(self, step: int, gradient: bool) -> None:
        super().__init__()
        self.step, self.gradient, self.calls = step, gradient, 0

    def __call__(self, module: torch.nn.Module, batch: Batch) -> Loss:
        self.calls += 1
        loss = super().__call__(module, batch)
        if self.calls != self.step:
            return loss
        if self.gradient:
            weight = module[3].weight  # type: ignore[index]
            return Loss(loss.total + (weight - weight.detach()).abs().sqrt().sum() * 0.0, loss.parts)
        return Loss(loss.total * math.nan, {"classes": math.nan, "boxes": 1.5})


def test_a_loss_that_is_no_number_stops_it(pictures: Pictures) -> None:
    good: list[dict[str, bytes]] = []

    def evaluate(module: torch.nn.Module) -> float:
        good.append(weights_of(module))
        return 1.0 / len(good)

    module = tiny_net()
    with pytest.raises(TrainingError) as caught:
        fit(SETTINGS, pictures, module, evaluate=evaluate, objective=Runaway(33, gradient=False))
    assert "the loss is nan at step 33 of 40 (classes nan, boxes 1.5); the weights of step 10" in str(caught.value)
    assert "lower rate (it was 0.01)" in str(caught.value)
    assert caught.value.step == 33
    assert caught.value.exit_code == 2
    assert weights_of(module) == good[0]
    assert not module.training


def test_a_gradient_that_is_no_number_stops_it(pictures: Pictures) -> None:
    module, first = tiny_net(), weights_of(tiny_net())
    with pytest.raises(TrainingError, match=r"the gradient is not finite, first in 3.weight at step 5 of 40"):
        fit(SETTINGS, pictures, module, objective=Runaway(5, gradient=True))
    assert weights_of(module) == first


def test_a_rate_that_is_far_too_high_is_told_apart_from_a_defect(pictures: Pictures) -> None:
    settings = replace(PLAIN, rate=1000.0, optimizer=OptimizerName.SGD, clip=0.0, epochs=50, warmup=0.0)
    with pytest.raises(TrainingError, match=r"lower rate \(it was 1000\), a shorter clip \(it was no clip\)"):
        fit(settings, pictures)


def test_a_scaler_skips_gradients_that_ran_over(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    # On CUDA it is on in mixed precision; here it is switched on for the processor, which it works on too.
    made = torch.amp.GradScaler
    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda kind, enabled: made(kind, enabled=not enabled, init_scale=2.0**16)
    )
    module, trained = fit(PLAIN, pictures, objective=Runaway(5, gradient=True), evaluate=top1(pictures))
    assert trained.steps == 40
    assert all(bool(torch.isfinite(value).all()) for value in module.parameters())


@pytest.mark.parametrize(
    ("total", "said"),
    [
        (lambda module: torch.ones(3, requires_grad=True), r"gave values of shape \(3,\)"),
        (lambda module: torch.ones(()), "depends on no weight"),
        (lambda module: torch.ones((), requires_grad=True) * 2, "no gradient reached any weight"),
    ],
)
def test_objectives_that_train_nothing_are_refused(pictures: Pictures, total: Any, said: str) -> None:
    class Wrong(CrossEntropy):
        def __call__(self, module: torch.nn.Module, batch: Batch) -> Loss:
            return Loss(total(module))

    with pytest.raises(TrainingError, match=said):
        fit(PLAIN, pictures, objective=Wrong())


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(TrainingError, match="holds no pictures"):
        fit(PLAIN, Pictures(0))


def test_nothing_to_train_is_refused(pictures: Pictures) -> None:
    with pytest.raises(TrainingError, match="no parameter of the module requires a gradient"):
        fit(PLAIN, pictures, tiny_net().requires_grad_(False))


def test_weights_that_are_no_numbers_are_refused(pictures: Pictures) -> None:
    module = tiny_net()
    with torch.no_grad():
        module[3].weight[0] = math.inf
    with pytest.raises(TrainingError, match="3.weight holds values that are not finite before the training begins"):
        fit(PLAIN, pictures, module)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_that_is_not_there_is_said(pictures: Pictures) -> None:
    with pytest.raises(TrainingError, match="device auto or cpu"):
        fit(replace(PLAIN, device=Device.CUDA), pictures)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_trains_in_mixed_precision(pictures: Pictures) -> None:
    inputs, labels = torch.from_numpy(pictures.images).cuda(), torch.from_numpy(pictures.labels).cuda()
    module, trained = fit(
        replace(SETTINGS, device=Device.AUTO, epochs=10),
        pictures,
        evaluate=lambda net: float((net(inputs).argmax(1) == labels).float().mean()),
    )
    assert trained.best_metric > 0.6
    assert {value.device.type for value in module.state_dict().values()} == {"cpu"}


def test_fewer_pictures_than_a_batch() -> None:
    few = Pictures(10)
    _, trained = fit(replace(PLAIN, epochs=3), few)
    assert trained.steps == 3
    assert np.isfinite(trained.history[-1].loss)
