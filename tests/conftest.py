"""Shared by all tests: nothing here touches the network or the user's own files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# Shared machines pause at will: a slow example is no failure here, speed lives in scripts/bench.
settings.register_profile("edgewright", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edgewright")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")


@pytest.fixture(scope="module", autouse=True)
def _step_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Finished steps of the optimizer are shared by the tests of one module, and by nothing else; so are picks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWRIGHT_PICKS", str(tmp_path_factory.mktemp("picks") / "picks.json"))
        patch.setenv("EDGEWRIGHT_CACHE", str(tmp_path_factory.mktemp("steps")))
        yield
