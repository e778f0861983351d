"""Shared by all tests: nothing here touches the network or the user's own files."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Shared machines pause at will: a slow example is no failure here, speed lives in scripts/bench.
settings.register_profile("edgewright", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edgewright")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
