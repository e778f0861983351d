"""Cameras: those that were named, and those that are plugged in; each is opened and gives frames, or says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.cli.doctor.findings import BAD, OK, UNKNOWN, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.cli.doctor.look import Look

__all__ = ["begin_cameras", "begin_source", "cameras", "shown", "source_finding"]

_PATIENCE_S = 10.0
_STARTING_S = 15.0  # importing OpenCV on a small board, beside all other probes
_BY_PIPELINE = ("csi:", "usb:")
_SLOW_S = 20.0  # GStreamer's first start on a small board, and its end
_LISTING_S = 5.0
_MOST_OPENED = 8
_NODES = "video nodes"


def begin_source(look: Look, key: str, uri: str) -> None:
    """Starts to open one source."""
    config = look.wishes.config
    profile = None if config is None else config.model.profile
    request = {"uri": uri, "patience_s": _PATIENCE_S, "profile": profile}
    slow = _SLOW_S if uri.lower().startswith(_BY_PIPELINE) else 0.0
    look.children.start(key, "camera", request, patience_s=_PATIENCE_S + _STARTING_S + slow)


def begin_cameras(look: Look) -> None:
    """Starts what the check waits for."""
    for number, uri in enumerate(look.wishes.cameras):
        begin_source(look, f"camera {number}", uri)
    folder = look.system.path("/dev")
    if not any(folder.glob("video*")):
        return
    look.children.start(_NODES, "cameras", {"folder": str(folder)}, patience_s=_LISTING_S)


def _begin_nodes(look: Look, nodes: list[dict[str, Any]]) -> None:
    """Starts to open what is plugged in, as soon as it is known what that is."""
    plain = [node["path"] for node in nodes if not node["problem"] and not node["staged"]]
    for path in plain[:_MOST_OPENED]:
        begin_source(look, path, path)


def _found(look: Look) -> list[dict[str, Any]]:
    """Nodes that take pictures; empty when nobody could say."""
    nodes: list[dict[str, Any]] = look.ask(_NODES).get("found", []) if look.children.started(_NODES) else []
    return nodes


def cameras(look: Look) -> Iterator[Finding]:
    """A camera that was named must give frames; one that is plugged in may be in use."""
    nodes = _found(look)
    _begin_nodes(look, nodes)
    for number, uri in enumerate(look.wishes.cameras):
        yield source_finding(look.ask(f"camera {number}"), "camera", shown(uri), BAD)
    died = look.ask(_NODES).get("died") if look.children.started(_NODES) else None
    if died:
        remedy = "unplug and plug in again, and look at dmesg: a driver does not answer"
        yield Finding("camera", "/dev/video*", WARN, f"what they are cannot be found out: {died}", remedy)
    for node in nodes:
        if node["problem"]:
            remedy = "let this user read it: usermod -aG video USER, and log in again"
            yield Finding("camera", node["path"], UNKNOWN, f"{node['problem']}: whether it works is not known", remedy)
        elif look.children.started(node["path"]):
            yield source_finding(look.ask(node["path"]), "camera", node["path"], WARN, node["card"])
    staged = [node["path"] for node in nodes if node["staged"]]
    if staged:
        seen = f"stages of a CSI camera's pipeline, for libcamera or Argus: {', '.join(staged)}"
        yield Finding("camera", "csi", OK, seen)
    if not nodes and not died and not look.wishes.cameras:
        yield Finding("camera", "none", OK, "no camera at /dev/video*", "name one: edgewright doctor --camera URI")


def shown(text: str) -> str:
    """A text without the passwords of the URIs in it."""
    from edgewright.runtime.sources.uri import redact  # it loads OpenCV, which a doctor without cameras does without

    return redact(text)


def source_finding(answer: dict[str, Any], group: str, name: str, state: str, card: str = "") -> Finding:
    """What is said of one source.

    Args:
        answer: Of the probe ``camera``.
        group: Of the finding.
        name: Of the finding, without a password.
        state: When it does not open.
        card: What the driver calls it.
    """
    called = f"{card}: " if card else ""
    problem = answer.get("died") or answer["problem"]
    if problem:
        remedy = "mend what it names, then try it alone: edgewright doctor --camera URI"
        return Finding(group, name, state, f"{called}{shown(str(problem))}", remedy)
    seen = f"{called}{answer['width']} x {answer['height']}"
    if answer["fps"] is not None:
        seen += f", {answer['fps']:.1f} frames/s"
    if answer["live"]:
        seen += f", the first after {answer['first_s']:.1f} s"
    return Finding(group, name, OK, seen)
