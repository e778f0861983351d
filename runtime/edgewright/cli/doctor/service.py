"""The installed service: whether it runs, how often it was started again, and whether a watchdog looks after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.cli.doctor.findings import BAD, OK, WARN, Finding
from edgewright.deploy.layout import SERVICE, Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.cli.doctor.look import Look

__all__ = ["read_service", "service"]

_UNIT = str(Layout.unit)
_ASKED = ("LoadState", "ActiveState", "SubState", "UnitFileState", "NRestarts", "Result", "WatchdogUSec")
_LOG = "look: journalctl -u edgewright -n 50"


def service(look: Look) -> Iterator[Finding]:
    """Nothing is wrong where none is installed."""
    installed = look.system.path(_UNIT).exists()
    said = look.system.tool("systemctl", "show", SERVICE, "-p", ",".join(_ASKED)) if installed else None
    if not installed:
        yield Finding("service", "state", OK, "not installed here")
    elif said is None:
        seen = f"{_UNIT} is there, and systemd does not answer"
        yield Finding(
            "service", "state", BAD, seen, "start this system with systemd; a container needs its own command"
        )
    else:
        yield from read_service(dict(line.partition("=")[::2] for line in said.splitlines()))


def read_service(told: Mapping[str, str]) -> Iterator[Finding]:
    """Findings out of what ``systemctl show`` says.

    Args:
        told: Property to value.
    """
    state = f"{told.get('ActiveState', 'unknown')} ({told.get('SubState', 'unknown')})"
    if told.get("LoadState") != "loaded":
        remedy = "systemd-analyze verify " + _UNIT + "; then systemctl daemon-reload"
        yield Finding("service", "state", BAD, f"its unit is {told.get('LoadState') or 'unknown'}", remedy)
        return
    if told.get("ActiveState") == "active":
        yield Finding("service", "state", OK, state)
    else:
        result = told.get("Result", "")
        why = f", its last run ended with {result}" if result not in {"", "success"} else ""
        yield Finding("service", "state", BAD, state + why, f"{_LOG}; then: systemctl restart edgewright")
    if told.get("UnitFileState") not in {"enabled", "enabled-runtime"}:
        seen = f"it is {told.get('UnitFileState') or 'not enabled'}: it does not start with the board"
        yield Finding("service", "start", WARN, seen, "systemctl enable edgewright")
    restarts = told.get("NRestarts", "0")
    if restarts not in {"", "0"}:
        yield Finding(
            "service",
            "restarts",
            WARN,
            f"systemd has started it again, {restarts} time{'' if restarts == '1' else 's'} so far",
            _LOG,
        )
    else:
        yield Finding("service", "restarts", OK, "systemd never had to start it again")
    if told.get("WatchdogUSec", "0") in {"", "0", "infinity"}:
        seen = "no watchdog: a run that hangs is not ended"
        yield Finding("service", "watchdog", WARN, seen, "install the unit again: edgewright install")
    else:
        yield Finding("service", "watchdog", OK, f"ends it after {told['WatchdogUSec']} without a frame")
