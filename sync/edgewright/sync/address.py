"""Broker URLs, and the promise that a password in one is never shown.

``mqtt://[user:password@]host[:port]`` is plain TCP (port 1883), ``mqtts://`` is TLS (port 8883): certificate and host
name are always verified, against the system's authorities or ``?ca=FILE``; ``?cert=FILE&key=FILE`` is the device's own
certificate. There is no way to switch verification off.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from edgewright.sync.errors import SyncConfigError

__all__ = ["BrokerAddress", "parse_broker", "tls_context"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_FILES = ("ca", "cert", "key")
_HOW = "write mqtt://[user:password@]host[:port] or mqtts://host[:port][?ca=FILE&cert=FILE&key=FILE]"


@dataclass(frozen=True)
class BrokerAddress:
    """Where a broker is and how to speak to it.

    Attributes:
        host: Name or address.
        port: TCP port.
        tls: Whether the connection is encrypted and verified.
        username: None for anonymous.
        password: Never shown by ``repr`` or ``str``.
        ca: File with the authorities to trust instead of the system's.
        cert: The client's own certificate chain.
        key: The private key of ``cert`` when it is in a file of its own.
    """

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __str__(self) -> str:
        """The URL without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_broker(url: str) -> BrokerAddress:
    """Reads a broker URL.

    Raises:
        SyncConfigError: It is not one; the message never repeats the part that may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise SyncConfigError(f"the broker URL cannot be read; {_HOW}") from None
    host = parts.hostname
    if parts.scheme not in _PORTS or not host or parts.path not in {"", "/"} or parts.fragment:
        # Not repeated whole: what is wrong may be an unescaped password.
        raise SyncConfigError(f"the broker URL must name a scheme mqtt or mqtts and a host, nothing more; {_HOW}")
    if port == 0 or (parts.password and not parts.username) or not _resolvable(host):
        raise SyncConfigError(f"the broker URL has a port, user or host that cannot be used; {_HOW}")
    tls = parts.scheme == "mqtts"
    files = _files(query, tls=tls)
    return BrokerAddress(
        host=host,
        port=port or _PORTS[parts.scheme],
        tls=tls,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        **files,
    )


def _files(query: list[tuple[str, str]], *, tls: bool) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for name, value in query:
        if name not in _FILES or name in files or not value:
            raise SyncConfigError(f"the broker URL has an unknown, empty or repeated setting {name!r}; {_HOW}")
        files[name] = Path(value)
    if files and not tls:
        raise SyncConfigError(f"certificate files need TLS: the broker URL must begin with mqtts://; {_HOW}")
    if "key" in files and "cert" not in files:
        raise SyncConfigError(f"the broker URL names a key without its certificate; {_HOW}")
    return files


def _resolvable(host: str) -> bool:
    """Whether the resolver can be asked at all: it raises a bare UnicodeError for some names."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return host.isprintable() and " " not in host


class _HandshakeOrClosed(ssl.SSLSocket):
    """Closes itself when the other side cannot be trusted; paho would leave it open."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def tls_context(address: BrokerAddress) -> ssl.SSLContext | None:
    """The verified TLS settings of ``address``, None for plain TCP.

    Raises:
        SyncConfigError: A certificate file is missing or unreadable.
    """
    if not address.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=None if address.ca is None else str(address.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.sslsocket_class = _HandshakeOrClosed
        if address.cert is not None:
            context.load_cert_chain(address.cert, address.key)
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(str(p) for p in (address.ca, address.cert, address.key) if p is not None)
        reason = error.strerror or str(error)
        msg = f"cannot load the certificates for {address} ({names}): {reason}; check the files named in the broker URL"
        raise SyncConfigError(msg) from error
    return context
