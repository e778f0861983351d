"""Whether labels can tell anything of a model: not where the float model itself answers them no better than chance.

Labels in another order, of other pictures, or fed through the wrong preprocessing leave the float model at chance. The
INT8 model is then at chance as well, the drop is about zero with a narrow interval, and would pass any promise.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.optimize.contract import Measured

__all__ = ["accuracy_doubt", "agreement_doubt", "precision_doubt"]

# Whatever chance is: of a model that scores less, nothing is left to lose.
_LEAST = 0.02
# Boxes drawn at random have an AP of nearly nothing; an interval that begins below this may as well begin at 0.
_ALMOST_ZERO = 0.005
_ENOUGH_ANSWERS = 8  # fewer pictures may well be of one kind
_NEARLY_ALL = 0.98
_CHECK = "check the labels, their order, and the preprocessing"


def accuracy_doubt(float_: Measured, classes: int) -> str | None:
    """Why a drop of accuracy tells nothing, None where it does.

    Args:
        float_: Top-1 accuracy of the float model, 0..1.
        classes: How many classes it tells apart; at least one.
    """
    chance = 1.0 / classes
    if not (float_.value <= chance or float_.value < _LEAST or _reaches(float_, chance)):
        return None
    scored = f"{100 * float_.value:.1f} % [{100 * float_.low:.1f} to {100 * float_.high:.1f}]"
    return _told(scored, f"{100 * chance:.2g} %", doubtful=float_.value > max(chance, _LEAST))


def precision_doubt(float_: Measured, title: str) -> str | None:
    """Why a drop of average precision tells nothing, None where it does.

    Args:
        float_: AP of the float model, 0..1.
        title: Which AP, in words.
    """
    if not (float_.value < _LEAST or _reaches(float_, _ALMOST_ZERO)):
        return None
    scored = f"{title} {float_.value:.3f} [{float_.low:.3f} to {float_.high:.3f}]"
    return _told(scored, "0", doubtful=float_.value >= _LEAST)


def agreement_doubt(classes: Sequence[int]) -> str | None:
    """Why agreement with a classifier tells nothing, None where it does.

    Wrong preprocessing saturates a network: it answers one class whatever it sees, and so does every form of it.

    Args:
        classes: Float's best class of each picture.
    """
    if len(classes) < _ENOUGH_ANSWERS:
        return None
    most = Counter(classes).most_common(1)[0][1]
    if most < _NEARLY_ALL * len(classes):
        return None
    all_of = f"all {len(classes)}" if most == len(classes) else f"{most} of {len(classes)}"
    return f"float gives the same class for {all_of} pictures: agreement says nothing; check --scale and --mean"


def _reaches(figure: Measured, chance: float) -> bool:
    """Whether the interval holds ``chance``. One that is the whole range says only that there are few pictures."""
    whole = figure.low <= 0.0 and figure.high >= 1.0
    return figure.low <= chance and not whole


def _told(scored: str, chance: str, *, doubtful: bool) -> str:
    worth = f"which cannot be told from chance ({chance})" if doubtful else f"no better than chance ({chance})"
    more = ", or label more pictures" if doubtful else ""
    return f"float itself scores {scored} on these labels, {worth}, so no drop can be judged: {_CHECK}{more}"
