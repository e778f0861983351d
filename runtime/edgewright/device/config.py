"""What a device runs: one frozen tree of settings, from a TOML file, from flags, or both.

The file has six tables whose keys are the fields below::

    [source]
    uri = "rtsp://user:secret@192.168.1.20/stream"
    max_side = 1280

    [model]
    bundle = "person.edge"

    [rules]
    zones = ["door=0.1,0.2;0.5,0.2;0.5,0.9"]

    [sync]
    broker = "mqtts://broker.example:8883"
    device = "gate-1"

    [output]
    events = "events.jsonl"

    [service]
    watchdog_needs_frames_s = 600

Unknown tables and keys are refused by name. Paths are relative to the working directory.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.device.errors import DeviceConfigError
from edgewright.runtime.sources.uri import redact
from edgewright.runtime.threads import most_threads

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DeviceConfig",
    "ModelSettings",
    "OutputSettings",
    "RuleSettings",
    "ServiceSettings",
    "SourceSettings",
    "SyncSettings",
    "load_config",
]

_LARGEST_FILE = 1 << 20
_LONGEST_SHOWN = 80


@dataclass(frozen=True)
class SourceSettings:
    """Where frames come from and when to stop. Times in seconds, sizes in pixels.

    Attributes:
        uri: See ``edgewright.runtime.sources.uri``.
        name: What events call the camera; None takes the URI without its password.
        every: Take only every n-th frame.
        max_side: Scale larger frames down to this.
        fps: Frames per second an image folder stands for.
        stall_s: Silence after which a live source counts as down.
        max_age_s: A live result older than this is stale.
        give_up_s: End when a live source gave nothing for so long; None waits for ever.
        max_frames: End after so many frames.
        duration_s: End after so long.
    """

    uri: str | None = field(default=None, repr=False)  # may hold a password
    name: str | None = None
    every: int = 1
    max_side: int | None = None
    fps: float = 10.0
    stall_s: float = 2.0
    max_age_s: float = 2.0
    give_up_s: float | None = None
    max_frames: int | None = None
    duration_s: float | None = None


@dataclass(frozen=True)
class ModelSettings:
    """What looks at the frames.

    Attributes:
        bundle: Bundle directory or ``.edge`` file.
        variant: Variant of it; None takes what ``edgewright bench --pick`` found fastest here, else the first.
        backend: What to run it on, such as ``onnxruntime-cuda``; None leaves it to the pick or the profile.
        profile: The board: its backends are preferred in its order, its threads taken where none are set, its pipelines
            read ``csi:`` and ``usb:`` cameras, and its temperature is watched by its limits.
        delegate: Library of an accelerator, for the backend ``litert-delegate``.
        delegate_options: Told to that library, each ``key=value``.
        engine_cache: Folder for compiled engines; None takes one in the user's cache folder.
        picks: File that ``edgewright bench --pick`` wrote; None takes the user's own.
        threads: For the engine, at most four for each core; None takes the profile's, else one.
        score: Score from which a detection counts; None takes the bundle's.
        timeout_s: A live frame that took the model longer has no answer.
        max_errors: So many failures in a row end the run; a late answer is none.
    """

    bundle: Path | None = None
    variant: str | None = None
    backend: str | None = None
    profile: str | None = None
    delegate: Path | None = None
    delegate_options: tuple[str, ...] = ()
    engine_cache: Path | None = None
    picks: Path | None = None
    threads: int | None = None
    score: float | None = None
    timeout_s: float = 10.0
    max_errors: int = 30


@dataclass(frozen=True)
class RuleSettings:
    """What is worth an event.

    Attributes:
        track: Whether objects get identities.
        lost_s: Seconds an unseen object keeps its identity.
        zones: ``name=x1,y1;x2,y2;...``; none means the whole frame.
        min_frames: Frames a new count or class must hold.
    """

    track: bool = True
    lost_s: float = 2.0
    zones: tuple[str, ...] = ()
    min_frames: int = 3


@dataclass(frozen=True)
class SyncSettings:
    """Where events go.

    Attributes:
        broker: ``mqtt://`` or ``mqtts://`` URL; None stores only, and only if ``outbox`` is given.
        device: Name in the fleet; None takes the host's name.
        outbox: The outbox's file; None takes one in the user's state folder.
        drain_s: How long to wait at the end for the cloud to acknowledge everything.
    """

    broker: str | None = field(default=None, repr=False)
    device: str | None = None
    outbox: Path | None = None
    drain_s: float = 5.0

    @property
    def wanted(self) -> bool:
        """Whether events are to be stored for delivery at all."""
        return self.broker is not None or self.outbox is not None


@dataclass(frozen=True)
class OutputSettings:
    """What is written here.

    Attributes:
        annotate: Video file (.mp4, .avi) or folder for annotated frames.
        events: JSON-lines file that events are appended to.
    """

    annotate: Path | None = None
    events: Path | None = None


@dataclass(frozen=True)
class ServiceSettings:
    """How the run behaves under a service manager.

    Attributes:
        watchdog_needs_frames_s: After so long without a frame, even from a camera known to be away, the watchdog is no
            longer fed, so that the manager starts everything afresh; 0 waits for ever.
    """

    watchdog_needs_frames_s: float = 600.0


@dataclass(frozen=True)
class DeviceConfig:
    """Everything about one camera's run; ``path`` is the file it was read from, None for flags alone."""

    source: SourceSettings = field(default_factory=SourceSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    rules: RuleSettings = field(default_factory=RuleSettings)
    sync: SyncSettings = field(default_factory=SyncSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    service: ServiceSettings = field(default_factory=ServiceSettings)
    path: Path | None = None


_TABLES: dict[str, type[Any]] = {
    "source": SourceSettings,
    "model": ModelSettings,
    "rules": RuleSettings,
    "sync": SyncSettings,
    "output": OutputSettings,
    "service": ServiceSettings,
}
_POSITIVE = {
    "every", "max_side", "fps", "stall_s", "max_age_s", "give_up_s", "max_frames", "duration_s", "threads", "timeout_s",
    "max_errors", "min_frames", "lost_s",
}  # fmt: skip
_ZERO_OR_MORE = {"drain_s", "watchdog_needs_frames_s"}
_LONGEST_S = 1e9  # more seconds than a condition variable can be asked to wait overflow in it
_FPS_RANGE = (0.001, 1000.0)


def load_config(path: Path | None, flags: Mapping[str, Mapping[str, Any]] | None = None) -> DeviceConfig:
    """Settings from a file, with flags on top.

    Args:
        path: TOML file; None for none.
        flags: Table name to key to value; None values are not set and leave the file's.

    Returns:
        The merged settings, every value checked for type and range.

    Raises:
        DeviceConfigError: The file cannot be read, a table or key is unknown, or a value cannot be meant.
    """
    data = {} if path is None else _read(path)
    where = "" if path is None else f"{path}: "
    for name in data:
        if name not in _TABLES:
            message = f"{where}unknown table [{name}]; known are " + ", ".join(f"[{table}]" for table in _TABLES)
            raise DeviceConfigError(message)
    made = {}
    for name, kind in _TABLES.items():
        table = data.get(name, {})
        if not isinstance(table, dict):
            message = f"{where}{name} must be a table; write [{name}] on a line of its own"
            raise DeviceConfigError(message)
        values = {key: _value(kind, name, key, value, where) for key, value in table.items()}
        for key, value in (flags or {}).get(name, {}).items():
            if value is not None:
                values[key] = _value(kind, name, key, value, "")
        made[name] = kind(**values)
    return DeviceConfig(**made, path=path)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            message = f"{path}: larger than {_LARGEST_FILE} bytes; this is no configuration file"
            raise DeviceConfigError(message)
        return dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror or error})"
        raise DeviceConfigError(message) from error
    except RecursionError as error:
        message = f"{path}: not valid TOML: nested too deeply"
        raise DeviceConfigError(message) from error
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        message = f"{path}: not valid TOML: {error}"
        raise DeviceConfigError(message) from error


