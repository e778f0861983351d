"""Rules: results in, events out."""

from edgewright.runtime.rules.base import Overlay, Rule
from edgewright.runtime.rules.classification import ClassChange
from edgewright.runtime.rules.zone import WHOLE_FRAME, Zone, ZoneCount, parse_zone

__all__ = ["WHOLE_FRAME", "ClassChange", "Overlay", "Rule", "Zone", "ZoneCount", "parse_zone"]
