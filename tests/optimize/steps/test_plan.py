"""Plans and budgets of time."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tiny_models import classifier_onnx

from edgewright.optimize.errors import SpecError
from edgewright.optimize.steps import (
    Deadline,
    Probe,
    StepCache,
    StepKey,
    StepOutput,
    Workload,
    make_plan,
    probe_model,
)
from edgewright.optimize.steps.entry import StepCost
from edgewright.optimize.steps.plan import predict

PROBE = Probe(inference_seconds=0.02, activation_bytes=5_000_000, model_bytes=12_000_000, process_bytes=100_000_000)
CALIBRATE = Workload("calibrate", "ranges from pictures", evaluations=50, inferences=1.5, fixed_seconds=0.5)


def test_time_and_memory_are_reckoned_from_the_probe() -> None:
    step = predict(CALIBRATE, PROBE)
    assert step.seconds == pytest.approx(0.5 + 50 * 1.5 * 0.02)
    assert step.memory_bytes == 100_000_000 + 2 * 12_000_000 + 5_000_000
    assert not step.measured


def test_earlier_runs_count_more() -> None:
    history = [StepCost(10.0, 10), StepCost(30.0, 10), StepCost(20.0, 10), StepCost(99.0, 0)]
    step = predict(CALIBRATE, PROBE, history)
    assert (step.seconds, step.measured) == (pytest.approx(2.0 * 50), True)
    assert predict(Workload("export", "export"), PROBE, history).seconds == pytest.approx(99.0)


def test_an_earlier_run_of_a_slower_model_is_scaled() -> None:
    step = predict(CALIBRATE, PROBE, [StepCost(10.0, 10, unit_seconds=0.04)])
    assert step.seconds == pytest.approx(50 * 1.0 / 2)


def test_a_plan_knows_what_is_done(tmp_path: Path) -> None:
    key = StepKey("export", tools={})
    cache = StepCache(tmp_path)
    cache.step(key, StepOutput)
    works = [Workload("export", "export to ONNX", key=key, models=100.0), CALIBRATE]
    plan = make_plan(works, PROBE, cache)
    assert [step.cached for step in plan.steps] == [True, False]
    assert plan.seconds == pytest.approx(2.0)
    assert plan.memory_bytes == predict(CALIBRATE, PROBE).memory_bytes, "the cached one takes none"
    text = "\n".join(plan.lines())
    assert "cached" in text
    assert "~2.0 s" in text
    assert "about 2.0 s, peak memory about 129.00 MB, 1 of 2 steps cached" in text
    assert json.loads(json.dumps(plan.values()))["steps"][1]["evaluations"] == 50


def test_costs_of_earlier_runs_are_read_back(tmp_path: Path) -> None:
    cache = StepCache(tmp_path)
    cache.unit_seconds = 0.25
    cache.step(StepKey("calibrate", tools={}), lambda: StepOutput(evaluations=7))
    next(tmp_path.rglob("*.step")).with_name("damaged.step").write_bytes(b"nonsense")
    (cost,) = StepCache(tmp_path).costs("calibrate")
    assert (cost.evaluations, cost.unit_seconds) == (7, 0.25)


def test_an_empty_plan() -> None:
    plan = make_plan([], PROBE)
    assert (plan.seconds, plan.memory_bytes, plan.values()["steps"]) == (0, 0, [])
    assert plan.lines()


def test_the_probe_looks_at_the_real_model() -> None:
    model = classifier_onnx()
    probe = probe_model(model, {"image": np.zeros((1, 3, 32, 32), np.float32)})
    # map and active (3 x 32 x 32), pooled (3), flat (3), scores (3), four bytes each
    assert probe.activation_bytes == 4 * (2 * 3 * 32 * 32 + 9)
    assert probe.model_bytes == len(model)
    assert 0 < probe.inference_seconds < 60
    assert probe.process_bytes > 1_000_000


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_passes() -> None:
    clock = Clock()
    deadline = Deadline(10, clock)
    part = deadline.share(0.5)
    assert (deadline.left, deadline.passed, part.left) == (10.0, False, 5.0)
    clock.now = 105.0
    assert (deadline.left, deadline.passed, part.passed) == (5.0, False, True)
    clock.now = 1000.0
    assert (deadline.left, deadline.passed) == (0.0, True)


def test_without_a_budget_nothing_passes() -> None:
    deadline = Deadline()
    assert (deadline.left, deadline.passed) == (math.inf, False)
    assert deadline.share(0.1).left == math.inf
    assert Deadline(0).passed


@pytest.mark.parametrize("seconds", [-1.0, math.nan])
def test_a_budget_is_a_length_of_time(seconds: float) -> None:
    with pytest.raises(SpecError, match="zero seconds or more"):
        Deadline(seconds)
