"""Figures of how far the forms of a model are from each other, output by output and layer by layer.

Each row compares one tensor of two forms over all pictures: largest error, ratio of signal to noise, cosine. The first
form of a pair is the reference.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.sensitivity.difference import Difference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Parity", "compare_forms", "compare_values"]


@dataclass(frozen=True)
class Parity:
    """One tensor of two forms.

    Attributes:
        reference: Name of the form that is taken for right.
        form: Name of the other.
        tensor: The tensor.
        max_error: Largest absolute difference.
        sqnr_db: 10 log10 of signal over noise power; 200 stands for no noise.
        cosine: Between the values.
        pictures: How many were compared.
    """

    reference: str
    form: str
    tensor: str
    max_error: float
    sqnr_db: float
    cosine: float
    pictures: int

    def to_json(self) -> dict[str, Any]:
        """A row of the report's table."""
        return asdict(self)


def compare_values(
    reference: str,
    form: str,
    pairs: Iterable[tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]],
) -> tuple[Parity, ...]:
    """Compares all tensors that two forms have in common.

    Args:
        reference: Name of the first form.
        form: Name of the second.
        pairs: For each picture the values of both by tensor name, float and of one shape.

    Returns:
        A row for each tensor, in the reference's order.

    Raises:
        JudgeError: A tensor has another shape in the second form.
    """
    sums: dict[str, Difference] = {}
    pictures = 0
    for wanted, found in pairs:
        pictures += 1
        for name in (name for name in wanted if name in found):
            if wanted[name].shape != found[name].shape:
                msg = f"tensor {name!r} has shape {wanted[name].shape} in {reference} and {found[name].shape} in {form}"
                raise JudgeError(msg)
            sums.setdefault(name, Difference()).add(wanted[name], found[name])
    return tuple(Parity(reference, form, name, row.worst, row.sqnr, row.cosine, pictures) for name, row in sums.items())


def compare_forms(
    answers: Mapping[str, Sequence[Mapping[str, NDArray[Any]]]], pairs: Iterable[tuple[str, str]]
) -> tuple[Parity, ...]:
    """Compares raw outputs of forms on the same pictures.

    Args:
        answers: By form, the outputs for each picture, dequantized.
        pairs: Which forms, reference first; pairs of which one gave no answers are left out.
    """
    rows: list[Parity] = []
    for reference, form in pairs:
        if reference in answers and form in answers:
            both = zip(answers[reference], answers[form], strict=True)
            rows += compare_values(reference, form, ((_float(a), _float(b)) for a, b in both))
    return tuple(rows)


def _float(values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    return {name: np.asarray(value, np.float32) for name, value in values.items()}
