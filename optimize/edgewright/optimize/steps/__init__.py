"""Steps of a run: cached under everything that determines them, explained when they run again, planned before they run.

- ``StepCache.step`` runs a step, or takes what it gave before from the cache.
- ``StepCache.finish`` says why each step that ran again did so.
- ``make_plan`` says beforehand what would run, for how long and in how much memory.
- ``Deadline`` is a budget of time that steps ask.
"""

from __future__ import annotations

from edgewright.optimize.steps.cache import DEFAULT_MAX_BYTES, StepCache, StepResult, default_folder
from edgewright.optimize.steps.deadline import Deadline
from edgewright.optimize.steps.entry import StepOutput
from edgewright.optimize.steps.explain import Explanation, explain
from edgewright.optimize.steps.key import StepInput, StepKey, input_of, tool_versions
from edgewright.optimize.steps.plan import Plan, PlannedStep, Workload, make_plan
from edgewright.optimize.steps.probe import Probe, probe_model
from edgewright.optimize.steps.record import StepRecord

__all__ = [
    "DEFAULT_MAX_BYTES",
    "Deadline",
    "Explanation",
    "Plan",
    "PlannedStep",
    "Probe",
    "StepCache",
    "StepInput",
    "StepKey",
    "StepOutput",
    "StepRecord",
    "StepResult",
    "Workload",
    "default_folder",
    "explain",
    "input_of",
    "make_plan",
    "probe_model",
    "tool_versions",
]
