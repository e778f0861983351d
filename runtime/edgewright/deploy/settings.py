"""The board's ``device.toml``, written from a few words on the first installation and its owner's from then on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.errors import EdgewrightError
from edgewright.deploy.errors import DeployError
from edgewright.deploy.layout import SERVICE
from edgewright.device.config import load_config
from edgewright.runtime.rules import parse_zone
from edgewright.runtime.sources import parse_source
from edgewright.sync.address import parse_broker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgewright.deploy.layout import Layout

__all__ = ["Settings", "check_settings", "read_settings", "render_settings"]

_HEAD = "# Written by edgewright on the first installation, and kept from then on: it is yours.\n"
_RESTART = f"# After a change: sudo systemctl restart {SERVICE.removesuffix('.service')}\n"
_MOST_THREADS = 1024
_ON_DISK = ("file://", "dir://")


@dataclass(frozen=True)
class Settings:
    """What is said on the command line. None leaves a setting out.

    Attributes:
        source: What to watch; may hold a password.
        name: What events call the camera.
        broker: Where events go; may hold a password.
        device: The board's name in the fleet.
        zones: Areas to count in.
        threads: Of the engine; None leaves them to the profile, bounded by the cores that the board then has.
        variant: Of the bundle.
        by_hand: The command that starts the camera, where nothing starts it by itself; None where systemd does.
        replace: Whether a file that is there is written anew.
    """

    source: str | None = None
    name: str | None = None
    broker: str | None = None
    device: str | None = None
    zones: tuple[str, ...] = ()
    threads: int | None = None
    variant: str | None = None
    by_hand: str | None = None
    replace: bool = False

    def said(self) -> dict[str, tuple[str, str, object]]:
        """What was given: flag, without its value, to table, key and value of the file."""
        keys: Mapping[str, tuple[str, str, object]] = {
            "--source": ("source", "uri", self.source),
            "--name": ("source", "name", self.name),
            "--broker": ("sync", "broker", self.broker),
            "--device": ("sync", "device", self.device),
            "--zone": ("rules", "zones", list(self.zones) or None),
            "--threads": ("model", "threads", self.threads),
            "--variant": ("model", "variant", self.variant),
        }
        return {flag: place for flag, place in keys.items() if place[2] is not None}


def check_settings(settings: Settings) -> None:
    """Refuses values that no device takes, whether they come to be used or not.

    Paths are the board's and are not looked for here.

    Raises:
        DeployError: A value cannot be meant; the message names its flag and no password.
    """
    for zone in settings.zones:
        _tried("--zone", parse_zone, zone)
    source = settings.source
    if source is not None and "://" in source and not source.lower().startswith(_ON_DISK):
        _tried("--source", parse_source, source)
    if settings.broker is not None:
        _tried("--broker", parse_broker, settings.broker)
    names = [zone.partition("=")[0].strip() for zone in settings.zones]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        msg = f"--zone: two zones are called {twice[:40]!r}; give each its own name"
        raise DeployError(msg)
    if settings.threads is not None and not 0 < settings.threads <= _MOST_THREADS:
        msg = f"--threads {settings.threads} cannot be; give 1 to four for each core of the board"
        raise DeployError(msg)
    empty = next(
        (flag for flag, (_, _, value) in settings.said().items() if isinstance(value, str) and not value.strip()), None
    )
    if empty is not None:
        msg = f"{empty} is empty; give a value, or leave {empty} out"
        raise DeployError(msg)


def _tried(flag: str, reads: Callable[[str], object], value: str) -> None:
    try:
        reads(value)
    except EdgewrightError as error:
        msg = f"{flag}: {error}"
        raise DeployError(msg) from error


def render_settings(settings: Settings, layout: Layout, profile: str | None) -> str:
    """The text of ``device.toml``.

    Args:
        settings: What was said.
        layout: Where things lie on the board.
        profile: The board's profile, by name or by its place on the board.
    """
    tables: Mapping[str, Mapping[str, object]] = {
        "source": {"uri": settings.source, "name": settings.name},
        "model": {
            "bundle": str(layout.active),
            "variant": settings.variant,
            "profile": profile,
            "threads": settings.threads,
            "engine_cache": str(layout.engines),
            "picks": str(layout.state / "picks.json"),
        },
        "rules": {"zones": list(settings.zones) or None},
        "sync": {
            "broker": settings.broker,
            "device": settings.device,
            # Also without a broker: what was seen is kept until there is one, within bounds.
            "outbox": str(layout.state / "outbox.db"),
        },
    }
    blocks = []
    for name, values in tables.items():
        rows = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
        if rows:
            blocks.append("\n".join([f"[{name}]", *rows]))
    after = (
        _RESTART
        if settings.by_hand is None
        else f"# Nothing starts the camera by itself; by hand: {settings.by_hand}\n"
    )
    return f"{_HEAD}{after}\n" + "\n\n".join(blocks) + "\n"


def read_settings(path: Path, layout: Layout) -> str:
    """A whole ``device.toml`` of the user's, checked as the board will.

    Raises:
        DeviceConfigError: It says something it must not say.
        DeployError: It does not run the bundle that is installed.
    """
    bundle = load_config(path).model.bundle
    if bundle is None or str(bundle) != str(layout.active):
        msg = (
            f'{path}: [model] must say bundle = "{layout.active}", the bundle that is proven and put to use; it says '
            f"{'nothing' if bundle is None else str(bundle)[:100]}"
        )
        raise DeployError(msg)
    return path.read_text(encoding="utf-8")


def _toml(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return str(value)
