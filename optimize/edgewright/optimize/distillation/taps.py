"""What modules inside a network put out, caught while it runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

__all__ = ["tapped"]

_SHOWN = 8


@contextlib.contextmanager
def tapped(module: torch.nn.Module, names: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Catches the outputs of named modules; nothing of it stays on the network.

    Args:
        module: The network.
        names: As ``named_modules`` calls them.

    Yields:
        A dict that is filled as the network runs; what ran twice is there as it was the last time.

    Raises:
        SpecError: There is no such module, or it puts out something else than one tensor.
    """
    known = dict(module.named_modules())
    seen: dict[str, torch.Tensor] = {}
    handles = []
    for name in names:
        if name not in known or not name:
            leaves = [key for key, part in known.items() if key and not list(part.children())]
            near = [key for key in leaves if key.startswith(name.split(".")[0])] or leaves
            msg = f"there is no module {name!r} to learn features from; there are {', '.join(near[:_SHOWN])}, ..."
            raise SpecError(msg)

        def catch(_part: torch.nn.Module, _given: Any, made: Any, *, key: str = name) -> None:
            if not hasattr(made, "shape"):
                msg = (
                    f"module {key!r} puts out {type(made).__name__}; features are single tensors: name one of its parts"
                )
                raise SpecError(msg)
            seen[key] = made

        handles.append((known[name], catch))
    hooks = [part.register_forward_hook(catch) for part, catch in handles]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
