"""A network learns from a better one: from what it answers, from its features, from the boxes it finds.

Teacher (frozen, remembers) + DistilSettings -> distilled(student, ...) -> Objective of the trainer
teacher on tiles of unlabelled pictures -> PseudoLabels -> COCO file -> training set
"""

from edgewright.optimize.distillation.distilled import Distilled, DistilSettings, distilled
from edgewright.optimize.distillation.look import TorchSession
from edgewright.optimize.distillation.pseudo_labels import PseudoLabels, PseudoSettings, find_pseudo_labels
from edgewright.optimize.distillation.teacher import Teacher

__all__ = [
    "DistilSettings",
    "Distilled",
    "PseudoLabels",
    "PseudoSettings",
    "Teacher",
    "TorchSession",
    "distilled",
    "find_pseudo_labels",
]
