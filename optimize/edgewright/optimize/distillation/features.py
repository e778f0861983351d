"""Learning what a teacher sees inside (Romero et al. 2015, "FitNets: Hints for Thin Deep Nets").

A 1 x 1 convolution of its own brings each of the student's maps to the width of the teacher's; it is learned along and is
no part of what is exported. The difference counts in units of the teacher's own variation, so that layers with large
numbers do not drown the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.optimize.distillation.taps import tapped
from edgewright.optimize.errors import SpecError
from edgewright.optimize.training.losses.outputs import answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

__all__ = ["FeaturePair", "adapters_for", "automatic_pairs", "feature_loss"]

_MAP_AXES = 4
_LEAST_SIDE = 2
_MOST_PAIRS = 4
# Beyond this step between places hardly anything is computed: the tails of detectors for the largest objects.
_COARSEST = 32


@dataclass(frozen=True)
class FeaturePair:
    """Two modules whose outputs are to become alike.

    Attributes:
        student: Name of the student's module.
        teacher: Name of the teacher's module.
    """

    student: str
    teacher: str


def automatic_pairs(
    student: torch.nn.Module, teacher: torch.nn.Module, example: torch.Tensor
) -> tuple[FeaturePair, ...]:
    """Pairs the ends of stages: for each size of map that both have, the last module before the maps grow smaller.

    Args:
        student: The network that learns.
        teacher: The network that is learned from.
        example: One input.

    Returns:
        At most four pairs, the coarser ones of those with at most 32 input pixels from place to place, from fine to
        coarse.

    Raises:
        SpecError: The two have no size of map in common.
    """
    ours, theirs = _stages(student, example), _stages(teacher, example)
    common = [size for size in ours if size in theirs]
    if not common:
        msg = (
            f"student and teacher have no maps of the same size ({_sizes(ours)} against {_sizes(theirs)}); name pairs of "
            "modules, or leave features out"
        )
        raise SpecError(msg)
    return tuple(FeaturePair(ours[size], theirs[size]) for size in common[-_MOST_PAIRS:])


def adapters_for(
    student: torch.nn.Module,
    teacher: torch.nn.Module,
    pairs: Sequence[FeaturePair],
    example: torch.Tensor,
    seed: int,
) -> torch.nn.ModuleList:
    """One 1 x 1 convolution a pair; where the widths agree it starts out changing nothing.

    Raises:
        SpecError: A module is missing, puts out no map, or the two maps of a pair have other sizes.
    """
    import torch

    shapes = [
        _shapes(module, names, example)
        for module, names in ((student, [p.student for p in pairs]), (teacher, [p.teacher for p in pairs]))
    ]
    made = torch.nn.ModuleList()
    generator = torch.Generator().manual_seed(seed)
    for pair in pairs:
        ours, theirs = shapes[0][pair.student], shapes[1][pair.teacher]
        if len(ours) != _MAP_AXES or len(theirs) != _MAP_AXES or ours[2:] != theirs[2:]:
            msg = (
                f"features of {pair.student!r} are {list(ours[1:])} and those of the teacher's {pair.teacher!r} "
                f"{list(theirs[1:])}; pair maps (channels, height, width) of the same height and width"
            )
            raise SpecError(msg)
        adapter = torch.nn.Conv2d(ours[1], theirs[1], 1)
        with torch.no_grad():
            spread = torch.empty_like(adapter.weight).normal_(0.0, ours[1] ** -0.5, generator=generator)
            alike = ours[1] == theirs[1]
            adapter.weight.copy_(torch.eye(ours[1])[:, :, None, None] if alike else spread)
            adapter.bias.zero_()  # type: ignore[union-attr]  # a convolution that was made with a bias has one
        made.append(adapter)
    return made


def feature_loss(
    adapters: torch.nn.ModuleList, student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Mean over the pairs of squared differences, each over the teacher's mean square; 0 for the same features."""
    import torch

    least = 1e-12
    each = [
        (adapter(ours) - theirs).square().mean() / theirs.square().mean().clamp_min(least)
        for adapter, ours, theirs in zip(adapters, student, teacher, strict=True)
    ]
    return torch.stack(each).mean()


def _stages(module: torch.nn.Module, example: torch.Tensor) -> dict[tuple[int, int], str]:
    """Size of map to the last leaf that gives it before a smaller one comes, in the order in which they run."""
    ran: list[tuple[str, tuple[int, int]]] = []
    hooks = []
    for name, part in module.named_modules():
        if name and not list(part.children()):

            def note(ran_part: Any, given: Any, made: Any, *, key: str = name) -> None:
                if _is_map(made) and _is_seen(ran_part, given, made):
                    ran.append((key, (made.shape[2], made.shape[3])))

            hooks.append(part.register_forward_hook(note))
    try:
        _quietly(module, example)
    finally:
        for hook in hooks:
            hook.remove()
    # Of the input's three sizes the smallest is the number of colours.
    least = sorted(example.shape[1:])[1] // _COARSEST
    found: dict[tuple[int, int], str] = {}
    smallest: tuple[int, int] | None = None
    for name, size in ran:
        if smallest is None or size[0] * size[1] <= smallest[0] * smallest[1]:
            found[size] = name
            smallest = size
    return {size: name for size, name in found.items() if min(size) >= least}


def _is_map(made: Any) -> bool:
    return getattr(made, "ndim", 0) == _MAP_AXES and min(made.shape[2:]) >= _LEAST_SIDE


def _is_seen(part: torch.nn.Module, given: Any, made: Any) -> bool:
    """Whether a module has learned something or works on what did; padding and pooling only rearrange."""
    import torch

    if isinstance(part, (torch.nn.Identity, torch.nn.modules.dropout._DropoutNd)):  # noqa: SLF001 - the base of all
        return False
    learned = next(part.parameters(), None) is not None
    return learned or (bool(given) and getattr(given[0], "shape", None) == made.shape)


def _shapes(module: torch.nn.Module, names: Sequence[str], example: torch.Tensor) -> dict[str, tuple[int, ...]]:
    with tapped(module, names) as seen:
        _quietly(module, example)
    silent = [name for name in names if name not in seen]
    if silent:
        msg = f"module {silent[0]!r} does not run; features need one that does"
        raise SpecError(msg)
    return {name: tuple(tensor.shape) for name, tensor in seen.items()}


def _quietly(module: torch.nn.Module, example: torch.Tensor) -> None:
    """Runs it without leaving a trace in batch norms or modes."""
    from edgewright.optimize.training.losses.metrics import looking

    with looking(module) as device:
        answers(module, example.to(device))


def _sizes(stages: dict[tuple[int, int], str]) -> str:
    return ", ".join(f"{height}x{width}" for height, width in stages) or "none"
