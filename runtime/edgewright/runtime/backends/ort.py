"""Loads ONNX Runtime without its telemetry, which on import alone leaves files in the home folder and in ``/tmp``."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["import_onnxruntime"]


def import_onnxruntime() -> Any:
    """The module ``onnxruntime``.

    Raises:
        ImportError: It is not installed, or cannot be loaded.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read while it is loaded; a call afterwards comes too late
    import onnxruntime

    return onnxruntime
