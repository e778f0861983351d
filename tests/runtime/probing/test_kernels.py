"""Probing this machine's kernels: what comes out, and what is left as it was."""

from __future__ import annotations

import os
import sys

import pytest

from edgewright.runtime.probing.kernels import ProbeSettings, probe_kernels

BRIEF = ProbeSettings(seconds=0.0, passes=1, rounds=3, fewest=3, turn_ms=0.01)


def test_every_engine_of_the_processor_is_probed() -> None:
    before = os.sched_getaffinity(0)
    told: list[tuple[int, int]] = []
    found = probe_kernels(1, lambda done, total: told.append((done, total)), BRIEF)
    assert set(found) == {"onnxruntime-cpu", "litert-xnnpack"}
    for figures in found.values():
        assert all(value > 0 for value in figures.values())
        # What drowns in noise is left out; the large ones never do.
        assert {f"{kind}_pointwise_256_gmacs" for kind in ("float32", "int8")} <= set(figures)
    assert [done for done, _ in told] == list(range(told[-1][1] + 1))
    assert os.sched_getaffinity(0) == before


def test_an_engine_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("onnxruntime", "ai_edge_litert", "tflite_runtime", "tensorflow"):
        monkeypatch.setitem(sys.modules, package, None)
    assert probe_kernels(1, settings=BRIEF) == {}
