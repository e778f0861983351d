from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.plan import Outcome, Plan, Seen, State

if TYPE_CHECKING:
    from collections.abc import Callable


class Step:
    def __init__(
        self, title: str, log: list[str], *, done: bool = False, fails: BaseException | None = None,
        undo: BaseException | None = None,
    ) -> None:  # fmt: skip
        self.title = title
        self.done = done
        self._log = log
        self._fails = fails
        self._undo = undo

    def check(self) -> Seen:
        return Seen(self.done, "so already" if self.done else "would do it")

    def apply(self) -> str:
        self._log.append(f"+{self.title}")
        if self._fails is not None:
            raise self._fails
        self.done = True
        return "did it"

    def undo(self) -> None:
        self._log.append(f"-{self.title}")
        if self._undo is not None:
            raise self._undo
        self.done = False


def run(*steps: Step, dry: bool = False) -> Outcome:
    return Plan(steps, lambda _: None).run(dry=dry)


def refuse_at(number: int) -> Callable[[], None]:
    asked: list[None] = []

    def before() -> None:
        asked.append(None)
        if len(asked) == number:
            msg = "theirs now"
            raise DeployError(msg)

    return before


def states(outcome: Outcome) -> list[tuple[str, State]]:
    return [(result.title, result.state) for result in outcome.results]


def test_does_what_is_missing_and_nothing_the_second_time() -> None:
    log: list[str] = []
    steps = (Step("a", log), Step("b", log, done=True), Step("c", log))
    first, second = run(*steps), run(*steps)
    assert log == ["+a", "+c"]
    assert first.changed
    assert not second.changed
    assert {state for _, state in states(second)} == {State.UNCHANGED}


def test_a_dry_run_only_looks() -> None:
    log: list[str] = []
    outcome = run(Step("a", log), Step("b", log, done=True), dry=True)
    assert log == []
    assert states(outcome) == [("a", State.WOULD_CHANGE), ("b", State.UNCHANGED)]


def test_a_failure_undoes_what_was_done_in_reverse_the_failed_step_too() -> None:
    log: list[str] = []
    outcome = run(
        Step("a", log),
        Step("old", log, done=True),
        Step("b", log),
        Step("c", log, fails=DeployError("no")),
        Step("d", log),
    )
    assert log == ["+a", "+b", "+c", "-c", "-b", "-a"]
    assert str(outcome.error) == "no"
    assert not outcome.left
    assert states(outcome)[3:] == [("c", State.FAILED), ("c", State.UNDONE), ("b", State.UNDONE), ("a", State.UNDONE)]


def test_control_c_undoes_as_well() -> None:
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(Step("a", log), Step("b", log, fails=KeyboardInterrupt()))
    assert log == ["+a", "+b", "-b", "-a"]


def test_what_cannot_be_undone_is_told_and_the_rest_is_undone() -> None:
    log: list[str] = []
    outcome = run(Step("a", log), Step("b", log, undo=DeployError("stuck")), Step("c", log, fails=DeployError("no")))
    assert log[-3:] == ["-c", "-b", "-a"]
    assert outcome.left == ["b (stuck)"]


def test_a_dead_link_is_asked_once_and_everything_is_told_as_left() -> None:
    log: list[str] = []
    lost = HostUnreachable("lost")
    outcome = run(Step("a", log), Step("b", log), Step("c", log, fails=lost, undo=lost))
    assert log == ["+a", "+b", "+c", "-c"]
    assert outcome.left == ["c", "b", "a"]


def test_what_ran_before_is_started_when_all_is_undone() -> None:
    log: list[str] = []
    steps = [Step("a", log), Step("b", log, fails=DeployError("no"))]
    Plan(steps, lambda _: None, after_undo=lambda: log.append("start")).run()
    assert log[-2:] == ["-a", "start"]


def test_where_nothing_may_be_undone_any_more_the_rest_is_left_and_nothing_started() -> None:
    log: list[str] = []
    steps = [Step("a", log), Step("b", log), Step("c", log, fails=DeployError("no"))]
    outcome = Plan(
        steps, lambda _: None, before_undo=refuse_at(2), after_undo=lambda: log.append("start")
    ).run()  # fmt: skip
    assert log == ["+a", "+b", "+c", "-c"]
    assert outcome.left == ["b (theirs now)", "a"]
    assert str(outcome.error) == "no"


def test_what_ran_before_is_not_started_where_that_is_anothers_by_now() -> None:
    log: list[str] = []
    steps = [Step("a", log, fails=DeployError("no"))]
    outcome = Plan(
        steps, lambda _: None, before_undo=refuse_at(2), after_undo=lambda: log.append("start")
    ).run()  # fmt: skip
    assert log == ["+a", "-a"]
    assert outcome.left == ["starting what ran before (theirs now)"]


@pytest.mark.parametrize("fails", [DeployError("slow disk"), HostUnreachable("lost")])
def test_clearing_up_that_fails_is_a_warning_and_nothing_is_undone(fails: DeployError) -> None:
    log: list[str] = []
    undone = lambda: log.append("start")  # noqa: E731
    tidy = [Step("tidying", log, fails=fails), Step("more", log)]
    outcome = Plan([Step("a", log)], lambda _: None, afterwards=tidy, after_undo=undone).run()
    assert log == ["+a", "+tidying", "+more"]
    assert (outcome.error, outcome.left) == (None, [])
    assert outcome.warnings == [f"tidying was left for the next time: {fails}"]


def test_looking_for_what_is_to_be_cleared_up_may_fail_as_well() -> None:
    class Blind(Step):
        def check(self) -> Seen:
            raise DeployError(self.title)

    log: list[str] = []
    outcome = Plan([Step("a", log)], lambda _: None, afterwards=[Blind("tidying", log)]).run()
    assert (outcome.error, log) == (None, ["+a"])
    assert outcome.warnings == ["tidying was left for the next time: tidying"]


def test_control_c_while_clearing_up_undoes_nothing() -> None:
    log: list[str] = []
    tidy = [Step("tidying", log, fails=KeyboardInterrupt())]
    undone = lambda: log.append("start")  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        Plan([Step("a", log)], lambda _: None, afterwards=tidy, after_undo=undone).run()
    assert log == ["+a", "+tidying"]


def test_nothing_is_cleared_up_after_a_failure() -> None:
    log: list[str] = []
    Plan([Step("a", log, fails=DeployError("no"))], lambda _: None, afterwards=[Step("tidying", log)]).run()
    assert log == ["+a", "-a"]
