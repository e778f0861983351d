"""Choosing among candidates: how far each is from the float model on pictures kept for that, and which is better."""

from edgewright.optimize.selection.compare import Comparison, improves
from edgewright.optimize.selection.fidelity import FidelityJudge
from edgewright.optimize.selection.figures import Fidelity

__all__ = ["Comparison", "Fidelity", "FidelityJudge", "improves"]
