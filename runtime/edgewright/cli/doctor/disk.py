"""Disks: where events and bundles live, how much room there is, how fast a write is safe, and how worn the card is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.cli.doctor.findings import BAD, OK, UNKNOWN, WARN, Finding
from edgewright.cli.doctor.look import state_folder
from edgewright.deploy.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.cli.doctor.look import Look, System

__all__ = ["Mount", "begin_disk", "disk", "file_system", "mount_of", "place", "wear"]

_MIB = 1024 * 1024
_OUTBOX = 64 * _MIB  # the default budget of an outbox
_LITTLE = 256 * _MIB
_SLOW_MS = 50.0  # the outbox commits up to 20 times a second
_STUCK_MS = 1000.0
_FLEETING = frozenset({"tmpfs", "ramfs", "overlay", "aufs"})
_FAR = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs"})
_PLAIN = frozenset({"vfat", "exfat", "msdos"})
_ESCAPE = re.compile(r"\\([0-7]{3})")
_TENTHS_WORN = 9
_TENTHS_GONE = 11


@dataclass(frozen=True)
class Mount:
    """Where a path is mounted from.

    Attributes:
        point: The folder that it is mounted on.
        kind: Of the file system.
        writable: False when it is mounted read-only.
        device: Major and minor number, as ``179:2``.
    """

    point: str
    kind: str
    writable: bool
    device: str


def place(look: Look) -> Path:
    """The folder that events are kept in: the configuration's, the service's, or this user's."""
    config = look.wishes.config
    if config is not None and config.sync.outbox is not None:
        return Path(os.path.abspath(config.sync.outbox)).parent  # noqa: PTH100 - resolve() would follow links
    service = Path(Layout.state)
    return service if service.is_dir() else state_folder()


def _there(folder: Path) -> Path:
    """The nearest folder above that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def begin_disk(look: Look) -> None:
    """Starts what the check waits for."""
    folder = _there(place(look))
    if os.access(folder, os.W_OK):
        look.children.start("fsync", "fsync", {"folder": str(folder)}, patience_s=20.0)


def disk(look: Look) -> Iterator[Finding]:
    """Room, file system, read-only root, fsync and wear."""
    wanted = place(look)
    folder = _there(wanted)
    mount = mount_of(look.system, str(folder.resolve()))
    yield from _space(wanted, folder)
    yield from file_system(mount, mount_of(look.system, "/"), str(wanted))
    yield _fsync(look, folder)
    if mount is not None:
        yield wear(look.system, mount.device)


def _space(wanted: Path, folder: Path) -> Iterator[Finding]:
    try:
        room = os.statvfs(folder)
    except OSError as error:
        yield Finding("disk", "space", UNKNOWN, f"{folder}: {error.strerror}", "make that folder readable")
        return
    free = room.f_bavail * room.f_frsize
    seen = f"{free / _MIB:.0f} MiB are free for {wanted}"
    remedy = "free some: old bundles, journals (journalctl --vacuum-size=50M), packages"
    if free < _OUTBOX:
        seen += f"; an outbox takes up to {_OUTBOX / _MIB:.0f}"
        yield Finding("disk", "space", BAD, seen, remedy)
    elif free < _LITTLE:
        yield Finding("disk", "space", WARN, seen, remedy)
    else:
        yield Finding("disk", "space", OK, seen)
    if room.f_files and not room.f_favail:
        yield Finding("disk", "inodes", BAD, f"no more files can be made for {wanted}", "remove many small files")


def file_system(mount: Mount | None, root: Mount | None, wanted: str) -> Iterator[Finding]:
    """What kind of file system events are kept on, and whether it and the root can be written.

    Args:
        mount: Of the place.
        root: Of ``/``.
        wanted: The place.
    """
    if mount is None:
        seen = f"which one {wanted} is on is not known: /proc/self/mountinfo does not tell"
        yield Finding("disk", "file system", UNKNOWN, seen, "look: findmnt")
        return
    seen = f"{wanted} is on {mount.kind} ({mount.point})"
    if not mount.writable:
        remedy = f"mount it writable (mount -o remount,rw {mount.point}), or keep the outbox on a disk that is"
        yield Finding("disk", "file system", BAD, f"{seen}, mounted read-only", remedy)
    elif mount.kind in _FLEETING:
        remedy = (
            "keep the outbox on a disk ([sync] outbox = ...), or switch the overlay off; nothing to do in a container"
        )
        yield Finding("disk", "file system", WARN, f"{seen}, which may not outlive a power cut", remedy)
    elif mount.kind in _FAR or mount.kind in _PLAIN:
        why = "whose locks SQLite cannot trust" if mount.kind in _FAR else "which has no journal and no permissions"
        yield Finding("disk", "file system", WARN, f"{seen}, {why}", "keep the outbox on ext4, btrfs, f2fs or xfs")
    else:
        yield Finding("disk", "file system", OK, seen)
    if root is not None and root.writable:
        yield Finding("disk", "root", OK, f"the root is writable ({root.kind})")
    elif root is not None:
        remedy = (
            "nothing, if it is meant so and the outbox is elsewhere; else: mount -o remount,rw /, and look at dmesg"
        )
        yield Finding("disk", "root", WARN, "the root is mounted read-only: nothing can be installed", remedy)


def _fsync(look: Look, folder: Path) -> Finding:
    if not look.children.started("fsync"):
        return Finding("disk", "fsync", UNKNOWN, f"not measured: this user may not write to {folder}", "try it as root")
    found = look.ask("fsync")
    problem = found.get("died") or found.get("problem")
    if problem:
        return Finding("disk", "fsync", WARN, f"{folder}: {problem}", "replace the disk if it hangs; see dmesg")
    median, longest = found["median_ms"], found["longest_ms"]
    seen = f"a write is safe after {median:.1f} ms (median of {found['count']}; longest {longest:.1f})"
    if median > _SLOW_MS or longest > _STUCK_MS:
        remedy = "events wait in memory for so long, and a power cut takes them: a better card (class A2), or an SSD"
        return Finding("disk", "fsync", WARN, seen, remedy)
    return Finding("disk", "fsync", OK, seen)


def mount_of(system: System, path: str) -> Mount | None:
    """The mount that holds ``path``, by the kernel's list; of several on one point the last, which hides the others."""
    best: Mount | None = None
    for line in (system.text("/proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(kind) < 3:
            continue
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4])
        above = path == point or path.startswith(point.rstrip("/") + "/")
        if above and (best is None or len(point) >= len(best.point)):
            options = {*fields[5].split(","), *kind[2].split(",")}
            best = Mount(point, kind[0], "ro" not in options, fields[2])
    return best


