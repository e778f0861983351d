"""What the checks may look at: what was asked for, the probes under way, and the system's files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgewright.runtime.probing.asking import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.device.config import DeviceConfig

__all__ = ["Asking", "BrokerWish", "Look", "System", "Wishes", "state_folder"]

_TOOL_S = 4.0
_LARGEST = 1 << 20


class Asking(Protocol):
    """Probes that find something out elsewhere; ``edgewright.cli.doctor.asking.Children``."""

    def start(self, key: str, probe: str, request: dict[str, Any] | None = None, patience_s: float = 60.0) -> None:
        """Starts one."""

    def started(self, key: str) -> bool:
        """Whether there will be an answer."""

    def answer(self, key: str) -> dict[str, Any]:
        """What it found, or ``died`` with the reason."""


@dataclass(frozen=True)
class BrokerWish:
    """A broker to talk to: a URL as ``run`` takes it, this device's name, and files that replace those in the URL."""

    url: str = field(repr=False)
    device: str = ""
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for beside the machine itself.

    Attributes:
        cameras: Sources to open.
        broker: Broker to talk to.
        config_path: Configuration to go by.
        config: What is in it, None when there is none or it cannot be read. Keys that cannot be used are left out.
        mistakes: Why it cannot be read, or what is wrong with the keys that are left out.
    """

    cameras: tuple[str, ...] = field(default=(), repr=False)
    broker: BrokerWish | None = None
    config_path: Path | None = None
    config: DeviceConfig | None = None
    mistakes: tuple[str, ...] = ()


class System:
    """The files and the tools of one system.

    Args:
        root: Where its files are; another than ``/`` has no tools.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        """Reads nothing yet."""
        self._root = root

    def path(self, name: str) -> Path:
        """A file by its absolute name."""
        return self._root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """A small file without the white space around, None when it cannot be read."""
        try:
            with self.path(name).open("rb") as stream:
                return stream.read(_LARGEST).decode("utf-8", "replace").replace("\0", "").strip()
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """A file that holds one whole number, decimal or hexadecimal."""
        try:
            return int(self.text(name) or "", 0)
        except ValueError:
            return None

    def names(self, folder: str, pattern: str) -> list[str]:
        """Files in ``folder``, by their absolute names."""
        try:
            found = sorted(self.path(folder).glob(pattern))
        except OSError:
            return []
        return [f"/{path.relative_to(self._root)}" for path in found]

    def tool(self, *words: str) -> str | None:
        """What a program prints, None when it is not here, fails, or takes longer than some seconds."""
        if self._root != Path("/"):
            return None
        code, said = ask(words, _TOOL_S)
        return said.strip() if code == 0 else None


@dataclass(frozen=True)
class Look:
    """What one check is given."""

    children: Asking
    wishes: Wishes = field(default_factory=Wishes)
    system: System = field(default_factory=System)

    def ask(self, key: str) -> dict[str, Any]:
        """The answer of a probe that was started."""
        return self.children.answer(key)


def state_folder(environment: Sequence[tuple[str, str]] | None = None) -> Path:
    """Where this user's outbox is when nothing else is said."""
    values = dict(os.environ if environment is None else environment)
    state = values.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "edgewright"
