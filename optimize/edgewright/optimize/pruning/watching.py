"""Runs a module once and watches it: where it looks at the numbers in its tensors, and which layers make its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import ModelError
from edgewright.optimize.pruning.layers import is_depthwise, is_weighted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = ["find_heads", "outputs_of", "refuse_reading_values"]


def outputs_of(module: torch.nn.Module, picture: torch.Tensor, where: str) -> tuple[torch.Tensor, ...]:
    """What the module answers.

    Raises:
        ModelError: It fails, or answers with something else than tensors.
    """
    import torch

    try:
        made = module(picture)
    except Exception as error:
        # The module is the user's code, which may raise anything.
        msg = f"{where} fails on an input of shape {list(picture.shape)}: {type(error).__name__}: {error}"
        raise ModelError(msg) from error
    outputs = tuple(made) if isinstance(made, (tuple, list)) else (made,)
    if not outputs or not all(isinstance(output, torch.Tensor) for output in outputs):
        msg = f"{where} must return a tensor or a tuple of tensors, not {type(made).__name__}"
        raise ModelError(msg)
    return outputs


def refuse_reading_values(module: torch.nn.Module, names: Mapping[Any, str], picture: torch.Tensor, where: str) -> None:
    """One run shows one path; it is the only one when the code never looks at the numbers in its tensors.

    Args:
        module: Run once.
        names: Of all its parts.
        picture: The input.
        where: The module in words.

    Raises:
        ModelError: It looks at them, naming the part that does; or it fails.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    inside: list[Any] = []
    looking = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::is_nonzero"}

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.name().partition(".")[0] in looking:
                name = names[inside[-1]] if inside else ""
                msg = (
                    f"{where} cannot be traced: {name or 'its forward'} ({type(inside[-1]).__name__ if inside else '?'}) "
                    f"looks at the numbers in a tensor ({func.name()}), so that the path depends on the picture; write "
                    "it without such branches, for instance with torch.where"
                )
                raise ModelError(msg)
            return func(*args, **(kwargs or {}))

    hooks = [part.register_forward_pre_hook(lambda part, _args: inside.append(part)) for part in names]
    hooks += [part.register_forward_hook(lambda _part, _args, _made: inside.pop() and None) for part in names]
    try:
        with torch.no_grad(), Watch():  # type: ignore[no-untyped-call]
            module(picture)
    except ModelError:
        raise
    except Exception as error:
        # The module is the user's code, which may raise anything.
        msg = f"{where} fails on an input of shape {list(picture.shape)}: {type(error).__name__}: {error}"
        raise ModelError(msg) from error
    finally:
        for hook in hooks:
            hook.remove()


def find_heads(module: torch.nn.Module, picture: torch.Tensor, where: str) -> list[Any]:
    """The layers with weights whose outputs reach an output of the network with none but depthwise ones between.

    Raises:
        ModelError: The module fails, or an output has no way back to a weight.
    """
    made: dict[Any, Any] = {}

    def record(part: Any, _args: Any, output: Any) -> None:
        if getattr(output, "grad_fn", None) is not None:
            made[output.grad_fn] = part

    hooks = [part.register_forward_hook(record) for part in module.modules() if is_weighted(part)]
    try:
        outputs = outputs_of(module, picture, where)
    finally:
        for hook in hooks:
            hook.remove()
    heads: list[Any] = []
    seen: set[Any] = set()
    stack = []
    for number, output in enumerate(outputs):
        if output.grad_fn is None:
            msg = (
                f"{where}: output {number} does not depend on any weight that can be trained (a detach or no_grad in "
                "the module, perhaps), so the network cannot be traced"
            )
            raise ModelError(msg)
        stack.append(output.grad_fn)
    while stack:
        step = stack.pop()
        if step in seen:
            continue
        seen.add(step)
        part = made.get(step)
        if part is not None:
            if part not in heads:
                heads.append(part)
            if not is_depthwise(part):
                continue
        stack += [before for before, _ in step.next_functions if before is not None]
    return heads
