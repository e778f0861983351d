"""Refuses outputs that would destroy an input: a recording, the bundle, the configuration, or each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.device.errors import DeviceConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["check_places"]


def check_places(inputs: Mapping[str, Path | None], outputs: Mapping[str, Path | None]) -> None:
    """Looks at every path before anything is opened for writing.

    Args:
        inputs: What each is in words, such as ``the source``, to its path; None for what is not a file here.
        outputs: Flag to path.

    Raises:
        DeviceConfigError: An output is an input, lies inside one, or is another output; or the events file exists and
            holds something else than JSON lines.
    """
    read = {what: path.resolve() for what, path in inputs.items() if path is not None}
    written: dict[Path, str] = {}
    for flag, path in outputs.items():
        if path is None:
            continue
        place = path.resolve()
        for what, taken in read.items():
            if place == taken or (taken.is_dir() and taken in place.parents):
                message = f"{flag} {path} would overwrite {what}; give another name"
                raise DeviceConfigError(message)
        if place in written:
            message = f"{flag} and {written[place]} both name {path}; give each a place of its own"
            raise DeviceConfigError(message)
        written[place] = flag
    events = outputs.get("--events")
    if events is not None and events.is_file():
        try:
            with events.open("rb") as stream:
                begin = stream.read(1)
        except OSError as error:
            message = f"--events {events} cannot be read: {error.strerror}"
            raise DeviceConfigError(message) from error
        if begin not in {b"", b"{"}:
            message = f"--events {events} exists and holds no JSON lines; give another name"
            raise DeviceConfigError(message)
