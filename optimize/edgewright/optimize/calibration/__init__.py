"""Calibration: one streaming pass over real pictures becomes the range of every activation."""

from edgewright.optimize.calibration.choice import RangeChoice, RangeMethod
from edgewright.optimize.calibration.collect import RangeCollector, calibrate
from edgewright.optimize.calibration.observer import Observer, maximum_of, minimum_of
from edgewright.optimize.calibration.result import CalibrationResult
from edgewright.optimize.calibration.stability import Stability
from edgewright.optimize.calibration.topology import output_tensors
from edgewright.optimize.calibration.walk import WalkReport, walk

__all__ = [
    "CalibrationResult",
    "Observer",
    "RangeChoice",
    "RangeCollector",
    "RangeMethod",
    "Stability",
    "WalkReport",
    "calibrate",
    "maximum_of",
    "minimum_of",
    "output_tensors",
    "walk",
]
