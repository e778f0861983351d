from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from edgewright.sync import SyncConfig, SyncConfigError
from edgewright.sync.address import BrokerAddress, parse_broker, tls_context

GOOD = {
    "mqtt://localhost": BrokerAddress("localhost", 1883),
    "mqtt://localhost/": BrokerAddress("localhost", 1883),
    "mqtt://10.0.0.1:99": BrokerAddress("10.0.0.1", 99),
    "mqtt://[::1]:99": BrokerAddress("::1", 99),
    "mqtts://broker.example": BrokerAddress("broker.example", 8883, tls=True),
    "mqtt://me:p%40ss%3Aword@h": BrokerAddress("h", 1883, username="me", password="p@ss:word"),
    "mqtts://h?ca=/etc/ca.pem&cert=c.pem&key=k.pem": BrokerAddress(
        "h", 8883, tls=True, ca=Path("/etc/ca.pem"), cert=Path("c.pem"), key=Path("k.pem")
    ),
}
BAD = [
    "",
    "localhost",
    "http://h",
    "mqtt://",
    "mqtt://h:0",
    "mqtt://h:99999",
    "mqtt://h:port",
    "mqtt://h/topic",
    "mqtt://h#x",
    "mqtt://:pw@h",
    "mqtt://h?ca=x",
    "mqtts://h?insecure=1",
    "mqtts://h?ca=a&ca=b",
    "mqtts://h?key=k",
    "mqtts://h?ca=",
    "mqtt://" + "a" * 70,
    "mqtt://[::1",
]


@pytest.mark.parametrize("url", GOOD)
def test_a_good_url_is_read(url: str) -> None:
    assert parse_broker(url) == GOOD[url]


@pytest.mark.parametrize("url", BAD)
def test_a_bad_url_is_refused_with_the_form_that_works(url: str) -> None:
    with pytest.raises(SyncConfigError, match="mqtt://"):
        parse_broker(url)


@pytest.mark.parametrize("url", ["mqtt://u:sesame@h", "mqtt://u:ses/ame@h", "mqtt://u:sesame@h:port", "x://u:sesame@h"])
def test_a_password_is_never_shown(url: str) -> None:
    try:
        shown = parse_broker(url)
        text = f"{shown} {shown!r}"
    except SyncConfigError as error:
        text = str(error)
    assert "sesame" not in text
    assert "ses/ame" not in text


def test_the_config_refuses_early(tmp_path: Path) -> None:
    for device in ("", "a/b", "a+", "#", "x" * 65, "naïve", "-a"):
        with pytest.raises(SyncConfigError, match="device name"):
            SyncConfig(device, None, tmp_path / "o.db")
    with pytest.raises(SyncConfigError, match="broker URL"):
        SyncConfig("a", "nonsense", tmp_path / "o.db")


def test_plain_tcp_has_no_tls_and_missing_files_are_named(tmp_path: Path) -> None:
    assert tls_context(parse_broker("mqtt://h")) is None
    with pytest.raises(SyncConfigError, match=r"no-such\.pem"):
        tls_context(parse_broker(f"mqtts://h?ca={tmp_path}/no-such.pem"))
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("not a certificate")
    with pytest.raises(SyncConfigError, match=r"garbage\.pem"):
        tls_context(parse_broker(f"mqtts://h?ca={garbage}"))


def test_tls_always_verifies() -> None:
    context = tls_context(parse_broker("mqtts://h"))
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