def _value(kind: type[Any], table: str, key: str, value: Any, where: str) -> Any:
    known = {entry.name: str(entry.type) for entry in fields(kind)}
    if key not in known:
        message = f"{where}unknown key {key!r} in [{table}]; known are {', '.join(known)}"
        raise DeviceConfigError(message)
    wanted = known[key].removesuffix(" | None")
    checked = _typed(wanted, value)
    if checked is None:
        message = f"{where}[{table}] {key} = {_shown(value)} must be {_IN_WORDS[wanted]}"
        raise DeviceConfigError(message)
    if key in _POSITIVE and checked <= 0:
        message = f"{where}[{table}] {key} = {_shown(value)} must be larger than 0"
        raise DeviceConfigError(message)
    if key == "score" and not 0.0 < checked <= 1.0:
        message = f"{where}[{table}] score = {value} must lie between 0 and 1"
        raise DeviceConfigError(message)
    if key in _ZERO_OR_MORE and checked < 0:
        message = f"{where}[{table}] {key} = {_shown(value)} must be 0 or more"
        raise DeviceConfigError(message)
    if key.endswith("_s") and checked > _LONGEST_S:
        message = f"{where}[{table}] {key} = {_shown(value)} must be {_LONGEST_S:.0f} seconds or less"
        raise DeviceConfigError(message)
    if key == "fps" and not _FPS_RANGE[0] <= checked <= _FPS_RANGE[1]:
        message = f"{where}[{table}] fps = {_shown(value)} must lie within {_FPS_RANGE[0]:g} to {_FPS_RANGE[1]:g}"
        raise DeviceConfigError(message)
    if key == "threads" and checked > most_threads():
        message = (
            f"{where}[{table}] threads = {_shown(value)} must be {most_threads()} or less: four for each core here"
        )
        raise DeviceConfigError(message)
    return checked


def _shown(value: Any) -> str:
    """``value`` for a message: short, and without the password that a misplaced URI may hold."""
    try:
        text = redact(repr(value))
    except ValueError:  # an integer of more digits than Python likes to print
        return "a huge number"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


_IN_WORDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "Path": "a path, not empty and without a NUL character",
    "tuple[str, ...]": "a list of texts",
}


def _typed(wanted: str, value: Any) -> Any:
    """``value`` as the wanted type, None when it is none."""
    if wanted == "tuple[str, ...]":
        fine = isinstance(value, (list, tuple)) and all(isinstance(entry, str) for entry in value)
        return tuple(value) if fine else None
    if wanted == "bool":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if wanted == "int":
        return value if isinstance(value, int) else None
    if wanted == "float":
        return _finite(value) if isinstance(value, (int, float)) else None
    if wanted == "Path":
        return Path(value) if isinstance(value, (str, Path)) and str(value) and "\x00" not in str(value) else None
    return value if isinstance(value, str) and value else None


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:  # an integer larger than any float
        return None
    return number if math.isfinite(number) else None
