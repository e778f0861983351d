"""What the OpenSSH client's complaint means, and what to do about it: one message for each cause."""

from __future__ import annotations

import re

from edgewright.deploy.errors import HostUnreachable
from edgewright.deploy.words import brief

__all__ = ["ssh_trouble"]

# What ssh writes (in English whatever the locale), what it means, and the remedy; the first that occurs counts, and a
# changed key also ends in "verification failed".
_CAUSES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("REMOTE HOST IDENTIFICATION HAS CHANGED",),
        "its host key is another than the one you know: the board was set up anew, or somebody else answers in its place",
        "when you know that it was set up anew, remove the old key with: ssh-keygen -R {entry}",
    ),
    (
        ("Host key verification failed", "host key is known for"),
        "its host key is not known here yet",
        "connect once by hand with: ssh{port} {target}  and compare the fingerprint it shows",
    ),
    (
        ("Could not resolve hostname",),
        "there is no host of that name",
        "check the spelling, or give the board's address; on a local network the name may need .local at its end",
    ),
    (
        ("Connection refused",),
        "the connection was refused",
        "switch the board's SSH server on (sudo systemctl enable --now ssh), or name its port with --port",
    ),
    (
        (
            "No route to host",
            "Network is unreachable",
            "Connection timed out",
            "Operation timed out",
            "timed out during",
        ),
        "it does not answer",
        "check that it is switched on and in the same network, and that no firewall stands between",
    ),
    (
        ("Too many authentication failures",),
        "it refused after too many keys were tried",
        "name the right one with --identity FILE --ssh-option IdentitiesOnly=yes",
    ),
    (
        ("Permission denied", "No more authentication methods", "no mutual signature"),
        "permission was denied: it takes none of your keys for this user, and passwords are not asked for here",
        "put your key there with: ssh-copy-id{port} {target}  or name another with --identity FILE",
    ),
    (
        ("Identity file", "Bad configuration option", "Bad owner or permissions", "command-line line", "Bad port"),
        "the ssh program does not accept these settings ({seen})",
        "mend what it names: --identity, --port, --ssh-option, or ~/.ssh/config",
    ),
)
_WITH_PORT = re.compile(r"(?P<host>[^:]+|(?:[^@]*@)?\[[0-9A-Za-z:.%_-]+\]):(?P<port>\d{1,5})")
_HARMLESS = ("Warning: Permanently added",)


def ssh_trouble(target: str, complaint: str, *, was_up: bool, port: int | None = None) -> HostUnreachable:
    """The error for what ssh wrote.

    Args:
        target: ``USER@HOST`` as given.
        complaint: Its standard error.
        was_up: Whether the connection had been made before.
        port: The one that was named.
    """
    host = target.rpartition("@")[2]
    apart = _WITH_PORT.fullmatch(target) if "Could not resolve hostname" in complaint else None
    if apart is not None:
        bare = apart["host"].replace("[", "").replace("]", "")
        return HostUnreachable(f"{target}: ssh takes no port after a colon; write {bare} --port {apart['port']}")
    said = "\n".join(line for line in complaint.splitlines() if not line.startswith(_HARMLESS))
    words_of_target = {
        "target": target,
        "port": "" if port is None else f" -p {port}",
        "entry": host if port in (None, 22) else f"'[{host}]:{port}'",
    }
    seen = brief(said, 200) or "ssh said nothing"
    for words, meaning, remedy in _CAUSES:
        if any(word in complaint for word in words):
            filled = f"{meaning}; {remedy}".format(**words_of_target, seen=seen)
            return HostUnreachable(f"{target}: {filled}")
    if was_up:
        return HostUnreachable(
            f"{target}: the link was lost ({seen}); check the network and the board's power, then run this again: it "
            f"goes on from where it was"
        )
    return HostUnreachable(f"{target}: no connection ({seen}); try by hand: ssh{words_of_target['port']} {target}")
