"""A TCP relay on this machine that breaks a link when a test says so: cut it, or stall it, after so many bytes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 1 << 14
_RESET = struct.pack("ii", 1, 0)


class FaultProxy:
    """Forwards 127.0.0.1:``port`` to ``upstream``; what goes to the server is counted from the last command on; ``on_cut`` happens at each cut."""

    def __init__(self, upstream: int, on_cut: Callable[[], object] = lambda: None) -> None:
        self.upstream = upstream
        self._on_cut = on_cut
        self.cuts = 0
        self._lock = threading.Lock()
        self._healthy = threading.Event()
        self._healthy.set()
        self._closed = threading.Event()
        self._cut_left: int | None = None
        self._for_good = False
        self._stall_left: int | None = None
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int, *, for_good: bool = False) -> None:
        """Resets every connection once ``count`` more bytes went to the server; ``for_good`` those that follow, too."""
        with self._lock:
            self._cut_left, self._for_good = count, for_good

    def stall_after(self, count: int) -> None:
        """Forwards nothing any more, in neither direction, once ``count`` more bytes went to the server."""
        with self._lock:
            self._stall_left = count

    def heal(self) -> None:
        """Forwards all again."""
        with self._lock:
            self._cut_left = self._stall_left = None
        self._healthy.set()

    def close(self) -> None:
        self._closed.set()
        self._healthy.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._reset_all()

    def __enter__(self) -> FaultProxy:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.upstream), 5.0)
                far.settimeout(None)
            except OSError:
                self._reset(near)
                continue
            pair = (near, far)
            with self._lock:
                self._pairs.add(pair)
            for source, sink, counted in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pump, args=(pair, source, sink, counted), daemon=True).start()

    def _pump(
        self, pair: tuple[socket.socket, socket.socket], source: socket.socket, sink: socket.socket, counted: bool
    ) -> None:
        try:
            while data := source.recv(_CHUNK):
                self._healthy.wait()
                sink.sendall(data)
                if counted and self._counts(len(data)):
                    self._on_cut()
                    self._reset_all()
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def _counts(self, sent: int) -> bool:
        """Whether the link is to be cut now."""
        with self._lock:
            if self._stall_left is not None:
                self._stall_left -= sent
                if self._stall_left <= 0:
                    self._stall_left = None
                    self._healthy.clear()
            if self._cut_left is None:
                return False
            self._cut_left -= sent
            if self._cut_left > 0:
                return False
            self.cuts += 1
            self._cut_left = 0 if self._for_good else None
            return True

    def _reset_all(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                self._reset(end)

    @staticmethod
    def _reset(end: socket.socket) -> None:
        """Closes with a reset, as a link that is gone; the threads that wait in it wake up."""
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
