"""The broker: whether it is there and trusted, its limits beside what we send, and what it lets this device do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from edgewright.cli.doctor.findings import BAD, OK, UNKNOWN, WARN, Finding, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.cli.doctor.look import BrokerWish, Look

__all__ = ["begin_broker", "broker", "read_broker", "without_password"]

_PATIENCE_S = 120.0  # the probe's own steps end after 61 s at most; the rest is for names that are slow to look up
_SOON_DAYS = 30.0
_SHORTEST_SECRET = 4  # a shorter one could be read off the gaps that it leaves
_HERE = ("mqtt://127.", "mqtt://localhost:", "mqtt://[::1]:")
_SANE_PACKET = 1024  # the publisher sends nothing to a broker that takes less
_RULES = "the rules for edge/DEVICE/ev and edge/DEVICE/ack are in docs/how-to/sync-events.md"


def begin_broker(look: Look, wish: BrokerWish | None = None) -> None:
    """Starts what the check waits for."""
    wish = wish or look.wishes.broker
    if wish is not None:
        request = {"url": wish.url, "device": wish.device, "files": dict(wish.files)}
        look.children.start("broker", "broker", request, patience_s=_PATIENCE_S)


def broker(look: Look) -> Iterator[Finding]:
    """Everything about the broker that was named, on the command line or in the configuration."""
    if not look.children.started("broker"):
        return
    url = "" if look.wishes.broker is None else look.wishes.broker.url
    for finding in read_broker(look.ask("broker")):
        # No text should hold a password; this is for a library's message that nobody has read.
        yield replace(finding, text=without_password(finding.text, url))


def without_password(text: str, url: str) -> str:
    """The text with every appearance of the URL's password replaced.

    Args:
        text: What may hold it.
        url: A broker URL, well-formed or not.
    """
    try:
        password = urlsplit(url).password or ""
    except ValueError:  # nobody talked to anything by this URL
        password = ""
    plain = unquote(password)
    for secret in {password, plain, quote(plain, safe="")}:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text


def read_broker(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Findings out of what the probe found.

    Args:
        facts: ``edgewright.sync.probe.BrokerFacts`` as JSON values, or ``died`` or ``unusable`` with a reason.
    """
    if "died" in facts:
        remedy = "see that its name is known here (getent hosts NAME), that the network is up, and what its log says"
        yield Finding("broker", "reach", BAD, str(facts["died"]), remedy)
        return
    if "unusable" in facts:
        remedy = "correct the URL, the device's name (--device) or the files (--ca, --cert, --key) that it speaks of"
        yield Finding("broker", "address", BAD, str(facts["unusable"]), remedy)
        return
    yield from _reach(facts)
    if facts["protocol"] is None:
        return
    yield from _protocol(facts)
    if facts["protocol"] == "MQTT 5":
        yield from _limits(facts["limits"])
    yield from _publish(facts)
    yield from _acknowledgements(facts)
    yield from _too_much(facts)
    seen = "MQTT tells no time: how far the broker's clock is from this one is not known"
    yield Finding("broker", "clock", UNKNOWN, seen, "look there: timedatectl")


def _reach(facts: Mapping[str, Any]) -> Iterator[Finding]:
    stage, problem = facts["stage"], facts["problem"]
    if stage == "certificates":
        yield Finding("broker", "certificates", BAD, problem, "give files that this user may read")
        return
    if stage == "tcp":
        remedy = "start the broker, correct the URL, or open the port in the firewalls between"
        yield Finding("broker", "reach", BAD, problem, remedy)
        return
    yield Finding("broker", "reach", OK, f"{facts['address']} answers within {facts['tcp_ms']:.1f} ms")
    if facts["tls"] is not None or stage == "tls":
        yield from _tls(facts, problem if stage == "tls" else "")
    elif facts["address"].startswith(_HERE):
        yield Finding("broker", "tls", OK, "no encryption, and none is needed: nothing leaves this machine")
    elif facts["address"].startswith("mqtt://"):
        seen = "no encryption: whoever is on the way reads and changes what is sent, passwords too"
        yield Finding("broker", "tls", WARN, seen, "mqtts://, unless it is this machine or a network of its own")
    if stage == "mqtt":
        remedy = "look into the broker's log: user and password, certificate, client id (edge-DEVICE-doctor)"
        if not facts["refused"]:
            remedy = "is it an MQTT broker, does it expect TLS (mqtts://) or a certificate (--cert, --key)?"
        yield Finding("broker", "connect", BAD, problem, remedy)


