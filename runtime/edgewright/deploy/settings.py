"""The board's ``device.toml``, written from a few words on the first installation and its owner's from then on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError
from edgewright.device.config import load_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.deploy.layout import Layout

__all__ = ["Settings", "read_settings", "render_settings"]

_HEAD = """\
# Written by edgewright on the first installation, and kept from then on: it is yours.
# After a change: sudo systemctl restart edgewright
"""


@dataclass(frozen=True)
class Settings:
    """What is said on the command line. None leaves a setting out.

    Attributes:
        source: What to watch; may hold a password.
        name: What events call the camera.
        broker: Where events go; may hold a password.
        device: The board's name in the fleet.
        zones: Areas to count in.
        threads: Of the engine.
        variant: Of the bundle.
    """

    source: str | None = None
    name: str | None = None
    broker: str | None = None
    device: str | None = None
    zones: tuple[str, ...] = ()
    threads: int | None = None
    variant: str | None = None

    def said(self) -> list[str]:
        """The flags that were given, without their values."""
        return [f"--{key.rstrip('s') if key == 'zones' else key}" for key, value in vars(self).items() if value]


def render_settings(settings: Settings, layout: Layout, profile: str | None, threads: int | None = None) -> str:
    """The text of ``device.toml``.

    Args:
        settings: What was said.
        layout: Where things lie on the board.
        profile: The board's profile, by name or by its place on the board.
        threads: Of the engine, where nothing was said.
    """
    tables: Mapping[str, Mapping[str, object]] = {
        "source": {"uri": settings.source, "name": settings.name},
        "model": {
            "bundle": str(layout.active),
            "variant": settings.variant,
            "profile": profile,
            "threads": settings.threads or threads,
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
    return _HEAD + "\n" + "\n\n".join(blocks) + "\n"


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