def wear(system: System, device: str) -> Finding:
    """What the medium below a block device tells of its age.

    An eMMC tells it in ``life_time`` (two areas, in tenths of what its maker rates) and ``pre_eol_info`` (spare blocks);
    an SD card has no such registers.
    """
    group, name = "disk", "wear"
    link = system.path(f"/sys/dev/block/{device}")
    if not link.exists():
        seen = f"not known: no block device is behind it ({device})"
        return Finding(group, name, UNKNOWN, seen, "look on the machine that has the disk")
    block = link.resolve()
    if (block / "partition").exists():
        block = block.parent
    called = block.name
    if called.startswith("mmcblk"):
        return _card(system, block, called)
    if called.startswith("nvme"):
        return Finding(group, name, UNKNOWN, f"{called}: not readable without a tool", "nvme smart-log /dev/" + called)
    if called.startswith("sd"):
        return Finding(group, name, UNKNOWN, f"{called}: not readable without a tool", "smartctl -a /dev/" + called)
    seen = f"{called} tells nothing of its wear"
    return Finding(group, name, UNKNOWN, seen, "look on the machine that has the disk; this may be a virtual one")


def _card(system: System, block: Path, called: str) -> Finding:
    group, name = "disk", "wear"

    def told(file: str) -> str:
        return system.text("/" + str((block / "device" / file).relative_to(system.path("/").resolve()))) or ""

    tenths = [int(word, 16) for word in told("life_time").split() if re.fullmatch(r"0x[0-9a-fA-F]{1,2}", word)]
    spare = {"0x01": 1, "0x02": 2, "0x03": 3}.get(told("pre_eol_info"), 0)
    if told("type") == "SD" or not any(tenths):
        kind = "an SD card" if told("type") == "SD" else "this medium"
        seen = (
            f"{called} ({told('name') or 'no name'}, made {told('date') or 'when is not told'}): {kind} tells no wear"
        )
        return Finding(group, name, UNKNOWN, seen, "keep a spare card; write little: logs in memory, swap off")
    worst = max(tenths)
    seen = f"{called}: {10 * (worst - 1)} to {10 * worst} % of its rated life are used"
    remedy = "copy it to a new card or module before it turns read-only"
    if worst >= _TENTHS_GONE:
        return Finding(group, name, WARN, f"{called}: past its rated life", remedy)
    if worst >= _TENTHS_WORN or spare > 1:
        words = {2: ", 80 % of its spare blocks are used", 3: ", its spare blocks are nearly used up"}
        return Finding(group, name, WARN, seen + words.get(spare, ""), remedy)
    return Finding(group, name, OK, seen)
