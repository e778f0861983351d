"""A broker inside this process, so that trying edgewright needs nothing installed: amqtt on the loopback interface.

It speaks MQTT 3.1.1 only, keeps everything in memory and lets anybody on this machine in. That is safe for the rows
(they leave a device only when the database has them) and enough for one machine; a fleet uses a real broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import MissingExtraError
from edgewright.cloud.errors import BrokerError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["EmbeddedBroker"]

_log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_START_S = 15.0
_STOP_S = 10.0
_TRIES = 5


class EmbeddedBroker:
    """A broker in a thread of its own; a context manager.

    Args:
        port: TCP port on 127.0.0.1; 0 takes a free one.
    """

    def __init__(self, port: int = 0) -> None:
        """Starts nothing yet."""
        self._wanted = port
        self._port = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None

    @property
    def url(self) -> str:
        """Where to connect."""
        return f"mqtt://{_HOST}:{self._port}"

    def start(self) -> None:
        """Starts the broker and waits until it listens.

        Raises:
            MissingExtraError: amqtt is not installed.
            BrokerError: The port is taken, or the broker does not start.
        """
        try:
            import amqtt.broker  # noqa: F401 - only whether it is there; the thread uses it
        except ImportError as error:
            raise MissingExtraError("the embedded broker needs amqtt (or use --broker URL)", "cloud") from error
        tries = 1 if self._wanted else _TRIES
        for left in reversed(range(tries)):
            self._port = self._wanted or _free_port()
            try:
                self._start_once()
            except BrokerError:
                if not left:
                    raise
            else:
                return

    def _start_once(self) -> None:
        _refuse_taken(self._port)
        self._error = None
        self._started.clear()
        self._thread = threading.Thread(target=self._run, name="edgewright-broker", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_S) or self._error is not None:
            reason = self._error or f"it did not listen within {_START_S:.0f} s"
            self.stop()
            msg = (
                f"the embedded broker cannot start on port {self._port}: {reason}; choose another port or --broker URL"
            )
            raise BrokerError(msg)

    def stop(self) -> None:
        """Ends the broker; harmless when it does not run."""
        if self._thread is None:
            return
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(stop.set)
        self._thread.join(_STOP_S)
        self._thread = None

    def _run(self) -> None:
        quiet = _Quiet()
        try:
            with quiet:
                asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits in start()
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        from amqtt.broker import Broker

        self._loop = asyncio.get_running_loop()
        # amqtt lets some broken connections end in an unhandled error; it is theirs alone.
        self._loop.set_exception_handler(lambda _, context: _log.debug("embedded broker: %s", context.get("message")))
        self._stop = asyncio.Event()
        broker = Broker(_settings(self._port))
        await broker.start()
        self._started.set()
        try:
            await self._stop.wait()
        finally:
            # amqtt waits for handlers that wait for peers: bounded, since nothing here is worth keeping.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(broker.shutdown(), _STOP_S / 2)

    def __enter__(self) -> EmbeddedBroker:  # noqa: PYI034 - Self needs Python 3.11
        """Starts."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops."""
        self.stop()


def _settings(port: int) -> dict[str, Any]:
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"{_HOST}:{port}", "max_connections": 200}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            msg = f"port {port} on {_HOST} cannot be used ({error.strerror}); stop what runs there, or choose --port 0"
            raise BrokerError(msg) from error


class _Quiet:
    """Keeps amqtt's chatter (every connection, every MQTT 5 attempt) out of the log while the broker runs."""

    _names = ("amqtt", "transitions")

    def __enter__(self) -> None:
        self._levels = {name: logging.getLogger(name).level for name in self._names}
        for name in self._names:
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
