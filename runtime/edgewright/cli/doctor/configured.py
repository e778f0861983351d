"""What a configuration needs: its bundle verifies, its source gives frames, its outbox can be written by the service."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.cli.doctor.cameras import begin_source, shown, source_finding
from edgewright.cli.doctor.findings import BAD, MISSING, OK, UNKNOWN, WARN, Finding
from edgewright.deploy.layout import SERVICE, USER
from edgewright.runtime.probing.asking import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.cli.doctor.look import Look
    from edgewright.device.config import ModelSettings

__all__ = ["begin_configured", "configured", "read_bundle"]

_VERIFY_S = 300.0
_TEST_S = 5.0
_SOURCE, _BUNDLE = "configured source", "configured bundle"


def begin_configured(look: Look) -> None:
    """Starts what the check waits for."""
    config = look.wishes.config
    if config is None:
        return
    if config.source.uri is not None:
        begin_source(look, _SOURCE, config.source.uri)
    if config.model.bundle is not None:
        look.children.start(_BUNDLE, "bundle", _bundle_request(config.model), patience_s=_VERIFY_S)


def _bundle_request(model: ModelSettings) -> dict[str, Any]:
    """All that decides which engines the service would run it on."""
    return {
        "path": str(model.bundle),
        "threads": model.threads,
        "profile": model.profile,
        "delegate": None if model.delegate is None else str(model.delegate),
        "delegate_options": list(model.delegate_options),
        "engine_cache": None if model.engine_cache is None else str(model.engine_cache),
    }


def configured(look: Look) -> Iterator[Finding]:
    """Everything that the configuration names, apart from its broker."""
    wishes = look.wishes
    if wishes.config_path is None:
        return
    for mistake in wishes.mistakes:
        yield Finding("config", "file", BAD, mistake, "correct it; docs/how-to/run-a-camera.md has every key")
    if not wishes.mistakes:
        yield Finding("config", "file", OK, f"{wishes.config_path} can be read and every key is known")
    yield from _named(look)
    yield from _outputs(look)


def _named(look: Look) -> Iterator[Finding]:
    config = look.wishes.config
    if config is None:
        return
    none = "none that can be used is named" if look.wishes.mistakes else "none is named"
    if config.model.bundle is None:
        yield Finding("config", "bundle", WARN, none, "[model] bundle = ..., or give it to run")
    else:
        yield from read_bundle(str(config.model.bundle), look.ask(_BUNDLE))
    if config.source.uri is None:
        yield Finding("config", "source", WARN, none, "[source] uri = ..., or give --source to run")
    else:
        found = source_finding(look.ask(_SOURCE), "config", "source", BAD)
        if found.state == BAD and _held_by_service(look, config.source.uri):
            seen = f"{found.text}; the service runs and may hold it"
            found = replace(found, state=WARN, text=seen, remedy="systemctl stop edgewright, and try again")
        called = shown(config.source.uri)
        seen = found.text if found.text.startswith(called) else f"{called}: {found.text}"
        yield Finding("config", "source", found.state, seen, found.remedy)
    if config.sync.broker is None and config.sync.wanted:
        seen = "no broker is named: events are kept in the outbox and go nowhere"
        yield Finding("config", "broker", WARN, seen, "[sync] broker = ...")


def _held_by_service(look: Look, uri: str) -> bool:
    """Whether a camera that only one process can open may be in the hands of the running service."""
    from edgewright.bundle.errors import EdgewrightError
    from edgewright.runtime.sources.uri import SourceKind, parse_source

    try:
        single = parse_source(uri).kind in {SourceKind.USB, SourceKind.CSI}
    except EdgewrightError:
        return False
    return single and look.system.tool("systemctl", "is-active", SERVICE) == "active"


def read_bundle(path: str, answer: Mapping[str, Any]) -> Iterator[Finding]:
    """Findings about a bundle.

    Args:
        path: As it is named.
        answer: Of the probe ``bundle``.
    """
    problem = answer.get("died") or answer.get("problem")
    if problem:
        state = MISSING if answer.get("missing") else BAD
        remedy = "copy the bundle again, or make it again; then: edgewright verify BUNDLE"
        yield Finding("config", "bundle", state, f"{path}: {problem}", remedy)
        return
    seen = f"{path}: {answer['name']}, {answer['files']} files, every digest is right"
    if answer["wrong"]:
        remedy = "do not use it here: make a bundle for this board (optimize --profile), or mend the engine's version"
        yield Finding("config", "bundle", BAD, f"{seen}; {'; '.join(answer['wrong'][:3])}", remedy)
    elif not answer["checked"]:
        skipped = "; ".join(f"{name}: {why}" for name, why in answer["skipped"].items())
        seen += f"; no golden vectors were run ({skipped or 'it has none'})"
        yield Finding(
            "config", "bundle", WARN, seen, "nothing shows that this machine computes the same: make it again"
        )
    else:
        seen += f"; golden answers repeated by {', '.join(answer['checked'])} on {', '.join(answer['engines'])}"
        yield Finding("config", "bundle", OK, seen)


def _outputs(look: Look) -> Iterator[Finding]:
    config = look.wishes.config
    if config is None:
        return
    user = _service_user()
    who = f"user {user}" if user else "this user"
    places = {"outbox": config.sync.outbox, "events file": config.output.events, "annotations": config.output.annotate}
    for name, given in places.items():
        if given is None:
            continue
        path = Path(os.path.abspath(given))  # noqa: PTH100 - resolve() would follow links
        spot = path
        while not spot.exists() and spot != spot.parent:
            spot = spot.parent
        allowed = _may_write(spot, user)
        if allowed is None:
            seen = f"whether {who} may write {path} is not known"
            yield Finding("config", name, UNKNOWN, seen, f"try it: runuser -u {user} -- test -w {spot}")
        elif allowed:
            yield Finding("config", name, OK, f"{who} may write {path}")
        else:
            remedy = f"give it to them: chown {user or 'USER'} {spot}; or name another place"
            yield Finding("config", name, BAD, f"{who} may not write {spot}", remedy)
    if look.wishes.config_path is not None and user:
        yield from _permissions(look.wishes.config_path, user)


def _permissions(path: Path, user: str) -> Iterator[Finding]:
    readable = _may(path, user, "-r")
    if readable is None:
        seen = f"whether user {user} may read {path} is not known"
        yield Finding("config", "permissions", UNKNOWN, seen, f"try it: runuser -u {user} -- test -r {path}")
    elif not readable:
        seen = f"user {user} may not read {path}"
        yield Finding("config", "permissions", BAD, seen, f"chown root:{user} and chmod 640 that file")


def _service_user() -> str:
    """The service's user where this process could become it, else nobody: then it speaks for itself."""
    import pwd

    try:
        pwd.getpwnam(USER)
    except KeyError:
        return ""
    return USER if os.geteuid() == 0 else ""


def _may_write(path: Path, user: str) -> bool | None:
    return _may(path, user, "-w")


def _may(path: Path, user: str, what: str) -> bool | None:
    """Whether a user may read or write a path, None when it cannot be found out."""
    if not user:
        return os.access(path, os.W_OK if what == "-w" else os.R_OK)
    code, _ = ask(["runuser", "-u", user, "--", "test", what, str(path)], _TEST_S)
    return {0: True, 1: False}.get(-1 if code is None else code)
