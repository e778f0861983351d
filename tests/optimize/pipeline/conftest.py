"""A classifier that plain INT8 hurts, with its pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chain_models import write_classes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``depthwise.onnx`` and ``soft/``; nothing is written to it."""
    return write_classes(tmp_path_factory.mktemp("classes"))