def _tls(facts: Mapping[str, Any], problem: str) -> Iterator[Finding]:
    if problem:
        remedy = (
            "give its authority (?ca=FILE in the URL, or --ca); set the clock if it says 'not yet valid' or 'expired'"
        )
        if "alert" in problem.lower() or "closed" in problem:
            remedy = "give the certificate that the broker asks of this device: --cert FILE --key FILE"
        yield Finding("broker", "tls", BAD, problem, remedy)
    else:
        yield Finding("broker", "tls", OK, f"{facts['tls']}, certificate and name verified")
    days = {"broker's certificate": facts["server_days"], "own certificate": facts["own_days"]}
    for name, left in days.items():
        if left is None:
            continue
        seen = (
            f"expires in {counted(round(left), 'day')}" if left > 0 else f"expired {counted(round(-left), 'day')} ago"
        )
        if left <= 0:
            yield Finding("broker", name, BAD, seen, "issue a new one")
        elif left < _SOON_DAYS:
            yield Finding("broker", name, WARN, seen, "issue a new one before that: nothing is delivered afterwards")
        else:
            yield Finding("broker", name, OK, seen)


def _protocol(facts: Mapping[str, Any]) -> Iterator[Finding]:
    if facts["protocol"] == "MQTT 5":
        yield Finding("broker", "protocol", OK, "MQTT 5")
    else:
        seen = f"{facts['protocol']} only: it tells neither its limits nor that it drops a message"
        yield Finding("broker", "protocol", WARN, seen, "a broker that speaks MQTT 5, such as mosquitto 2")


def _limits(limits: Mapping[str, Any]) -> Iterator[Finding]:
    from edgewright.sync.config import OutboxConfig, ResendConfig

    resend, outbox = ResendConfig(), OutboxConfig()
    packet = limits["max_packet"]
    remedy = "raise the broker's packet size limit (mosquitto: max_packet_size)"
    if packet is None:
        yield Finding("broker", "maximum packet size", OK, "no limit is announced")
    elif packet < _SANE_PACKET:
        yield Finding("broker", "maximum packet size", BAD, f"{packet} bytes: nothing is sent to it", remedy)
    elif packet < outbox.max_record_bytes + _SANE_PACKET:
        seen = f"{packet} bytes: larger events are given up (an event may have {outbox.max_record_bytes})"
        yield Finding("broker", "maximum packet size", WARN, seen, remedy)
    else:
        yield Finding("broker", "maximum packet size", OK, f"{packet} bytes")
    window = min(limits["receive_maximum"], resend.window_messages)
    seen = f"{limits['receive_maximum']}: up to {counted(window, 'message')} of up to {resend.message_rows} events are under way"
    if window == 1:
        yield Finding("broker", "receive maximum", WARN, seen, "raise it (mosquitto: max_inflight_messages)")
    else:
        yield Finding("broker", "receive maximum", OK, seen)
    if limits["max_qos"] == 0:
        seen = "QoS 0 only: it confirms nothing, so nothing can be delivered"
        yield Finding("broker", "maximum qos", BAD, seen, "allow QoS 1 (mosquitto: max_qos 2)")
    else:
        yield Finding("broker", "maximum qos", OK, f"{limits['max_qos']} (events go with 1)")
    alias, retain = limits["topic_alias_maximum"], "kept" if limits["retain"] else "not kept (not needed)"
    keepalive = "ours" if limits["keepalive_s"] is None else f"{limits['keepalive_s']} s, demanded"
    yield Finding("broker", "topic aliases", OK, str(alias) if alias else "none")
    yield Finding("broker", "keepalive", OK, keepalive)
    yield Finding("broker", "retained messages", OK, retain)
    if limits["session_expiry_s"] is not None:
        from edgewright.sync.probe_talk import ASKED_EXPIRY_S

        granted = limits["session_expiry_s"]
        seen = f"grants {granted} s of the {ASKED_EXPIRY_S} s asked for"
        if granted < ASKED_EXPIRY_S:
            remedy = "raise it, for the ingest's sake: what comes while it is away is then sent again by the devices"
            yield Finding("broker", "session expiry", WARN, seen, remedy)
        else:
            yield Finding("broker", "session expiry", OK, seen)


