"""A broker and cloud in one whose answers a test decides: the ways to be wrong that no real broker shows on demand."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

OK = 0
SILENT = -1  # takes the message and never says anything
CLOSE = -2  # ends the connection over it
SWALLOW = -3  # confirms it and loses it
LATE = -4  # the cloud's acknowledgement comes before the broker's

MQTT_5, MQTT_311 = 5, 4
_LATE_S = 0.05


class FakeBroker:
    """Speaks just enough MQTT for one device; ``verdict(payload)`` is a PUBACK code or one of the words above.

    Attributes:
        stored: Seqs that the pretended cloud has acknowledged, in order.
        connects: The protocol level and the bytes behind it of each CONNECT.
    """

    def __init__(
        self,
        verdict: Callable[[bytes], int] = lambda _: OK,
        *,
        properties: bytes = b"",
        greet: Callable[[int, int], int] = lambda *_: OK,
    ) -> None:
        self.verdict = verdict
        self.greet = greet  # (number of the connection, protocol level) -> CONNACK code or CLOSE
        self.answers = True
        self.stored: list[int] = []
        self.messages: list[list[int]] = []
        self.connects: list[tuple[int, bytes]] = []
        self._properties = properties
        self._server = socket.create_server(("127.0.0.1", 0))
        self._peers: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._closed = False

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> FakeBroker:  # noqa: PYI034 - Self needs Python 3.11
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(10)
        for peer in self._peers:
            peer.close()

    def hang_up(self) -> None:
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def say(self, packet: bytes) -> None:
        """Sends bytes on the newest connection."""
        self._peers[-1].sendall(packet)

    def acknowledge(self, ack: dict[str, Any], *, retained: bool = False) -> None:
        self.say(self._publish("edge/cam-1/ack", json.dumps(ack).encode(), retained=retained))

    def _accept(self) -> None:
        while not self._closed:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            self._peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            stream = peer.makefile("rb")
            while (packet := _packet(stream)) is not None and self._answer(peer, *packet):
                pass
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)

    def _answer(self, peer: socket.socket, kind: int, body: bytes) -> bool:
        if kind == 1:
            self._level = body[6]
            self.connects.append((body[6], body[7:]))
            code = self.greet(len(self.connects), body[6])
            if code == CLOSE:
                return False
            extra = bytes([len(self._properties)]) + self._properties if self._level == MQTT_5 else b""
            peer.sendall(bytes([0x20, 2 + len(extra), 0, code]) + extra)
            return code == OK
        if kind == 8:
            extra = b"\0" if self._level == MQTT_5 else b""
            peer.sendall(bytes([0x90, 3 + len(extra)]) + body[:2] + extra + b"\0")
        elif kind == 12:
            peer.sendall(b"\xd0\0")
        elif kind == 3:
            return self._take(peer, body)
        return kind != 14

    def _take(self, peer: socket.socket, body: bytes) -> bool:
        start = 2 + struct.unpack(">H", body[:2])[0]
        mid, payload = body[start : start + 2], body[start + 2 + (self._level == MQTT_5) :]
        seqs = [int(event["id"]) for event in json.loads(payload)["events"]]
        self.messages.append(seqs)
        code = self.verdict(payload)
        if code == CLOSE:
            return False
        extra = bytes([max(code, 0), 0]) if self._level == MQTT_5 else b""
        confirmation = bytes([0x40, 2 + len(extra)]) + mid + extra
        if code not in {SILENT, LATE}:
            peer.sendall(confirmation)
        if code in {OK, LATE} and self.answers:
            epoch = json.loads(payload)["source"].rpartition("/")[2]
            self.stored += seqs
            ack = {"v": 1, "epoch": epoch, "stored": [[seq, seq] for seq in seqs]}
            peer.sendall(self._publish("edge/cam-1/ack", json.dumps(ack).encode()))
        if code == LATE:
            timer = threading.Timer(_LATE_S, self._confirm, (peer, confirmation))
            self._threads.append(timer)
            timer.start()
        return True

    def _confirm(self, peer: socket.socket, confirmation: bytes) -> None:
        with contextlib.suppress(OSError):
            peer.sendall(confirmation)

    def _publish(self, topic: str, payload: bytes, *, retained: bool = False) -> bytes:
        body = struct.pack(">H", len(topic)) + topic.encode() + (b"\0" if self._level == MQTT_5 else b"") + payload
        return bytes([0x30 | retained]) + length(len(body)) + body


def length(size: int) -> bytes:
    """MQTT's variable length."""
    out = bytearray()
    while True:
        size, low = divmod(size, 128)
        out.append(low | (0x80 if size else 0))
        if not size:
            return bytes(out)


def _packet(stream: Any) -> tuple[int, bytes] | None:
    head = stream.read(1)
    if not head:
        return None
    size, shift = 0, 0
    while True:
        byte = stream.read(1)
        if not byte:
            return None
        size |= (byte[0] & 127) << shift
        shift += 7
        if not byte[0] & 128:
            break
    body = stream.read(size)
    return (head[0] >> 4, body) if len(body) == size else None
