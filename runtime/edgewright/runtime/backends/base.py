"""The seam every engine implements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgewright.bundle.manifest import TensorSpec

__all__ = ["Backend"]


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

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Runs the model once.

        Args:
            feeds: Every input by name, in the shape and dtype of ``inputs``.

        Returns:
            Every output by name.

        Raises:
            BackendError: The engine failed.
        """
