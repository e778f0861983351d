"""The network that is learned from: frozen, and asked only once about each picture that can come again."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.manifest import SsdDecode
from edgewright.optimize.distillation.memory import AnswerMemory
from edgewright.optimize.distillation.taps import tapped
from edgewright.optimize.errors import SpecError
from edgewright.optimize.training.losses.outputs import Reading, answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from edgewright.bundle.manifest import Preprocess
    from edgewright.optimize.spec import ModelSpec, SourceModel
    from edgewright.optimize.training.types import Batch, Outputs

__all__ = ["MEMORY_BYTES", "Taught", "Teacher"]

MEMORY_BYTES = 512 << 20
"""What a teacher remembers takes at most this much memory."""

# So many pictures of 28 x 28 or one of 450 x 450 are a bite that keeps a processor busy.
_BITE_PIXELS = 200_000
_MOST_BITE = 64
_BITE_ON_GPU = 32


@dataclass(frozen=True, eq=False)
class Taught:
    """What the teacher says of a batch.

    Attributes:
        outputs: As its module answers.
        features: Of the modules it was asked about, in order.
    """

    outputs: Outputs
    features: tuple[torch.Tensor, ...]


class Teacher:
    """A frozen copy of a model that answers batches.

    Invariants:

    - The model that was handed in is not changed, and later changes to it do not reach the teacher: a network can be
      its own teacher.
    - An answer depends on the picture alone, not on the rest of its batch nor on what is remembered: pictures that can
      come again go through the network in bites of one size. A run that was killed and goes on with an empty memory
      therefore ends with the same weights.
    """

    def __init__(
        self,
        source: SourceModel,
        *,
        features: Sequence[str] = (),
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        """Copies and freezes.

        Args:
            source: Any model for the same pictures, labels and, for a detector, anchors.
            features: Names of its modules whose outputs are learned from.
            memory_bytes: Of what it remembers; 0 asks the network every time.

        Raises:
            SpecError: An output or a module of that name is missing.
        """
        self.reading = Reading(source.spec, source.output_names)
        self.spec: ModelSpec = source.spec
        self._module: torch.nn.Module = copy.deepcopy(source.module).eval().requires_grad_(False)
        self._names = tuple(features)
        self._memory_bytes = memory_bytes
        self._memory = AnswerMemory(memory_bytes)
        self._shift: tuple[Any, Any, bool] | None = None
        self.asked = 0
        with tapped(self._module, self._names):
            pass

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the modules whose outputs come along."""
        return self._names

    @property
    def module(self) -> torch.nn.Module:
        """The frozen copy."""
        return self._module

    @property
    def remembered(self) -> int:
        """How many answers are kept."""
        return len(self._memory)

    def with_features(self, features: Sequence[str]) -> Teacher:
        """The same teacher, asked about features."""
        from edgewright.optimize.spec import SourceModel

        source = SourceModel(self._module, self.spec, self.reading.names)
        return Teacher(source, features=features, memory_bytes=self._memory_bytes)

    def fit(self, student: ModelSpec) -> None:
        """Makes ready for the inputs of a student.

        Args:
            student: How pictures enter it. Mean, scale and order of colours may differ from the teacher's own.

        Raises:
            SpecError: The two do not see the same picture, or do not speak of the same things.
        """
        _check_alike(student, self.spec)
        self._shift = _conversion(student.preprocess, self.spec.preprocess)

    def __call__(self, batch: Batch) -> Taught:
        """What it says of a batch, on the batch's device, without gradients."""
        import torch

        with torch.no_grad():
            lasting = self._memory_bytes > 0 and bool((batch.views >= 0).all())
            tensors = self._remembered(batch) if lasting else self._run(batch.inputs)
        count = len(tensors) - len(self._names)
        return Taught(tensors[:count], tensors[count:])

    def describe(self) -> dict[str, Any]:
        """JSON values that determine what it says."""
        from edgewright.bundle.digest import sha256_hex

        state = self._module.state_dict()
        parts = [f"{name} {_digest(tensor)}" for name, tensor in sorted(state.items())]
        return {
            "name": self.spec.name,
            "weights": sha256_hex("\n".join(parts).encode()),
            "features": list(self._names),
        }

    def _remembered(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        import torch

        keys = [(int(row), int(view)) for row, view in zip(batch.rows, batch.views, strict=True)]
        device = batch.inputs.device
        places = [self._memory.place(key) for key in keys]
        new = [position for position, place in enumerate(places) if place is None]
        known = [position for position, place in enumerate(places) if place is not None]
        parts: list[tuple[torch.Tensor, ...]] = []
        if known:
            kept = self._memory.take([place for place in places if place is not None])
            parts.append(tuple(tensor.to(device) for tensor in kept))
        if new:
            fresh = self._in_bites(batch.inputs[torch.tensor(new, device=device)])
            self._memory.keep([keys[position] for position in new], [tensor.cpu() for tensor in fresh])
            parts.append(fresh)
        order = torch.tensor(np.argsort([*known, *new]), device=device)
        return tuple(torch.cat(column)[order] for column in zip(*parts, strict=True))

    def _in_bites(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """All in bites of one size, the last one filled up: kernels may round differently for another size."""
        import torch

        size = _bite(inputs)
        rows: list[tuple[torch.Tensor, ...]] = []
        for start in range(0, len(inputs), size):
            part = inputs[start : start + size]
            missing = size - len(part)
            filled = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
            rows.append(tuple(tensor[: len(part)] for tensor in self._run(filled)))
        return tuple(torch.cat(column) for column in zip(*rows, strict=True))

    def _run(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.asked += len(inputs)
        self._module.to(inputs.device)
        with tapped(self._module, self._names) as seen:
            outputs = answers(self._module, self._converted(inputs))
        return (*(tensor.float() for tensor in outputs), *(seen[name].float() for name in self._names))

    def _converted(self, inputs: torch.Tensor) -> torch.Tensor:
        if self._shift is None:
            return inputs
        import torch

        factor, offset, swap = self._shift
        axis = 1 if inputs.shape[1] == len(factor) else 3
        shape = [1, 1, 1, 1]
        shape[axis] = len(factor)
        scaled = inputs * torch.tensor(factor, device=inputs.device).reshape(shape)
        scaled = scaled + torch.tensor(offset, device=inputs.device).reshape(shape)
        return scaled.flip(axis) if swap else scaled


def _bite(inputs: torch.Tensor) -> int:
    if inputs.device.type != "cpu":
        return _BITE_ON_GPU
    fitting = _BITE_PIXELS // max(1, inputs[0].numel() // 3)
    return max(1, min(_MOST_BITE, 1 << max(0, fitting.bit_length() - 1)))


def _digest(tensor: torch.Tensor) -> str:
    from edgewright.bundle.digest import sha256_hex

    plain = tensor.detach().cpu().contiguous().numpy()
    return sha256_hex(repr((plain.shape, str(plain.dtype))).encode() + plain.tobytes())


def _check_alike(student: ModelSpec, teacher: ModelSpec) -> None:
    names = f"student {student.name} and teacher {teacher.name}"
    ours, theirs = student.preprocess, teacher.preprocess
    view = [(pre.resize, pre.width, pre.height, pre.crop_from, pre.pad_value) for pre in (ours, theirs)]
    if view[0] != view[1] or student.layout is not teacher.layout:
        msg = (
            f"{names} do not see the same picture: {ours.width}x{ours.height} {ours.resize.value} against "
            f"{theirs.width}x{theirs.height} {theirs.resize.value}; give them the same size, resize and layout"
        )
        raise SpecError(msg)
    if student.task is not teacher.task:
        msg = f"{names}: one {student.task.value}s and the other {teacher.task.value}s; they have nothing to say to each other"
        raise SpecError(msg)
    if student.labels and teacher.labels and student.labels != teacher.labels:
        msg = f"{names} have other labels, or in another order; a teacher must know the student's classes"
        raise SpecError(msg)
    if isinstance(student.decode, SsdDecode) and isinstance(teacher.decode, SsdDecode):
        _check_heads(student, student.decode, teacher, teacher.decode)


def _check_heads(student: ModelSpec, ours: SsdDecode, teacher: ModelSpec, theirs: SsdDecode) -> None:
    constants = [(d.order, d.variance_xy, d.variance_wh, d.background, d.activation) for d in (ours, theirs)]
    first, second = student.arrays[ours.anchors], teacher.arrays[theirs.anchors]
    if constants[0] != constants[1] or first.shape != second.shape or not np.allclose(first, second, atol=1e-5):
        msg = (
            f"student {student.name} and teacher {teacher.name} have other anchors or box codes, so their raw outputs "
            "do not mean the same; learn from the teacher's pseudo-labels instead"
        )
        raise SpecError(msg)


def _conversion(student: Preprocess, teacher: Preprocess) -> tuple[Any, Any, bool] | None:
    """Factor and offset a channel, and whether the colours change places; None where both take the same numbers."""
    swap = student.color is not teacher.color
    keys = ("scale", "mean", "std")
    if not swap and all(getattr(student, key) == getattr(teacher, key) for key in keys):
        return None
    order = slice(None, None, -1) if swap else slice(None)
    # The teacher's constants in the student's order of colours; the tensor is turned round afterwards.
    mean, std = np.array(teacher.mean)[order], np.array(teacher.std)[order]
    pixels_per_value = np.array(student.std) / student.scale
    first = np.array(student.mean) / student.scale
    factor = pixels_per_value * teacher.scale / std
    offset = (first * teacher.scale - mean) / std
    return factor.astype(np.float32), offset.astype(np.float32), swap