def _publish(facts: Mapping[str, Any]) -> Iterator[Finding]:
    topic, right = f"edge/{facts['device']}/ev", facts["publish"]
    if right is None:  # said already: QoS 0 only
        return
    if right["allowed"] is False:
        seen = f"publishing to {topic} is refused: {right['text']}"
        yield Finding(
            "broker", "publish events", BAD, seen, f"let it: {_RULES}; is the device's name right (--device)?"
        )
    elif right["allowed"]:
        yield Finding("broker", "publish events", OK, f"{topic} may be published to ({right['text']})")
    elif facts["answered_ms"] is not None:
        yield Finding("broker", "publish events", OK, f"{topic}: the ingest has it")
    else:
        seen = f"whether {topic} may be published to is not known: {right['text']}"
        yield Finding("broker", "publish events", UNKNOWN, seen, f"{_RULES}; start the ingest and try again")


def _acknowledgements(facts: Mapping[str, Any]) -> Iterator[Finding]:
    topic, right = f"edge/{facts['device']}/ack", facts["subscribe"]
    group, name = "broker", "read acknowledgements"
    answered, echoed = facts["answered_ms"] is not None, facts["echoed"]
    if right["allowed"] is False:
        yield Finding(group, name, BAD, f"subscribing to {topic} is refused: {right['text']}", f"let it: {_RULES}")
    elif answered or echoed:
        yield Finding(group, name, OK, f"{topic} can be read: a message has come")
    else:
        seen = f"{topic}: the subscription is accepted, which some brokers do for all; no message has come to show it"
        yield Finding(group, name, UNKNOWN, seen, f"{_RULES}; start the ingest and try again")
    if answered:
        seen = f"answers within {facts['answered_ms']:.0f} ms, after its database has committed"
        yield Finding("broker", "ingest", OK, seen)
    elif facts["listeners"] is False:
        seen = "nobody is subscribed to the events: they would wait in the outbox"
        yield Finding("broker", "ingest", WARN, seen, "edgewright ingest --db URL --broker URL; is it allowed to read?")
    elif facts["publish"] is not None and facts["publish"]["allowed"] is not False:
        seen = "no answer: it is away (and has left a session), its database fails, or its answer may not be read"
        yield Finding("broker", "ingest", WARN, seen, f"look at the ingest's log; {_RULES}")
    else:
        yield Finding("broker", "ingest", UNKNOWN, "not known: it could not be asked", "mend the above first")


def _too_much(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Rights that nobody needs: who has this device's credentials could harm others' events with them."""
    cases = (
        (
            "forge",
            "forge acknowledgements",
            "whoever has its credentials can delete its events",
            "may not write its own",
        ),
        ("foreign", "speak for others", "it can invent events of other devices", "may not write under another name"),
    )
    for key, name, harm, fine in cases:
        right = facts[key]
        if right is None or right["allowed"] is None:
            seen = "not known: the broker does not say"
            yield Finding("broker", name, UNKNOWN, seen, f"look into its access rules: {_RULES}")
        elif right["allowed"]:
            yield Finding("broker", name, WARN, f"this device may: {harm}", f"confine it: {_RULES}")
        else:
            yield Finding("broker", name, OK, f"it {fine} ({right['text']})")
