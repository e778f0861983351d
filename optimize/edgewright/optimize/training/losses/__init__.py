"""What a network is trained for where there are labels, and how good it is while it trains."""

from edgewright.optimize.training.losses.metrics import boxes_metric, top1_metric
from edgewright.optimize.training.losses.multibox import MultiboxSettings
from edgewright.optimize.training.losses.supervised import Supervised

__all__ = ["MultiboxSettings", "Supervised", "boxes_metric", "top1_metric"]
