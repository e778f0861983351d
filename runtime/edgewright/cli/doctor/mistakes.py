"""All that is wrong with a configuration, where ``run`` stops at the first: whoever mends a board does it once."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import EdgewrightError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgewright.device.config import DeviceConfig

__all__ = ["read_config"]

_LARGEST = 1 << 20
_MOST = 50


def read_config(path: Path) -> tuple[DeviceConfig | None, tuple[str, ...]]:
    """Settings and mistakes of a device.toml.

    Args:
        path: The file.

    Returns:
        The settings, without the keys that cannot be used, None when the file cannot be read at all; and what is wrong,
        in the order of the file.
    """
    from edgewright.device.config import load_config

    config: DeviceConfig | None
    found: list[str]
    try:
        config, found = load_config(path), []
    except EdgewrightError as error:
        data = _tables(path)
        if data is None:
            return None, (_shown(str(error)),)
        config, found = _sound_part(data)
        # Whatever is wrong between keys that are right one by one, only the loader itself can tell.
        found = found or [str(error).removeprefix(f"{path}: ")]
    if config is not None:
        config = replace(config, path=path)
        if unusable := list(_profile(config)):  # the others are tried without it
            config = replace(config, model=replace(config.model, profile=None))
        found += [*unusable, *_meant(config)]
    more = [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
    return config, tuple(_shown(f"{path}: {mistake}") for mistake in found[:_MOST] + more)


def _tables(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
        return tomllib.loads(data.decode("utf-8")) if len(data) <= _LARGEST else None
    except (OSError, ValueError, RecursionError):  # said by the loader
        return None


def _sound_part(data: dict[str, Any]) -> tuple[DeviceConfig | None, list[str]]:
    """Every key tried by itself: those that can be used, and what is said of the others."""
    from edgewright.device.config import DeviceConfig, load_config

    known = [entry.name for entry in fields(DeviceConfig) if entry.name != "path"]
    sound: dict[str, dict[str, Any]] = {}
    mistakes = []
    for table, entries in data.items():
        if table not in known:
            mistakes.append(f"unknown table [{table}]; known are " + ", ".join(f"[{name}]" for name in known))
        elif not isinstance(entries, dict):
            mistakes.append(f"{table} must be a table; write [{table}] on a line of its own")
        else:
            for key, value in entries.items():
                try:
                    load_config(None, {table: {key: value}})
                except EdgewrightError as error:  # noqa: PERF203 - a file has few keys
                    mistakes.append(str(error))
                else:
                    sound.setdefault(table, {})[key] = value
    try:
        return load_config(None, sound), mistakes
    except EdgewrightError as error:
        return None, [*mistakes, str(error)]


def _meant(config: DeviceConfig) -> Iterator[str]:
    """Texts that ``run`` would understand only later: zones and the device's name."""
    from edgewright.runtime.rules.zone import parse_zone
    from edgewright.sync.record import check_device

    for zone in config.rules.zones:
        yield from _problem("[rules] zones", parse_zone, zone)
    if config.sync.device is not None:
        yield from _problem("[sync] device", check_device, config.sync.device)


def _profile(config: DeviceConfig) -> Iterator[str]:
    """What is wrong with the board's profile."""
    from edgewright.device_profiles.profile import load_profile

    if config.model.profile is not None:
        yield from _problem("[model] profile", load_profile, config.model.profile)


def _problem(name: str, read: Callable[[str], object], text: str) -> Iterator[str]:
    try:
        read(text)
    except EdgewrightError as error:
        yield f"{name}: {error}"


def _shown(mistake: str) -> str:
    from edgewright.runtime.sources.uri import redact

    return redact(mistake)
