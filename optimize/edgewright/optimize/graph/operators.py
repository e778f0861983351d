"""Which operators are meant where the quantizer speaks of layers."""

from __future__ import annotations

__all__ = ["WEIGHTED"]

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators whose weights become integers."""
