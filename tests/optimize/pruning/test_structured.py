"""Networks come down to the target, keep their outputs, and compute what they would without the channels."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from examples.classifier.model import MobileNetV2
from examples.fashion.model import DepthwiseNet
from examples.person.model import PersonDetector, person_spec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pruning_nets import Branching, Chain, Concat, CrossEntropy, Gated, Residual, batches, settled, source_of
from torch import nn

from edgewright.optimize.errors import ModelError, PassError, SpecError
from edgewright.optimize.pruning.settings import Importance, PruneSettings, PruneTarget, Ratios
from edgewright.optimize.pruning.structured import prune
from edgewright.optimize.pruning.tracing import probe_input, trace
from edgewright.optimize.spec import SourceModel


def person_net() -> SourceModel:
    return SourceModel(settled(PersonDetector()), person_spec(), ("box_codes", "class_logits"))


NETS: dict[str, Callable[[], SourceModel]] = {
    "chain": lambda: source_of(Chain()),
    "residual": lambda: source_of(Residual()),
    "concat": lambda: source_of(Concat(), 32, ("map", "flat")),
    "gated": lambda: source_of(Gated()),
    "depthwise": lambda: source_of(DepthwiseNet(), 28),
    "mobilenet": lambda: source_of(MobileNetV2(), 64),
    "person": person_net,
}


def answers(source: SourceModel) -> list[torch.Tensor]:
    with torch.no_grad():
        made = source.module(probe_input(source, 3))
    return list(made) if isinstance(made, tuple) else [made]


@pytest.mark.parametrize("name", NETS)
def test_half_the_macs_go_and_the_outputs_keep_their_shape(name: str) -> None:
    source = NETS[name]()
    before = answers(source)
    done = prune(source, PruneSettings(PruneTarget(macs=0.5)))
    assert 0.25 < done.after.macs / done.before.macs <= 0.5
    assert done.after.parameters < done.before.parameters
    assert [output.shape for output in answers(done.source)] == [output.shape for output in before]
    assert all(group.after % 8 == 0 or group.after == group.before for group in done.groups)
    assert all(torch.equal(*pair) for pair in zip(answers(source), before, strict=True)), "the original was changed"


@pytest.mark.parametrize("name", ["chain", "residual", "concat", "gated", "depthwise"])
def test_channels_that_nobody_reads_go_first_and_nothing_changes(name: str) -> None:
    source = NETS[name]()
    traced = trace(source)
    with torch.no_grad():
        for group in traced.groups:
            gone = torch.from_numpy(group.units[len(group.units) // 2 :].ravel())
            for member in group.members:
                if member.side.value != "reads" and hasattr(member.module, "weight"):
                    axis = 1 if getattr(member.module, "transposed", False) else 0
                    places = torch.from_numpy(member.positions(gone.numpy()))
                    member.module.weight.index_fill_(axis, places, 0.0)
                    if member.module.bias is not None:
                        member.module.bias.index_fill_(0, places, 0.0)
                    if isinstance(member.module, nn.BatchNorm2d):
                        member.module.running_mean.index_fill_(0, places, 0.0)
    before = answers(source)
    done = prune(source, PruneSettings(PruneTarget(macs=0.6), ratios=Ratios.GLOBAL, round_to=4, most=0.5))
    for first, second in zip(before, answers(done.source), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-4 * float(first.abs().max()))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(["chain", "residual", "concat", "gated"]),
    shares=st.lists(st.floats(0.3, 0.95), min_size=2, max_size=2),
    round_to=st.sampled_from([1, 2, 4, 8]),
    ratios=st.sampled_from([Ratios.UNIFORM, Ratios.GLOBAL]),
    importance=st.sampled_from([Importance.L1, Importance.L2, Importance.BN]),
)
def test_whatever_is_asked_for(
    name: str, shares: list[float], round_to: int, ratios: Ratios, importance: Importance
) -> None:
    source = NETS[name]()
    before, macs = answers(source), []
    for share in sorted(shares):
        wanted = PruneSettings(PruneTarget(macs=share), importance, ratios, round_to)
        done, refusal = None, ""
        try:
            done = prune(source, wanted)
        except PassError as error:
            refusal = str(error)
        if done is None:
            assert "the least that can be had" in refusal
            return
        assert done.after.macs <= share * done.before.macs + 1
        assert [output.shape for output in answers(done.source)] == [output.shape for output in before]
        for group in done.groups:
            assert group.after >= min(round_to, group.before)
            assert group.after % round_to == 0 or group.after == group.before
        macs.append(done.after.macs)
    assert macs == sorted(macs) or macs[0] - macs[1] < 0.1 * done.before.macs


@pytest.mark.parametrize("importance", Importance)
def test_every_importance_and_sensitivity(importance: Importance) -> None:
    wanted = PruneSettings(PruneTarget(macs=0.6), importance, Ratios.SENSITIVITY, round_to=4)
    done = prune(source_of(Residual()), wanted, batches=batches, objective=CrossEntropy())
    assert done.after.macs <= 0.6 * done.before.macs


def test_sensitivity_without_an_objective_looks_at_the_outputs() -> None:
    wanted = PruneSettings(PruneTarget(macs=0.6), ratios=Ratios.SENSITIVITY, round_to=4)
    done = prune(source_of(Concat(), 32, ("map", "flat")), wanted, batches=lambda: batches(32))
    assert done.after.macs <= 0.6 * done.before.macs


def test_bytes_as_a_target() -> None:
    done = prune(source_of(DepthwiseNet(), 28), PruneSettings(PruneTarget(bytes=0.5)))
    assert 0.2 < done.after.bytes / done.before.bytes <= 0.5


def test_fine_tuning_comes_between_steps_and_uniform_shapes_do_not_depend_on_it() -> None:
    seen: list[tuple[int, int, int]] = []

    def tune(source: SourceModel, number: int, rounds: int) -> None:
        seen.append((number, rounds, sum(p.numel() for p in source.module.parameters())))
        with torch.no_grad():
            for parameter in source.module.parameters():
                parameter.mul_(1.0 + torch.rand(parameter.shape, generator=torch.Generator().manual_seed(number)))
        source.module.train()

    wanted = PruneSettings(PruneTarget(macs=0.4), ratios=Ratios.UNIFORM, rounds=3, round_to=4)
    tuned = prune(source_of(Residual()), wanted, tune=tune)
    plain = prune(source_of(Residual()), wanted)
    assert [row[:2] for row in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[0][2] > seen[1][2] > seen[2][2]
    assert tuned.groups == plain.groups
    assert not tuned.source.module.training


def test_the_same_call_prunes_the_same() -> None:
    first, second = (prune(source_of(Gated()), PruneSettings(PruneTarget(macs=0.5))) for _ in range(2))
    for a, b in zip(first.source.module.parameters(), second.source.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_frozen_parameters_stay_frozen() -> None:
    source = source_of(Chain())
    source.module.second.weight.requires_grad_(False)
    seen: list[list[str]] = []

    def frozen(module: nn.Module) -> list[str]:
        return [name for name, parameter in module.named_parameters() if not parameter.requires_grad]

    def tune(now: SourceModel, _number: int, _rounds: int) -> None:
        seen.append(frozen(now.module))

    done = prune(source, PruneSettings(PruneTarget(macs=0.6), rounds=2, round_to=4), tune=tune)
    assert seen == [["second.weight"]] * 2
    assert frozen(done.source.module) == ["second.weight"]


def test_a_target_out_of_reach_says_the_least_that_can_be_had() -> None:
    with pytest.raises(PassError, match=r"cannot come down to 1\.0%.*[0-9.]+% remains, and that is the least"):
        prune(source_of(Residual()), PruneSettings(PruneTarget(macs=0.01)))


def test_a_network_whose_only_groups_are_kept_is_refused_with_names() -> None:
    with pytest.raises(PassError, match=r"no channels can be pruned: first: first kept.*second.*out"):
        prune(source_of(Chain()), PruneSettings(PruneTarget(macs=0.5), keep=("first", "second")))


def test_narrow_layers_are_skipped_with_the_reason() -> None:
    done = prune(source_of(Chain(8)), PruneSettings(PruneTarget(macs=0.7)))
    assert any(row.layers == ("first",) and "8 channels are too few" in row.reason for row in done.skipped)


def test_what_the_graph_gets_wrong_is_found_by_trial_and_left_alone() -> None:
    class Mixed(Chain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = torch.softmax(self.first(x), 1)  # each channel sees all others
            return self.out(torch.relu(self.second(first)).mean((2, 3)))

    done = prune(source_of(Mixed(64)), PruneSettings(PruneTarget(macs=0.6), ratios=Ratios.UNIFORM))
    assert any(row.layers == ("first",) and "computes something else" in row.reason for row in done.skipped)
    assert next(group for group in done.groups if group.name == "second").after < 24


def test_untraceable_modules_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot be traced"):
        prune(source_of(Branching()), PruneSettings(PruneTarget(macs=0.5)))


def test_what_is_no_module_is_refused() -> None:
    source = replace(source_of(Chain()), module=lambda picture: picture)
    with pytest.raises(ModelError, match="function and no torch.nn.Module"):
        prune(source, PruneSettings(PruneTarget(macs=0.5)))


def test_what_cannot_be_copied_is_refused() -> None:
    source = source_of(Chain())
    source.module.leftover = source.module.out.weight * 2
    with pytest.raises(ModelError, match="cannot be copied"):
        prune(source, PruneSettings(PruneTarget(macs=0.5)))


def test_weights_that_are_not_numbers_are_refused() -> None:
    source = source_of(Chain())
    source = replace(source, module=copy.deepcopy(source.module))
    with torch.no_grad():
        source.module.first.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ModelError, match="importance of channels of first is not a number"):
        prune(source, PruneSettings(PruneTarget(macs=0.5)))


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"importance": Importance.TAYLOR}, "give an objective"),
        ({"importance": Importance.APOZ}, "give batches"),
        ({"ratios": Ratios.SENSITIVITY}, "give batches"),
    ],
)
def test_what_needs_pictures_says_so(given_: dict[str, object], words: str) -> None:
    pictures = batches if given_.get("importance") is Importance.TAYLOR else None
    with pytest.raises(SpecError, match=words):
        prune(source_of(Chain()), PruneSettings(PruneTarget(macs=0.5), **given_), batches=pictures)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{}, {"macs": 0.5, "bytes": 0.5}, {"macs": 1.0}, {"bytes": 0.0}, {"macs": -1.0}])
def test_a_target_is_one_share(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError):
        PruneTarget(**wrong)  # type: ignore[arg-type]


def test_latency_of_another_machine_is_refused_with_what_can_be_done() -> None:
    with pytest.raises(SpecError, match=r"'pi-5' cannot be aimed at.*as macs or bytes, or prune on that machine"):
        PruneTarget(latency=0.5, machine="pi-5")


@pytest.mark.parametrize("wrong", [{"round_to": 0}, {"rounds": 0}, {"most": 1.0}])
def test_settings_that_make_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(SpecError, match=next(iter(wrong))):
        PruneSettings(PruneTarget(macs=0.5), **wrong)  # type: ignore[arg-type]
