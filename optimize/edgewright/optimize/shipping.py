"""Which form of the model goes into the bundle.

Every form was measured on the selection pictures, and timed briefly against the float model. Then, in this order:

1. A form that is slower than float beyond noise is out (the speed gate), and so is one that cannot be run.
2. Forms that keep more of the contract's promises, by these first figures, come before those that keep fewer.
3. A form that is less faithful than the static INT8 one beyond noise comes behind it.
4. The faster one wins; within ``SAME_SPEED`` the more faithful one.

When no form is left, the float model itself is shipped, and the report says so. For a board with another kind of
processor the clock of this machine says nothing: no gate, and static INT8 goes. A form wanted by name (``--ship``) goes whatever was
measured. What is chosen here is judged afterwards on pictures of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import SpecError
from edgewright.optimize.evaluate.quality import FLOAT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.device_profiles.profile import DeviceProfile
    from edgewright.optimize.contract import Contract, Measured
    from edgewright.runtime.machine import Machine

__all__ = ["SAME_SPEED", "Choice", "FormFigures", "another_kind", "choose_form", "too_slow"]

SAME_SPEED = 1.03
"""Two forms whose times differ by less than this factor count as equally fast."""
# Any one of them makes INT8 fast and exact; without one, integers cost several instructions a product.
_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})


@dataclass(frozen=True)
class FormFigures:
    """First figures of one form.

    Attributes:
        name: Of the form.
        precision: Its arithmetic.
        bytes: Size of the file.
        loss: Mean loss on the selection pictures; None when it could not be run.
        agreement: Percent of float's answers it keeps there; None when float saw nothing.
        speedup: Float time over its time, briefly timed; None when it could not be run.
        worse: Whether it is less faithful than the static INT8 form beyond noise.
        problem: Why it could not be run, None when it could.
    """

    name: str
    precision: str
    bytes: int
    loss: float | None = None
    agreement: float | None = None
    speedup: Measured | None = None
    worse: bool = False
    problem: str | None = None

    def values(self) -> dict[str, Any]:
        """JSON values."""
        spread = None if self.speedup is None else [self.speedup.value, self.speedup.low, self.speedup.high]
        return {
            "name": self.name,
            "precision": self.precision,
            "bytes": self.bytes,
            "loss": self.loss,
            "agreement": self.agreement,
            "speedup": spread,
            "problem": self.problem,
        }


@dataclass(frozen=True)
class Choice:
    """What is shipped.

    Attributes:
        name: Of the form.
        judged: The form that is judged: the same, or the best integer one when float is shipped.
        why: In words.
        gated: Whether the speed gate closed on every integer form.
    """

    name: str
    judged: str
    why: str
    gated: bool = False


def choose_form(
    rows: Sequence[FormFigures],
    contract: Contract,
    wanted: str | None = None,
    *,
    foreign: bool = False,
    baseline: str = FLOAT,
) -> Choice:
    """Chooses by the rules of the module.

    Args:
        rows: The forms beside the float one; the first is the static INT8 one.
        contract: What was promised.
        wanted: Name of the form to ship; None chooses.
        foreign: The model is for a board with another kind of processor, see ``another_kind``.
        baseline: Name of the float form of the same format.

    Raises:
        SpecError: The form wanted is not there, or cannot be run here.
    """
    if wanted is not None:
        return _wanted(rows, wanted)
    if foreign and rows[0].problem is None:
        return Choice(
            rows[0].name, rows[0].name, f"{rows[0].name}: made for a board whose speed this machine cannot tell"
        )
    able = [row for row in rows if row.problem is None and row.speedup is not None]
    quick = [row for row in able if row.speedup is None or row.speedup.high >= 1.0]
    if not quick:
        best = min(able, key=lambda row: row.loss if row.loss is not None else float("inf"), default=rows[0])
        why = f"no form is faster than the float model here ({_listed(able)}); the float model is shipped"
        return Choice(baseline, best.name, why, gated=True)
    fewest = min(_missed(row, contract) for row in quick)
    kept = [row for row in quick if _missed(row, contract) == fewest]
    faithful = [row for row in kept if not row.worse] or kept
    top = max(_speed(row) for row in faithful)
    winner = min((row for row in faithful if _speed(row) * SAME_SPEED >= top), key=_loss)
    sure = winner.speedup is not None and winner.speedup.low > 1.0
    reasons = [f"{_speed(winner):.2f}x float's speed" if sure else "about as fast as float: noise hides the difference"]
    if fewest:
        reasons.append(f"breaks {fewest} of the contract's promises by these figures, and no form breaks fewer")
    elif not contract.empty:
        reasons.append("keeps every promise that these figures can tell of")
    return Choice(winner.name, winner.name, f"{winner.name}: {', '.join(reasons)}")


def another_kind(profile: DeviceProfile, machine: Machine) -> bool:
    """Whether a board's processor is of another kind than a machine's, so that times taken there say nothing of it.

    It is when the architectures differ, when only one of the two multiplies 8-bit integers in one instruction, or when
    the machine lacks a further instruction set that the board has. What the profile or the machine does not tell is not
    held against it.

    Args:
        profile: Of the board.
        machine: Where times are taken.
    """
    if profile.architecture is not None and profile.architecture.value != machine.architecture:
        return True
    if profile.instructions is None or not machine.instructions:
        return False
    wanted, there = set(profile.instructions.value), set(machine.instructions)
    return bool(wanted & _DOT_PRODUCTS) != bool(there & _DOT_PRODUCTS) or bool(wanted - _DOT_PRODUCTS - there)


def too_slow(choice: Choice, baseline: str = FLOAT) -> Choice:
    """What is shipped when the final timing shows that the form chosen is slower than float after all.

    Args:
        choice: By the brief timing.
        baseline: Name of the float form of the same format.
    """
    why = f"{choice.judged} is slower than the float model here by the final timing; the float model is shipped"
    return Choice(baseline, choice.judged, why, gated=True)


def _wanted(rows: Sequence[FormFigures], name: str) -> Choice:
    row = next((row for row in rows if row.name == name), None)
    if row is None:
        msg = f"there is no form {name!r} to ship; this chain makes {', '.join(row.name for row in rows)}"
        raise SpecError(msg)
    if row.problem is not None:
        msg = f"the form {name!r} cannot be shipped: {row.problem}"
        raise SpecError(msg)
    return Choice(name, name, f"{name}: wanted by name")


def _missed(row: FormFigures, contract: Contract) -> int:
    return sum(
        (
            contract.max_size is not None and row.bytes > contract.max_size,
            contract.min_speedup is not None and _speed(row) < contract.min_speedup,
            contract.min_agreement is not None and row.agreement is not None and row.agreement < contract.min_agreement,
        )
    )


def _speed(row: FormFigures) -> float:
    return 0.0 if row.speedup is None else row.speedup.value


def _loss(row: FormFigures) -> float:
    return float("inf") if row.loss is None else row.loss


def _listed(rows: Sequence[FormFigures]) -> str:
    return ", ".join(f"{row.name} {_speed(row):.2f}x" for row in rows) or "none could be run"
