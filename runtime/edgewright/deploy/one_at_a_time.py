"""A plan that is run while nobody else changes the board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.deploy.errors import HostUnreachable
from edgewright.deploy.lock import held_now
from edgewright.deploy.plan import Plan, State, StepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgewright.deploy.lock import BoardLock
    from edgewright.deploy.plan import Outcome, Seen, Step

__all__ = ["run_under"]


def run_under(
    lock: BoardLock,
    steps: list[Step],
    on_result: Callable[[StepResult], None],
    *,
    afterwards: Sequence[Step] = (),
    after_undo: Callable[[], None] | None = None,
    on_begin: Callable[[str], None] | None = None,
    dry: bool,
) -> Outcome:
    """Runs steps while nobody else may; a dry run only says who has the board.

    Args:
        lock: Of the board; taken here.
        steps: In order. They ``keep`` the lock in the middle of what takes hours.
        on_result: Told of every step as it ends.
        afterwards: See ``Plan``.
        after_undo: See ``Plan``.
        on_begin: Told the title of every step that begins to work.
        dry: Only look.

    Raises:
        DeployError: Another deployment is at work there.
        HostUnreachable: The board cannot be talked to.
    """
    if dry:
        board = lock.board
        outcome = Plan(steps, on_result, afterwards=afterwards).run(dry=True)
        held = held_now(board.host, board.layout.on(board.layout.top))
        if held is not None:
            result = StepResult("lock", State.UNCHANGED, f"a real run would be refused: {held.words(board.name)}")
            outcome.results.append(result)
            on_result(result)
        return outcome
    with lock:
        outcome = Plan(
            [_LockedStep(step, lock) for step in steps],
            on_result,
            afterwards=[_LockedStep(step, lock) for step in afterwards],
            before_undo=lock.regain,
            after_undo=after_undo,
            on_begin=on_begin,
        ).run()
        if outcome.left and isinstance(outcome.error, HostUnreachable):
            lock.leave()
        return outcome


class _LockedStep:
    """A step that is begun only while the lock is ours. Whether it may be undone is the plan's to ask."""

    def __init__(self, step: Step, lock: BoardLock) -> None:
        self._step = step
        self._lock = lock

    @property
    def title(self) -> str:
        """The step's."""
        return self._step.title

    def check(self) -> Seen:
        """The step's."""
        return self._step.check()

    def apply(self) -> str:
        """The step's, once the lock was touched."""
        self._lock.touch()
        return self._step.apply()

    def undo(self) -> None:
        """The step's."""
        self._step.undo()
