"""The systemd unit of a camera board, and the limits that keep its log from wearing the flash out.

The unit restarts whatever happens, for ever; it may use the camera, the network and its own folder, and nothing else.
docs/reference/service.md explains each setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError
from edgewright.deploy.unit_syntax import account, argument, item, whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgewright.device_profiles.profile import DeviceProfile

__all__ = ["UnitPaths", "render_journald", "render_unit"]

_WATCHDOG_S = 30
_START_S, _COMPILE_S = 120, 1800  # TensorRT compiles a model for minutes when it meets it first
_HIGH_SHARE = 0.9
_STATE_ROOT = PurePosixPath("/var/lib")
_PROGRAM = PurePosixPath("/opt/edgewright/current/bin/edgewright")
_CONFIG = PurePosixPath("/etc/edgewright/device.toml")
_SMALLEST_LOG_MB = 8


@dataclass(frozen=True)
class UnitPaths:
    """What the unit names.

    Attributes:
        program: The ``edgewright`` command.
        config: Its configuration file.
        state: The one folder that the service may write to.
        user: Runs it.
        group: That user's group.
    """

    program: PurePosixPath = _PROGRAM
    config: PurePosixPath = _CONFIG
    state: PurePosixPath = _STATE_ROOT / "edgewright"
    user: str = "edgewright"
    group: str = "edgewright"


@dataclass(frozen=True)
class _Board:
    """What of a profile matters here."""

    watchdog_s: int = _WATCHDOG_S
    memory_max_mb: int | None = None
    cpu_quota: int | None = None
    nvidia: bool = False
    delegate: bool = False
    known: bool = False

    @classmethod
    def of(cls, profile: DeviceProfile | None) -> _Board:
        if profile is None:
            return cls()
        backends = () if profile.backends is None else profile.backends.value
        pipelines = " ".join(pipeline.value for pipeline in profile.gstreamer.values())
        return cls(
            watchdog_s=_WATCHDOG_S if profile.watchdog_s is None else profile.watchdog_s.value,
            memory_max_mb=None if profile.memory_max_mb is None else profile.memory_max_mb.value,
            cpu_quota=None if profile.cpu_quota is None else profile.cpu_quota.value,
            nvidia=any(engine in name for name in backends for engine in ("cuda", "tensorrt"))
            or "nvargus" in pipelines,
            delegate=any("delegate" in name for name in backends),
            known=True,
        )


def render_unit(paths: UnitPaths, profile: DeviceProfile | None = None) -> str:
    """The text of ``edgewright.service``.

    Args:
        paths: Where things are on the board.
        profile: Gives memory, processor share, watchdog interval and the devices; None takes what suits any board.

    Raises:
        DeployError: A path or name cannot stand in a unit.
    """
    board = _Board.of(profile)
    sections = {
        "Unit": _unit_section(board),
        "Service": [
            *_process(paths, board),
            *_limits(board),
            *_places(paths, board),
            *_devices(board),
            *_sandbox(board),
        ],
        "Install": ["WantedBy=multi-user.target"],
    }
    blocks = ("\n".join([f"[{name}]", *lines]) for name, lines in sections.items())
    return (
        "# Written by edgewright; put changes of your own into edgewright.service.d/*.conf.\n"
        + "\n\n".join(blocks)
        + "\n"
    )


def render_journald(limit_mb: int, *, volatile: bool = False) -> str:
    """The text of a drop-in that bounds the board's whole journal.

    Args:
        limit_mb: Largest size on disk, MiB; in memory a quarter of it.
        volatile: Keep the journal in memory only: no wear, and nothing left after a power cut.

    Raises:
        DeployError: The journal would be too small to hold one file.
    """
    if limit_mb < _SMALLEST_LOG_MB:
        way_out = "" if volatile else ", or keep it in memory with --journal volatile"
        message = f"--journal-mb {limit_mb} is too small; give {_SMALLEST_LOG_MB} or more{way_out}"
        raise DeployError(message)
    lines = [
        "# Written by edgewright: the journal must neither fill nor wear out the board's flash.",
        "[Journal]",
        f"Storage={'volatile' if volatile else 'auto'}",
        f"SystemMaxUse={limit_mb}M",
        f"SystemMaxFileSize={max(1, limit_mb // 8)}M",
        f"RuntimeMaxUse={max(_SMALLEST_LOG_MB, limit_mb // 4)}M",
        "MaxRetentionSec=1month",
        "SyncIntervalSec=15min",
        "RateLimitIntervalSec=30s",
        "RateLimitBurst=500",
        "Compress=yes",
        "ForwardToSyslog=no",
    ]
    return "\n".join(lines) + "\n"


def _unit_section(board: _Board) -> list[str]:
    after = ["network.target", *(["nvargus-daemon.service"] if board.nvidia else [])]
    return [
        "Description=edgewright camera",
        f"After={' '.join(after)}",
        "# A board on a mast has nobody who starts it again: never give up.",
        "StartLimitIntervalSec=0",
    ]


def _process(paths: UnitPaths, board: _Board) -> list[str]:
    return [
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={item(paths.program)} run --config {argument(paths.config)}",
        f"WorkingDirectory={whole(paths.state)}",
        f"User={account(paths.user)}",
        f"Group={account(paths.group)}",
        "UMask=0027",
        "Restart=always",
        "RestartSec=5",
        f"WatchdogSec={board.watchdog_s}",
        f"TimeoutStartSec={_COMPILE_S if board.nvidia else _START_S}",
        # A camera's gst-launch is ended by the runtime, which would else tell of a camera that is down.
        "KillMode=mixed",
        "TimeoutStopSec=30",
        "TimeoutAbortSec=10",
        f"Environment=PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1 PYTHONFAULTHANDLER=1 {_folders(paths)}",
        "LogRateLimitIntervalSec=30",
        "LogRateLimitBurst=200",
    ]


def _folders(paths: UnitPaths) -> str:
    named = {"HOME": paths.state, "XDG_CACHE_HOME": paths.state / "cache", "XDG_STATE_HOME": paths.state / "state"}
    return " ".join(_assignment(name, path) for name, path in named.items())


def _assignment(name: str, path: PurePosixPath) -> str:
    word = item(path)
    return f'"{name}={word[1:]}' if word.startswith('"') else f"{name}={word}"


def _limits(board: _Board) -> list[str]:
    if board.memory_max_mb is None:
        memory = ["MemoryHigh=70%", "MemoryMax=80%"]
    else:
        memory = [f"MemoryHigh={int(board.memory_max_mb * _HIGH_SHARE)}M", f"MemoryMax={board.memory_max_mb}M"]
    quota = [] if board.cpu_quota is None else [f"CPUQuota={board.cpu_quota}%"]
    return [
        *memory,
        "MemorySwapMax=0",
        "OOMPolicy=kill",
        "CPUWeight=200",
        *quota,
        "TasksMax=256",
        "LimitNOFILE=8192",
        "LimitCORE=0",
    ]


def _places(paths: UnitPaths, board: _Board) -> list[str]:
    lines = ["ProtectSystem=strict", "ProtectHome=yes"]
    if paths.state.parent == _STATE_ROOT and _plain(paths.state.name):
        lines += [f"StateDirectory={paths.state.name}", "StateDirectoryMode=0750"]
    else:
        lines += [f"ReadWritePaths={item(paths.state)}"]
    if board.nvidia:
        # The camera daemon of JetPack is reached by a socket in /tmp.
        return [*lines, "PrivateTmp=no", "RuntimeDirectory=edgewright", "Environment=TMPDIR=/run/edgewright"]
    return [*lines, "PrivateTmp=yes"]


def _plain(name: str) -> bool:
    return name.replace("-", "").replace("_", "").isalnum() and name.isascii()


def _devices(board: _Board) -> list[str]:
    groups = ["char-video4linux", "char-media", "char-dma_heap"]
    if board.nvidia:
        groups += ["char-nv*", "char-drm", "/dev/nvmap", "/dev/nvsciipc"]
    if board.delegate:
        groups += ["char-usb_device", "char-apex"]
    return ["DevicePolicy=closed", *(f"DeviceAllow={group} rw" for group in groups)]


def _sandbox(board: _Board) -> list[str]:
    on: Iterable[str] = (
        "NoNewPrivileges", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs",
        "ProtectControlGroups", "ProtectClock", "ProtectHostname", "RestrictNamespaces", "RestrictRealtime",
        "RestrictSUIDSGID", "LockPersonality", "RemoveIPC",
    )  # fmt: skip
    # Code made at run time is how graphics drivers and TensorRT work; the processor's engines do without.
    jit_free = board.known and not board.nvidia and not board.delegate
    return [
        *(f"{name}=yes" for name in on),
        *(["MemoryDenyWriteExecute=yes"] if jit_free else []),
        "ProtectProc=invisible",
        "KeyringMode=private",
        "CapabilityBoundingSet=",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged",
        "SystemCallErrorNumber=EPERM",
    ]
