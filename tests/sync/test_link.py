from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from delivery import free_port
from delivery_fake import CLOSE, OK, FakeBroker

from edgewright.sync import LinkConfig
from edgewright.sync import link as link_module
from edgewright.sync.address import parse_broker
from edgewright.sync.connection import Lost, PubAck, Ready, SessionConfig
from edgewright.sync.link import Link
from edgewright.sync.quiet import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgewright.sync.connection import LinkEvent


@pytest.fixture
def connect() -> Iterator[Callable[..., Link]]:
    made: list[Link] = []

    def make(url: str, **settings: float) -> Link:
        made.append(Link(parse_broker(url), LinkConfig(**settings), SessionConfig("me", "edge/cam-1/ack", qos=0)))
        return made[-1]

    yield make
    for link in made:
        link.close()


def until(link: Link, kind: type[LinkEvent]) -> LinkEvent:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for event in link.step(0.05):
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__}")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """The bounds of the waits that the link draws; the waits themselves are left out."""
    drawn: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return 0.0

    monkeypatch.setattr(link_module.random, "uniform", draw)
    return drawn


def test_waits_are_drawn_from_all_of_a_growing_range(
    connect: Callable[..., Link], waits: list[tuple[float, float]]
) -> None:
    link = connect(f"mqtt://127.0.0.1:{free_port()}", backoff_base_s=0.5, backoff_cap_s=6.0)
    for _ in range(7):
        until(link, Lost)
    assert waits == [(0, 0.5), (0, 1.0), (0, 2.0), (0, 4.0), (0, 6.0), (0, 6.0), (0, 6.0)]


def test_a_fleet_that_lost_its_broker_comes_back_spread_out(connect: Callable[..., Link]) -> None:
    random.seed(1)
    url = f"mqtt://127.0.0.1:{free_port()}"
    attempts = []
    for _ in range(100):
        link = connect(url, backoff_base_s=1000.0, backoff_cap_s=1000.0)
        began = time.monotonic()
        until(link, Lost)
        attempts.append(link._next_attempt - began)
    quarters = [sum(low <= wait < low + 250 for wait in attempts) for low in (0, 250, 500, 750)]
    assert min(quarters) >= 12  # of 25 expected


def test_the_timeout_reaches_the_socket(connect: Callable[..., Link]) -> None:
    with FakeBroker() as broker:
        link = connect(broker.url, connect_timeout_s=1.25)
        until(link, Ready)
        assert link._client is not None
        assert link._client.connect_timeout == 1.25


def test_only_a_confirmed_message_resets_the_backoff(
    connect: Callable[..., Link], waits: list[tuple[float, float]]
) -> None:
    """A broker that lets us in and ends the connection over what we send must not be hammered."""
    message = b'{"events": [{"id": "1"}]}'
    with FakeBroker(lambda _: CLOSE) as broker:
        link = connect(broker.url, backoff_base_s=1.0, backoff_cap_s=64.0)
        for _ in range(4):
            until(link, Ready)
            link.publish("edge/cam-1/ev", message, 1)
            until(link, Lost)
        assert [high for _, high in waits] == [1, 2, 4, 8]
        broker.verdict, broker.answers = (lambda _: OK), False
        until(link, Ready)
        link.publish("edge/cam-1/ev", message, 1)
        until(link, PubAck)
        broker.hang_up()
        until(link, Lost)
        assert [high for _, high in waits][4:] == [1]


def test_one_cause_is_logged_once_in_a_while_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    throttle = Throttle(60.0, lambda: now[0])
    said = []
    for second in range(130):
        now[0] = float(second)
        said.append(throttle.warn(link_module._log, "junk", "junk at %d", second))
    throttle.warn(link_module._log, "other", "other")
    assert [second for second, logged in enumerate(said) if logged] == [0, 60, 120]
    assert [record.getMessage() for record in caplog.records] == [
        "junk at 0",
        "junk at 60 (59 more of this kind since the last such line)",
        "junk at 120 (59 more of this kind since the last such line)",
        "other",
    ]
