"""The framework-neutral tuner of the real neural-compressor, over our configurations."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import SIDE, classifier_onnx

from edgewright.optimize.calibration import RangeCollector, RangeMethod
from edgewright.optimize.engines.neural_compressor import Configuration, SearchSpace, tune
from edgewright.optimize.errors import JudgeError, SpecError
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.optimize.steps import Deadline
from edgewright.runtime.backends.onnx import OnnxBackend

SPACE = SearchSpace(
    method=("minmax", "entropy"),
    per_channel=(True, False),
    weight_bits=(8, 7),
    chain=((), ("bias-correction", "depthwise-rounding")),
    keep_float=(frozenset(), frozenset({"stem", "head"})),
)


def test_the_whole_space_is_walked_in_order() -> None:
    seen: list[Configuration] = []

    def evaluate(configuration: Configuration) -> float:
        seen.append(configuration)
        return -1.0

    told: list[tuple[int, int | None]] = []
    tuned = tune(SPACE, evaluate, accept=0.0, on_step=lambda done, total: told.append((done, total)))
    assert tuple(seen) == SPACE.configurations()
    assert len(seen) == len(SPACE) == 32
    assert (tuned.accepted, tuned.stopped, tuned.size) == (False, "every configuration was tried", 32)
    assert tuned.best.configuration == seen[0], "the first of equals"
    assert told[-1] == (32, 32)
    assert tuned.tool.startswith("neural-compressor 3")


@pytest.mark.parametrize("accept", [0.0, -0.25, 0.5, 97.5])
def test_it_stops_when_the_goal_is_met(accept: float) -> None:
    scores = iter([accept - 1, accept - 0.01, accept, accept + 5])
    tuned = tune(SPACE, lambda _configuration: next(scores), accept)
    assert [trial.score for trial in tuned.trials] == [accept - 1, accept - 0.01, accept]
    assert (tuned.accepted, tuned.stopped) == (True, "the goal was met")
    assert tuned.best is tuned.trials[2]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8), st.floats(-100, 100))
def test_the_search_is_what_it_says(scores: list[float], accept: float) -> None:
    space = SearchSpace(method=tuple(f"method-{n}" for n in range(len(scores))))
    given = iter(scores)
    tuned = tune(space, lambda _configuration: next(given), accept)
    reached = [score >= accept for score in scores]
    count = reached.index(True) + 1 if any(reached) else len(scores)
    assert [trial.score for trial in tuned.trials] == scores[:count]
    assert tuned.accepted is any(reached)
    assert tuned.best.score == pytest.approx(max(scores[:count]))


def test_cheap_ones_come_first() -> None:
    seen: list[Configuration] = []

    def evaluate(configuration: Configuration) -> float:
        seen.append(configuration)
        return 0.0

    tune(SPACE, evaluate, accept=1.0, cost=lambda configuration: len(configuration.chain))
    assert [len(configuration.chain) for configuration in seen] == [0] * 16 + [2] * 16
    assert set(seen) == set(SPACE.configurations())


def test_time_is_up() -> None:
    clock = iter(range(100)).__next__
    tuned = tune(SPACE, lambda _configuration: 0.0, 1.0, deadline=Deadline(3, clock))
    assert len(tuned.trials) < len(SPACE)
    assert tuned.stopped == "the time budget was used up"
    assert len(tune(SPACE, lambda _configuration: 0.0, 1.0, deadline=Deadline(0)).trials) == 1


def test_a_failed_trial_does_not_end_the_search() -> None:
    def evaluate(configuration: Configuration) -> float:
        if configuration.weight_bits == 8:
            msg = "the engine refuses it"
            raise JudgeError(msg)
        return math.nan if configuration.chain else 0.5

    tuned = tune(SPACE, evaluate, accept=0.9)
    assert tuned.best.configuration.weight_bits == 7
    assert {trial.problem for trial in tuned.trials} == {"", "the engine refuses it", "its score is not a number"}


def test_when_all_fail_the_first_reason_is_given() -> None:
    def evaluate(_configuration: Configuration) -> float:
        msg = "no ranges for tensor 'x'"
        raise JudgeError(msg)

    with pytest.raises(JudgeError, match="none of the 32 .* no ranges for tensor 'x'"):
        tune(SPACE, evaluate, accept=0.9)


def test_other_errors_pass_through() -> None:
    with pytest.raises(ZeroDivisionError):
        tune(SPACE, lambda _configuration: 1 / 0, accept=0.9)


@pytest.mark.parametrize("options", [{"method": ()}, {"weight_bits": (8, 8)}])
def test_a_space_holds_different_options(options: dict[str, tuple[object, ...]]) -> None:
    with pytest.raises(SpecError, match=next(iter(options))):
        SearchSpace(**options)  # type: ignore[arg-type]


def test_a_goal_is_a_number() -> None:
    with pytest.raises(SpecError, match="finite"):
        tune(SPACE, lambda _configuration: 0.0, math.nan)


def test_configurations_are_json() -> None:
    configuration = SPACE.configurations()[-1]
    assert json.loads(json.dumps(configuration.values()))["keep_float"] == ["head", "stem"]


def test_loggers_are_as_they_were(capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.root.manager.disable
    tune(SPACE, lambda _configuration: 1.0, accept=0.5)
    assert logging.root.manager.disable == before
    assert capfd.readouterr() == ("", "")


def test_it_finds_the_integers_that_suffice_for_a_real_graph() -> None:
    typed = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(classifier_onnx()))
    model = typed.SerializeToString()
    pictures = [
        {"image": np.random.default_rng(n).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)} for n in range(6)
    ]
    collector = RangeCollector(model)
    for feed in pictures:
        collector.observe(feed)
    plain = OnnxBackend(model)
    wanted = [plain.run(feed)["scores"].copy() for feed in pictures]

    def evaluate(configuration: Configuration) -> float:
        scheme = Scheme(weight_bits=configuration.weight_bits, per_channel=configuration.per_channel)
        ranges = collector.ranges(RangeMethod(configuration.method))
        written = quantize_graph(model, ranges, configuration.keep_float, scheme)
        backend = OnnxBackend(written.model, engine=written.engine)
        found = [backend.run(feed)["scores"].copy() for feed in pictures]
        return -float(max(np.abs(one - other).max() for one, other in zip(wanted, found, strict=True)))

    space = SearchSpace(("mean-minmax", "minmax"), (False, True), (7, 8), keep_float=(frozenset(), frozenset({"head"})))
    tuned = tune(space, evaluate, accept=-1e-9)
    scores = {trial.configuration: trial.score for trial in tuned.trials}
    assert len(scores) == 16, "no INT8 is exact"
    assert tuned.best.score == max(scores.values())
    assert tuned.best.score < 0
    goal = sorted(scores.values())[8]
    again = tune(space, evaluate, accept=goal)
    assert again.accepted
    assert len(again.trials) < 16


WITHOUT = """
import sys
for name in {blocked!r}: sys.modules[name] = None
from edgewright.bundle.errors import EdgewrightError
from edgewright.optimize.calibration import RangeCollector, RangeMethod
from edgewright.optimize.engines.neural_compressor import SearchSpace, tune
assert not any(m and n.startswith('neural_compressor') for n, m in sys.modules.items()), 'imported before it is used'
try:
    tuned = tune(SearchSpace(method=('a', 'b')), lambda c: 1.0 if c.method == 'b' else 0.0, accept=0.5)
except EdgewrightError as error:
    print(error); sys.exit(int(error.exit_code))
print(tuned.best.configuration.method)
"""


def child(tmp_path: Path, *blocked: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT.format(blocked=blocked)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)


def test_it_needs_no_framework_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = child(tmp_path, "torch", "tensorflow", "jax", "transformers")
    assert (done.returncode, done.stdout, done.stderr) == (0, "b\n", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["neural_compressor", "cpuinfo"])
def test_without_it_the_extra_is_named(tmp_path: Path, package: str) -> None:
    done = child(tmp_path, package)
    assert done.returncode == 5
    assert package in done.stdout
    assert "pip install 'edgewright[" in done.stdout
