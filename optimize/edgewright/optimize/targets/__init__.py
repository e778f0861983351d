"""What a quantized graph will do on another processor than this one, and which integers suit that processor."""

from edgewright.optimize.targets.advise import Advice, advise, preferred_scheme, removed_share
from edgewright.optimize.targets.predict import TargetPrediction, predict
from edgewright.optimize.targets.saturation import LayerSaturation, SaturationEmulator

__all__ = [
    "Advice",
    "LayerSaturation",
    "SaturationEmulator",
    "TargetPrediction",
    "advise",
    "predict",
    "preferred_scheme",
    "removed_share",
]
