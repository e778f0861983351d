"""What can be timed against each other: a variant on a backend.

A candidate is written ``VARIANT``, which means the backend that the variant would run on anyway, or
``VARIANT@BACKEND``, such as ``int8-onnx@onnxruntime-cuda``. Names of variants hold no ``@``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.runtime.backends.choice import NO_WISHES, BackendName, backends_for, read_backend_name, why_no_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.bundle.manifest import Variant
    from edgewright.runtime.backends.choice import EngineOptions

__all__ = ["Candidate", "candidates_of", "read_candidate", "without_engine"]

_AT = "@"


@dataclass(frozen=True)
class Candidate:
    """A variant and what to run it on.

    Attributes:
        variant: Its name.
        backend: What to run it on; None for what it would run on anyway.
    """

    variant: str
    backend: BackendName | None = None

    def __str__(self) -> str:
        """As written."""
        return self.variant if self.backend is None else f"{self.variant}{_AT}{self.backend.value}"


def read_candidate(text: str) -> Candidate:
    """The candidate written as ``text``.

    Raises:
        BackendError: It names a backend that there is not.
    """
    variant, at, backend = text.partition(_AT)
    return Candidate(variant, read_backend_name(backend) if at else None)


def candidates_of(variants: Sequence[Variant], options: EngineOptions = NO_WISHES) -> list[Candidate]:
    """Every variant on every backend that this machine has for its format, in the order of the bundle."""
    return [
        Candidate(variant.name, backend) for variant in variants for backend in backends_for(variant.format, options)
    ]


def without_engine(variants: Sequence[Variant]) -> dict[str, str]:
    """The variants for whose format this machine has no engine, and why."""
    reasons = {variant.name: why_no_engine(variant.format) for variant in variants}
    return {name: reason for name, reason in reasons.items() if reason is not None}
