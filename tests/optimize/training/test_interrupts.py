"""Ctrl-C and SIGTERM wait for what is whole, the second one for nothing."""

from __future__ import annotations

import signal
import threading

import pytest

from edgewright.optimize.training.interrupts import Interrupts


def test_it_waits_for_the_end_of_the_outermost_block() -> None:
    reached = []

    def work() -> None:
        with Interrupts() as interrupts, interrupts.hold():
            with interrupts.hold():
                signal.raise_signal(signal.SIGINT)
            reached.append("inner")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["inner"]


def test_a_second_one_waits_for_nothing() -> None:
    reached = []

    def work() -> None:
        with Interrupts() as interrupts, interrupts.hold():
            signal.raise_signal(signal.SIGINT)
            reached.append("first")
            signal.raise_signal(signal.SIGINT)
            reached.append("second")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["first"]


def test_the_first_one_is_answered_at_once_and_once(capfd: pytest.CaptureFixture[str]) -> None:
    answered = []

    def work() -> None:
        with Interrupts("stopping: writing a checkpoint ...") as interrupts, interrupts.hold():
            signal.raise_signal(signal.SIGINT)
            answered.append(capfd.readouterr().err)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert answered == ["stopping: writing a checkpoint ...\n"]
    assert capfd.readouterr().err == ""


def test_outside_of_blocks_it_comes_at_once_and_the_handler_is_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_who_ignores_it_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts, interrupts.hold():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_change_no_handler() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with Interrupts() as interrupts, interrupts.hold():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_handled_sigterm_waits_as_well_and_its_handler_is_asked() -> None:
    reached = []

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    def work() -> None:
        with Interrupts() as interrupts, interrupts.hold():
            signal.raise_signal(signal.SIGTERM)
            reached.append("whole")

    before = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(SystemExit) as caught:
            work()
        assert signal.getsignal(signal.SIGTERM) is leave
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 143
    assert reached == ["whole"]


def test_who_ignores_sigterm_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts, interrupts.hold():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
