"""Where everything lies on a board.

::

    /opt/edgewright/releases/ID/            a virtual environment; ID = version and a digest of what is in it
    /opt/edgewright/current -> releases/ID  what the service runs; `previous` is what it ran before
    /opt/edgewright/incoming/               what is on its way; proofs/ what was shown; active.json what was put to use
    /etc/edgewright/device.toml             its settings, kept on upgrade
    /etc/systemd/system/edgewright.service  /etc/systemd/journald.conf.d/edgewright.conf
    /var/lib/edgewright/                    the service's own: outbox, picks, engine cache
    /var/lib/edgewright/bundles/DIGEST.edge and the links `active` and `previous`

A root other than ``/`` stands before all of these on the machine that works on them, and in none of the files written
there: they are read when that root has become ``/``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["SERVICE", "USER", "Layout"]

USER = "edgewright"
"""The service's user and group."""
SERVICE = "edgewright.service"

_ROOT = PurePosixPath("/")
_OPT = PurePosixPath("/opt/edgewright")
_ETC = PurePosixPath("/etc/edgewright")
_STATE = PurePosixPath("/var/lib/edgewright")
_SYSTEMD = PurePosixPath("/etc/systemd")


@dataclass(frozen=True)
class Layout:
    """Places as the board itself sees them; ``on`` gives them as the machine that works on them does.

    Attributes:
        root: Where the board's ``/`` lies on that machine.
    """

    root: PurePosixPath = _ROOT

    top = _ROOT
    opt = _OPT
    releases = _OPT / "releases"
    incoming = _OPT / "incoming"
    current = _OPT / "current"
    former = _OPT / "previous"
    proofs = _OPT / "proofs"
    record = _OPT / "active.json"
    etc = _ETC
    config = _ETC / "device.toml"
    profile = _ETC / "profile.toml"
    unit = _SYSTEMD / "system" / SERVICE
    wanted = _SYSTEMD / "system" / "multi-user.target.wants" / SERVICE
    journald = _SYSTEMD / "journald.conf.d" / "edgewright.conf"
    sysusers = PurePosixPath("/etc/sysusers.d/edgewright.conf")
    tmpfiles = PurePosixPath("/etc/tmpfiles.d/edgewright.conf")
    state = _STATE
    engines = _STATE / "engines"
    bundles = _STATE / "bundles"
    active = _STATE / "bundles" / "active"
    former_bundle = _STATE / "bundles" / "previous"

    def on(self, place: PurePosixPath) -> PurePosixPath:
        """``place`` as the machine that works on it sees it."""
        return self.root / place.relative_to("/")

    def release(self, name: str) -> PurePosixPath:
        """A release's folder."""
        return self.releases / name

    def bundle(self, digest: str) -> PurePosixPath:
        """A bundle's file, by the digest of its manifest."""
        return self.bundles / f"{digest[:12]}.edge"
