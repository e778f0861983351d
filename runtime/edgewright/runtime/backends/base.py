"""The seam every engine implements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgewright.runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgewright.bundle.manifest import TensorSpec

__all__ = ["Backend", "checked_feed", "closed_error", "refuse_unknown_options"]


class Backend(Protocol):
    """Runs one model file.

    A backend owns its buffers: what ``run`` returns is valid until the next ``run``. One owner, one thread.
    """

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Input tensors in order, as the engine sees them; sizes are fixed."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Output tensors in order."""

    @property
    def engine(self) -> str:
        """Engine and version in words, such as ``onnxruntime 1.32.0``."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Runs the model once.

        Args:
            feeds: Every input by name, in the shape and dtype of ``inputs``.

        Returns:
            Every output by name.

        Raises:
            BackendError: A feed is missing or is another tensor, the engine failed, or the backend is closed.
        """

    def close(self) -> None:
        """Gives the model's memory back; closing twice is fine. Arrays already returned stay readable."""


def checked_feed(feeds: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """The feed called ``name``.

    Raises:
        BackendError: It is missing, or has another shape or dtype.
    """
    feed = feeds.get(name)
    if feed is None or feed.shape != shape or feed.dtype != np.dtype(dtype):
        seen = "nothing" if feed is None else f"{feed.shape} {feed.dtype}"
        msg = f"input {name!r} takes {shape} {dtype}, got {seen}"
        raise BackendError(msg)
    return feed


def closed_error() -> BackendError:
    """What running a closed backend raises."""
    return BackendError("this backend is closed; open the session again")


def refuse_unknown_options(options: Mapping[str, Any], known: frozenset[str]) -> None:
    """Refuses options of a variant that this version does not know, for they might matter.

    Raises:
        BackendError: Naming the first.
    """
    unknown = sorted(set(options) - known)
    if unknown:
        msg = f"the variant asks for engine option {unknown[0]!r}, which this version does not know; update edgewright"
        raise BackendError(msg)
