"""What a run would do, in steps, before anything runs; in inferences of the float model, see ``steps.plan``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.chain.effort import RANGES
from edgewright.optimize.steps import StepKey, Workload, input_of, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.optimize.chain.effort import Chain
    from edgewright.optimize.roles import Roles
    from edgewright.optimize.steps import Plan, Probe, StepCache
    from edgewright.runtime.bench import BenchSettings

__all__ = ["plan_run"]

# In float inferences a picture; from profiles of the person detector and of MobileNetV2.
_EXTREMES, _HISTOGRAMS, _MOMENTS = 1.6, 7.0, 4.0
_ROUNDING = {"round-depthwise": 1.0, "round-second-moment": 8.0, "correct-bias": 12.0}
_INT8, _PAIR = 0.6, 1.6
_SEARCHES = 12
_EMULATED = 12
_BRIEF_TURNS = 60


def plan_run(
    chain: Chain, model: bytes, roles: Roles, timing: BenchSettings, *, probe: Probe, cache: StepCache
) -> Plan:
    """Predicts a run.

    Args:
        chain: What it tries.
        model: The prepared float graph.
        roles: The pictures.
        timing: How long the final timing is.
        probe: What one float inference costs here.
        cache: Knows what is done already, and what earlier runs took.
    """
    return make_plan(tuple(_workloads(chain, model, roles, timing)), probe, cache)


def _workloads(chain: Chain, model: bytes, roles: Roles, timing: BenchSettings) -> Iterator[Workload]:
    pictures, selected = roles.calibration.count, roles.selection.count
    histograms = any(name.partition(":")[0] in RANGES[2:] for name in chain.ranges)
    key = StepKey(
        "calibrate",
        params={"methods": list(chain.ranges), "symmetric": False},
        inputs={"model": input_of(model), "pictures": roles.calibration.key},
    )
    cost = _HISTOGRAMS if histograms else _EXTREMES
    yield Workload("calibrate", "observe the range of every activation", pictures, cost, key=key)
    tried = len(chain.ranges) + len(chain.scaling) + len(chain.rounding)
    if chain.rounding:
        yield Workload("moments", "observe second moments of every layer's input", pictures, _MOMENTS, activations=2.0)
    for name in chain.scaling:
        yield Workload(name, "move range between tensors, calibrate again", pictures, cost)
    for name in chain.rounding:
        yield Workload(name, "find better integers", pictures, _ROUNDING[name])
    yield Workload("losses", f"hold {tried} candidates against float", tried * selected, _INT8)
    if chain.mixed_precision:
        count = _SEARCHES * selected
        yield Workload("search-regions", "look for regions that are worth their bytes in float", count, _INT8)
    if chain.forms:
        count = len(chain.forms) * (selected * 2 + _BRIEF_TURNS)
        yield Workload("forms", f"make, compare and time {len(chain.forms) + 1} forms", count, 1.0)
    if not chain.brief:
        yield Workload("boards", "predict the answers of boards that compute other sums", _EMULATED * 4, 3.0)
    agreed = roles.plan.agreement.estimate() if roles.plan.agreement is not None else 0
    labelled = len(roles.plan.labels.frames) if roles.plan.labels is not None else 0
    yield Workload("judge", "judge the chosen form on pictures of its own", (agreed or 0) + labelled, _PAIR)
    runs = timing.blocks * timing.frames_per_block
    yield Workload("time", "time float and the chosen form, processes taking turns", runs, _PAIR, fixed_seconds=2.0)
