"""Transformations of float graphs that must not change what the graph computes."""

from edgewright.optimize.passes.base import Pass, PassResult
from edgewright.optimize.passes.prepare import PreparedGraph, default_passes, prepare_graph
from edgewright.optimize.passes.runner import PassRun, run_passes

__all__ = ["Pass", "PassResult", "PassRun", "PreparedGraph", "default_passes", "prepare_graph", "run_passes"]
