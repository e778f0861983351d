"""Where boxes and scores share one integer grid, and how to part them."""

from edgewright.optimize.heads.channels import channel_ranges
from edgewright.optimize.heads.find import SharedKind, SharedScale, find_shared_scales
from edgewright.optimize.heads.mend import MendResult, mend_heads

__all__ = ["MendResult", "SharedKind", "SharedScale", "channel_ranges", "find_shared_scales", "mend_heads"]
