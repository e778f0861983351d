"""Steps that bring a board from what it is to what it shall be, and what happens when one of them fails.

A step looks first whether all is so already, and then does nothing: running a plan twice changes nothing the second
time, and running it after a break does what is still missing. When a step fails, or somebody presses Ctrl-C, what was
done is undone in reverse, the half-done step included, and the board is as it was.

Once every step is done, that is final. What only clears up behind them comes after that: it may destroy what undoing
would need, so nothing is undone any more whatever becomes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from edgewright.bundle.errors import EdgewrightError
from edgewright.deploy.errors import HostUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Outcome", "Plan", "Seen", "State", "Step", "StepResult"]


@dataclass(frozen=True)
class Seen:
    """What a step found.

    Attributes:
        done: Whether all is as it shall be.
        words: What is there when it is done, else what is to be done.
        warning: What its owner must know at the end, too; empty for nothing.
    """

    done: bool
    words: str
    warning: str = ""


class State(str, Enum):
    """What became of a step."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    WOULD_CHANGE = "would change"
    FAILED = "failed"
    UNDONE = "undone"


@dataclass(frozen=True)
class StepResult:
    """What became of one step, and why, in words.

    Attributes:
        title: Of the step.
        state: What became of it.
        words: What was found or done.
        warning: What its owner must know at the end, too; empty for nothing.
    """

    title: str
    state: State
    words: str
    warning: str = ""


class Step(Protocol):
    """One thing that shall be so on a board."""

    @property
    def title(self) -> str:
        """What it is about, in two or three words."""

    def check(self) -> Seen:
        """Looks whether it is so already; changes nothing.

        Raises:
            DeployError: It can never be so; the message says what to do.
        """

    def apply(self) -> str:
        """Makes it so.

        Returns:
            What was done, in words.

        Raises:
            DeployError: It could not be done; ``undo`` is called then, too.
        """

    def undo(self) -> None:
        """Takes back what ``apply`` did, all of it or the part it came to."""


@dataclass
class Outcome:
    """What a plan did.

    Attributes:
        results: One a step that was looked at, in order; undone steps come again at the end.
        error: What it failed with; None when all is well.
        left: What could not be undone, in words.
    """

    results: list[StepResult] = field(default_factory=list)
    error: EdgewrightError | None = None
    left: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything is, or would be, otherwise than before."""
        return any(result.state in {State.CHANGED, State.WOULD_CHANGE} for result in self.results)

    @property
    def warnings(self) -> list[str]:
        """What the steps warn of, in order."""
        return [result.warning for result in self.results if result.warning]


class Plan:
    """Runs steps in order."""

    def __init__(
        self,
        steps: Sequence[Step],
        on_result: Callable[[StepResult], None],
        *,
        afterwards: Sequence[Step] = (),
        before_undo: Callable[[], None] | None = None,
        after_undo: Callable[[], None] | None = None,
        on_begin: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing happens yet.

        Args:
            steps: In order.
            on_result: Told of every step as it ends.
            afterwards: What clears up when all of them are done. One that fails is a warning; none is ever undone.
            before_undo: Called before each step is undone; raises a ``DeployError`` where nothing may be undone any more.
            after_undo: Called when everything was undone, for what can only then be started again.
            on_begin: Told the title of every step that begins to work.
        """
        self._on_begin = on_begin
        self._before_undo = before_undo
        self._after_undo = after_undo
        self._steps = steps
        self._afterwards = afterwards
        self._on_result = on_result

    def run(self, *, dry: bool = False) -> Outcome:
        """Does what is missing; on a failure undoes what it did.

        Args:
            dry: Only look.

        Returns:
            What was done; ``error`` says why it failed.

        Raises:
            KeyboardInterrupt: Somebody pressed Ctrl-C; what was not final yet was undone before.
        """
        outcome = Outcome()
        begun: list[Step] = []
        try:
            for step in self._steps:
                self._run_step(step, begun, outcome, dry=dry)
        except EdgewrightError as error:
            outcome.error = error
            step = self._steps[len(outcome.results)]
            self._tell(outcome, StepResult(step.title, State.FAILED, str(error)))
            self._undo(begun, outcome)
        except BaseException:
            self._undo(begun, outcome)
            raise
        else:
            for step in self._afterwards:
                self._clear_up(step, outcome, dry=dry)
        return outcome

    def _clear_up(self, step: Step, outcome: Outcome, *, dry: bool) -> None:
        try:
            self._run_step(step, [], outcome, dry=dry)
        except EdgewrightError as error:
            warning = f"{step.title} was left for the next time: {error}"
            self._tell(outcome, StepResult(step.title, State.FAILED, warning, warning))

    def _run_step(self, step: Step, begun: list[Step], outcome: Outcome, *, dry: bool) -> None:
        seen = step.check()
        if seen.done:
            self._tell(outcome, StepResult(step.title, State.UNCHANGED, seen.words, seen.warning))
        elif dry:
            self._tell(outcome, StepResult(step.title, State.WOULD_CHANGE, seen.words, seen.warning))
        else:
            begun.append(step)
            if self._on_begin is not None:
                self._on_begin(step.title)
            words = step.apply()
            self._tell(outcome, StepResult(step.title, State.CHANGED, words, seen.warning))

    def _undo(self, begun: list[Step], outcome: Outcome) -> None:
        stopped = False
        for step in reversed(begun):
            if stopped:  # asking a dead link, or whoever has the board now, once is enough
                outcome.left.append(step.title)
                continue
            try:
                if not self._may_undo(step.title, outcome):
                    stopped = True
                    continue
                step.undo()
            except HostUnreachable:
                stopped = True
                outcome.left.append(step.title)
            except EdgewrightError as error:
                outcome.left.append(f"{step.title} ({error})")
            else:
                self._tell(outcome, StepResult(step.title, State.UNDONE, "as before"))
        if not stopped and self._after_undo is not None:
            self._start_former(self._after_undo, outcome)

    def _start_former(self, after_undo: Callable[[], None], outcome: Outcome) -> None:
        what = "starting what ran before"
        try:
            if self._may_undo(what, outcome):
                after_undo()
        except EdgewrightError as error:
            outcome.left.append(f"{what} ({error})")

    def _may_undo(self, what: str, outcome: Outcome) -> bool:
        """Whether undoing may go on; where it may not, why stands in the outcome.

        Raises:
            HostUnreachable: The board cannot be asked.
        """
        try:
            if self._before_undo is not None:
                self._before_undo()
        except HostUnreachable:
            raise
        except EdgewrightError as error:
            outcome.left.append(f"{what} ({error})")
            return False
        return True

    def _tell(self, outcome: Outcome, result: StepResult) -> None:
        outcome.results.append(result)
        self._on_result(result)
