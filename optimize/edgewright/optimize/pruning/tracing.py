"""Finds out which channels of a torch module can go, by running it once.

The dependency graph is Torch-Pruning's (Fang et al. 2023, "DepGraph: Towards Any Structural Pruning"). Around it stands
what that graph cannot know: which layers make the outputs, whether the path through the code depends on the picture, and
which channels of grouped convolutions only go together.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.pruning.groups import ChannelGroup, Member, Side, Skipped
from edgewright.optimize.pruning.layers import is_depthwise, is_weighted
from edgewright.optimize.pruning.watching import find_heads, refuse_reading_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    from edgewright.optimize.spec import SourceModel

__all__ = ["Traced", "probe_input", "trace"]


@dataclass(frozen=True, eq=False)
class Traced:
    """A module and the channels that can go.

    Attributes:
        module: The very module; its weights are live.
        graph: Torch-Pruning's.
        groups: Channels that can go.
        skipped: Those that cannot, and why.
        heads: Names of the layers that make the outputs.
    """

    module: torch.nn.Module
    graph: Any = field(repr=False)
    groups: tuple[ChannelGroup, ...]
    skipped: tuple[Skipped, ...]
    heads: tuple[str, ...]

    @property
    def by_name(self) -> Mapping[str, ChannelGroup]:
        """The groups by name."""
        return {group.name: group for group in self.groups}


def probe_input(source: SourceModel, seed: int) -> torch.Tensor:
    """An input to run the module on: the example, or noise.

    Raises:
        SpecError: The spec says no shape.
    """
    import torch

    if source.example is not None:
        return torch.from_numpy(np.ascontiguousarray(source.example, np.float32))
    if source.spec.input_shape is None:
        msg = f"{source.spec.name}: the spec must say input_shape for the network to be traced"
        raise SpecError(msg)
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal(source.spec.input_shape).astype(np.float32))


def trace(source: SourceModel, keep: Sequence[str] = (), seed: int = 1) -> Traced:
    """Finds the groups of a module.

    Args:
        source: Its module is put into evaluation mode and its parameters are made trainable.
        keep: Patterns of module names whose output channels stay.
        seed: Of the input it is run on.

    Raises:
        ModelError: The module cannot be run or traced.
        SpecError: A pattern matches no module.
        MissingExtraError: Torch-Pruning is not installed.
    """
    if find_spec("torch_pruning") is None:
        what = "pruning needs torch-pruning, which is not installed"
        raise MissingExtraError(what, "torch")
    where = source.spec.name
    module = source.module.eval()
    names = {part: name for name, part in module.named_modules()}
    kept = {pattern: [name for name in names.values() if fnmatchcase(name, pattern)] for pattern in keep}
    unmatched = [pattern for pattern, found in kept.items() if not found]
    if unmatched:
        known = ", ".join(name for part, name in names.items() if is_weighted(part))
        msg = f"{where}: nothing is called {unmatched[0]!r}; layers with weights are {known[:600]}"
        raise SpecError(msg)
    picture = probe_input(source, seed)
    refuse_reading_values(module, names, picture, where)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    heads = find_heads(module, picture, where)
    graph = _dependency_graph(module, picture, where)
    reasons = {name: f"kept, as {pattern!r} asks" for pattern, found in kept.items() for name in found}
    reasons |= {names[head]: "makes an output of the network" for head in heads}
    groups, skipped = _groups(graph, names, heads, reasons)
    return Traced(module, graph, tuple(groups), tuple(skipped), tuple(names[head] for head in heads))


def _dependency_graph(module: torch.nn.Module, picture: torch.Tensor, where: str) -> Any:
    import torch_pruning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch_pruning.DependencyGraph().build_dependency(module, picture, verbose=False)
    except Exception as error:
        # Tracing runs the user's module and Torch-Pruning's guesses about it; both raise anything.
        msg = f"{where} cannot be traced for pruning: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ModelError(msg) from error


def _groups(
    graph: Any, names: Mapping[Any, str], heads: Sequence[Any], reasons: Mapping[str, str]
) -> tuple[list[ChannelGroup], list[Skipped]]:
    order = {part: number for number, part in enumerate(names)}
    roots = sorted((part for part in graph.module2node if is_weighted(part)), key=lambda part: order[part])
    seen: set[Any] = set()
    groups: list[ChannelGroup] = []
    skipped: list[Skipped] = []
    for root in roots:
        if root in seen:
            continue
        if root in heads:
            # Never asked for: behind a head the numbers are rearranged, and following them can take for ever.
            skipped.append(Skipped((names[root],), reasons[names[root]]))
            continue
        if is_depthwise(root) and any(True for _ in _sources(graph, root)):
            continue  # belongs to the group of what feeds it
        members = _members(graph, names, root)
        made = [member for member in members if member.side is not Side.READS and is_weighted(member.module)]
        seen.update(member.module for member in made)
        layers = tuple(member.name for member in made)
        reason = next((f"{name} {reasons[name]}" for name in layers if name in reasons), None)
        units: NDArray[np.int64] | None = None
        if reason is None:
            units, reason = _units(graph, root, members)
        if reason is not None or units is None:
            skipped.append(Skipped(layers, reason or "nothing in it can go"))
            continue
        groups.append(ChannelGroup(names[root], _outputs(root), units, tuple(members), _provable(members)))
    return groups, skipped


def _sources(graph: Any, root: Any) -> Iterator[Any]:
    """Layers with weights, not depthwise, that feed a layer without another one between."""
    stack, seen = list(graph.module2node[root].inputs), set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if is_weighted(node.module) and not is_depthwise(node.module):
            yield node.module
        else:
            stack += node.inputs


def _outputs(module: Any) -> int:
    return int(module.out_features if hasattr(module, "out_features") else module.out_channels)


def _members(graph: Any, names: Mapping[Any, str], root: Any) -> list[Member]:
    pruner = graph.get_pruner_of_module(root)
    found = graph.get_pruning_group(root, pruner.prune_out_channels, list(range(_outputs(root))))
    members = []
    for item in found:
        part = item.dep.target.module
        if part not in names:
            continue  # an operator without a module of its own, or a bare parameter
        reads = graph.is_in_channel_pruning_fn(item.dep.handler)
        makes = graph.is_out_channel_pruning_fn(item.dep.handler)
        side = Side.PASSES if is_depthwise(part) or (reads and makes) else Side.READS if reads else Side.MAKES
        channels, roots = np.asarray(item.idxs, np.int64), np.asarray(item.root_idxs, np.int64)
        members.append(Member(names[part], part, side, channels, roots))
    return members


def _units(graph: Any, root: Any, members: Sequence[Member]) -> tuple[NDArray[np.int64] | None, str | None]:
    """What only goes together, or why nothing can go."""
    size = _outputs(root)
    if not any(member.side is Side.READS for member in members):
        return None, "no layer with weights reads its channels"
    for member in members:
        groups = getattr(member.module, "groups", 1)
        if is_weighted(member.module) and groups > 1 and not is_depthwise(member.module):
            width = member.module.in_channels // groups
            if member.side is Side.PASSES or width == 1:
                return None, f"{member.name} has {groups} groups of one input and several outputs"
    blocks = {_blocks(member) for member in members} - {1}
    if len(blocks) > 1:
        return None, f"layers in it split the channels into {', '.join(map(str, sorted(blocks)))} blocks"
    count = blocks.pop() if blocks else 1
    for member in members:
        if _blocks(member) > 1 and (len(member.channels) != size or not np.array_equal(member.channels, member.roots)):
            return None, f"{member.name} splits channels of several sources into {count} blocks"
    coupled = _coupled(graph, root, size)
    if count > 1 and coupled.shape[1] > 1:
        return None, "its channels are coupled among themselves and split into blocks"
    if size % count:
        return None, f"its {size} channels do not fill {count} blocks"
    return (np.arange(size).reshape(count, -1).T if count > 1 else coupled), None


def _blocks(member: Member) -> int:
    """Into how many blocks a layer splits these channels, so that the same places must go in each."""
    import torch

    if isinstance(member.module, torch.nn.GroupNorm):
        return int(member.module.num_groups)
    if is_weighted(member.module) and not is_depthwise(member.module):
        return int(getattr(member.module, "groups", 1))
    return 1


def _coupled(graph: Any, root: Any, size: int) -> NDArray[np.int64]:
    """Channels of one layer that go together, as behind a split whose halves are multiplied."""
    pruner = graph.get_pruner_of_module(root)

    def together(channel: int) -> tuple[int, ...]:
        found = graph.get_pruning_group(root, pruner.prune_out_channels, [channel])
        touched = [item.idxs for item in found if item.dep.target.module is root and not _reads(graph, item)]
        return tuple(sorted({int(index) for idxs in touched for index in idxs}))

    if all(together(channel) == (channel,) for channel in {0, size // 2, size - 1}):
        return np.arange(size).reshape(-1, 1)
    sets = sorted({together(channel) for channel in range(size)})
    widths = {len(row) for row in sets}
    if len(widths) != 1 or sum(map(len, sets)) != size:
        return np.arange(size).reshape(1, -1)
    return np.asarray(sets, np.int64)


def _reads(graph: Any, item: Any) -> bool:
    handler = item.dep.handler
    return graph.is_in_channel_pruning_fn(handler) and not graph.is_out_channel_pruning_fn(handler)


def _provable(members: Sequence[Member]) -> bool:
    """Norms over several channels see the ones that are left."""
    import torch

    mixing = (torch.nn.LayerNorm, torch.nn.GroupNorm, torch.nn.MultiheadAttention, torch.nn.LSTM)
    return not any(isinstance(member.module, mixing) for member in members)
