"""Identities over time: a stacked Kalman filter, optimal assignment and ByteTrack, in NumPy alone."""

from edgewright.runtime.tracking.assignment import assign, assign_gated
from edgewright.runtime.tracking.base import Tracker
from edgewright.runtime.tracking.bytetrack import ByteTrack, ByteTrackConfig
from edgewright.runtime.tracking.kalman import BoxFilter, Noise

__all__ = ["BoxFilter", "ByteTrack", "ByteTrackConfig", "Noise", "Tracker", "assign", "assign_gated"]
