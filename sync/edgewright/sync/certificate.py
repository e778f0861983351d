"""Until when a certificate is valid: the one field of X.509 that the standard library cannot read from a file.

Only as much of DER is read as leads there (RFC 5280, section 4.1); nothing is verified.
"""

from __future__ import annotations

import ssl
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from edgewright.sync.errors import SyncConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["file_valid_until", "valid_until"]

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_BEFORE_VALIDITY = 3  # serial number, signature algorithm, issuer
_LARGEST = 1 << 20
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def valid_until(der: bytes) -> datetime:
    """The end of a certificate's validity, in UTC.

    Raises:
        SyncConfigError: It is no certificate.
    """
    try:
        _, certificate, _ = _element(der)
        _, body, _ = _element(certificate)
        tag, _, rest = _element(body)
        if tag == _VERSION:
            body = rest
        for _ in range(_BEFORE_VALIDITY):
            _, _, body = _element(body)
        _, validity, _ = _element(body)
        _, _, rest = _element(validity)
        tag, text, _ = _element(rest)
        return _time(tag, text.decode("ascii"))
    except (IndexError, ValueError) as error:
        raise SyncConfigError("this is no X.509 certificate; give a PEM file that begins with one") from error


def file_valid_until(path: Path) -> datetime:
    """The end of the validity of the first certificate in a PEM file, in UTC.

    Raises:
        SyncConfigError: The file cannot be read or holds none.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(_LARGEST).decode("ascii", "replace")
    except OSError as error:
        raise SyncConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    begin = text.find(_BEGIN)
    end = text.find(_END, begin)
    if begin < 0 or end < 0:
        raise SyncConfigError(f"{path}: holds no certificate in PEM form")
    try:
        der = ssl.PEM_cert_to_DER_cert(text[begin : end + len(_END)])
    except ValueError as error:
        raise SyncConfigError(f"{path}: its certificate is damaged ({error})") from error
    return valid_until(der)


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows.

    Raises:
        IndexError: The data ends early.
        ValueError: So does its content.
    """
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    if start + length > len(data) or tag & 0x1F == 0x1F:
        msg = "it ends early"
        raise ValueError(msg)
    return tag, data[start : start + length], data[start + length :]


def _time(tag: int, text: str) -> datetime:
    if tag == _UTC_TIME:  # two digits of the year: 50 and above are of the last century
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif tag != _GENERALIZED_TIME:
        msg = "no time"
        raise ValueError(msg)
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
