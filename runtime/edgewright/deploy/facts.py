"""What a board is: its processor, its system, its interpreters, and the room it has."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgewright.deploy.wheel_target import PYTHONS

__all__ = ["UNKNOWN", "Facts", "Place", "Python"]

UNKNOWN = "unknown"
"""Of a C library that left no word in a root."""
# The service runs as another user, who cannot look into these, and its unit hides them.
_PRIVATE = ("/home/", "/root/", "/run/user/", "/tmp/")  # noqa: S108 - named to be refused


@dataclass(frozen=True)
class Python:
    """An interpreter of the board.

    Attributes:
        path: Where it lies.
        version: Such as ``3.11.2``.
        bits: Of a pointer.
        makes_environments: Whether it has the modules ``venv`` and ``ensurepip``.
        base: The folder that it was installed to, which a link or an environment may hide; empty when unknown.
        runs: In a root, the interpreter of this machine that runs in its stead; empty when there is none.
    """

    path: str
    version: str
    bits: int
    makes_environments: bool
    base: str = ""
    runs: str = ""

    @property
    def short(self) -> str:
        """Such as ``3.11``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def fits(self) -> bool:
        """Whether edgewright runs on it."""
        return self.short in PYTHONS

    @property
    def private(self) -> str | None:
        """Where it lies when that is a place of one user's, or one that is emptied at times; None when it is not."""
        seen = (f"{place}/" for place in (self.path, self.base))
        return next((place.rstrip("/") for place in seen if place.startswith(_PRIVATE)), None)


@dataclass(frozen=True)
class Place:
    """A file system that something is to be written to.

    Attributes:
        free_bytes: Room in it.
        kind: Such as ``ext4``.
        options: Of its mount.
        mount: Where it is mounted.
    """

    free_bytes: int
    kind: str
    options: tuple[str, ...]
    mount: str


@dataclass(frozen=True)
class Facts:
    """What the board said of itself; what it did not say is empty or 0.

    Attributes:
        values: Answers by name, as the script gives them.
        pythons: Interpreters, the system's own first.
        places: Where releases and where data go, in that order.
        skew_s: How far its clock is ahead of this machine's.
    """

    values: dict[str, str] = field(default_factory=dict)
    pythons: tuple[Python, ...] = ()
    places: tuple[Place, ...] = ()
    skew_s: float = 0.0

    @property
    def machine(self) -> str:
        """As ``uname -m`` says."""
        return self.values.get("machine", "")

    @property
    def is_root(self) -> bool:
        """Whether commands run as the superuser anyway."""
        return self.values.get("user") == "0"

    @property
    def is_folder(self) -> bool:
        """Whether it is a root in a folder, whose programs do not run."""
        return "here" in self.values

    @property
    def has_systemd(self) -> bool:
        """Whether systemd runs the services."""
        return self.values.get("systemd") == "yes"

    @property
    def python(self) -> Python | None:
        """The interpreter that releases are made with: the system's own where it fits."""
        return self.python_for(None)

    def python_for(self, version: str | None) -> Python | None:
        """The same, where the wheels are for one version: an interpreter of that one where there is any.

        Args:
            version: Such as ``3.11``; None for any.
        """
        fitting = [each for each in self.pythons if each.fits and each.bits == 64]
        fitting.sort(key=lambda each: (version not in {None, each.short}, each.private is not None))
        wanted = [each for each in fitting if version in {None, each.short}] or fitting
        return next((each for each in wanted if each.makes_environments), wanted[0] if wanted else None)

    def __str__(self) -> str:
        """On one line."""
        python = self.python
        free = min((place.free_bytes for place in self.places), default=0)
        parts = [
            self.machine,
            self.values.get("os", ""),
            "" if python is None else f"Python {python.version}",
            _libc(self.values.get("libc", "")),
            f"{free / 1e9:.1f} GB free",
            "systemd" if self.has_systemd else "no systemd",
        ]
        return ", ".join(part for part in parts if part)


def _libc(said: str) -> str:
    return "an unknown C library" if said == UNKNOWN else said
