"""Cameras, brokers, bundles and disks, tried in a process of their own; see ``child``."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import EdgewrightError
from edgewright.cli.doctor.child import doing

if TYPE_CHECKING:
    from edgewright.sync.address import BrokerAddress

__all__ = ["broker", "bundle", "camera", "cameras", "fsync"]

_WRITES = 20
_LONGEST_S = 2.0


def camera(request: dict[str, Any]) -> dict[str, Any]:
    """Opens ``uri`` and takes frames."""
    from edgewright.device.camera_probe import probe_camera

    doing("opening it")
    return asdict(probe_camera(request["uri"], request["patience_s"], profile=request["profile"]))


def cameras(request: dict[str, Any]) -> dict[str, Any]:
    """Video nodes below ``folder`` that take pictures."""
    from edgewright.device.camera_nodes import list_cameras

    return {"found": [asdict(found) for found in list_cameras(Path(request["folder"]))]}


def broker(request: dict[str, Any]) -> dict[str, Any]:
    """Talks to the broker at ``url`` as ``device``; ``files`` replace those in the URL."""
    from edgewright.sync.address import parse_broker
    from edgewright.sync.errors import SyncConfigError
    from edgewright.sync.probe import probe_broker

    try:
        address = _with_files(parse_broker(request["url"]), request["files"])
        return asdict(probe_broker(address, request["device"], tell=doing))
    except SyncConfigError as error:
        return {"unusable": str(error)}


def _with_files(address: BrokerAddress, files: dict[str, str]) -> BrokerAddress:
    """The address with certificate files of the command line in place of its own.

    Raises:
        SyncConfigError: They mean nothing there.
    """
    from edgewright.sync.errors import SyncConfigError

    if files and not address.tls:
        raise SyncConfigError("--ca, --cert and --key need TLS: the broker URL must begin with mqtts://")
    paths = {name: Path(value) for name, value in files.items()}
    ca, cert = paths.get("ca", address.ca), paths.get("cert", address.cert)
    # A certificate of the command line has its key there, too, or in the same file.
    key = paths.get("key") if "cert" in paths else paths.get("key", address.key)
    if key is not None and cert is None:
        raise SyncConfigError("--key needs the certificate that it belongs to: --cert")
    return replace(address, ca=ca, cert=cert, key=key)


def bundle(request: dict[str, Any]) -> dict[str, Any]:
    """Verifies the bundle at ``path`` as ``run`` would run it: digests, then golden vectors through the same engines."""
    from edgewright.device.board import engine_threads
    from edgewright.device_profiles.profile import load_profile
    from edgewright.runtime.backends.choice import engine_cache_folder, engine_options
    from edgewright.runtime.verify import verify_bundle

    doing("checking its digests and its golden vectors")
    delegate, cache = (None if request[key] is None else Path(request[key]) for key in ("delegate", "engine_cache"))
    try:
        board = None if request["profile"] is None else load_profile(request["profile"])
        options = engine_options(board, delegate, request["delegate_options"], cache or engine_cache_folder())
        report = verify_bundle(Path(request["path"]), engine_threads(request["threads"], board), options)
    except EdgewrightError as error:
        return {"problem": str(error), "missing": int(error.exit_code) == 5}
    return {
        "name": f"{report.name} {report.version}",
        "files": report.files,
        "ok": report.ok,
        "checked": sorted({check.variant for check in report.checks}),
        "wrong": [
            f"{check.variant} / {check.output} is off by {check.max_difference:.3g}, allowed is {check.tolerance:.3g}"
            for check in report.checks
            if not check.ok
        ],
        "skipped": dict(report.skipped),
        "engines": sorted(set(report.engines.values())),
    }


def fsync(request: dict[str, Any]) -> dict[str, Any]:
    """How long the disk below ``folder`` takes to make a small write safe, in milliseconds."""
    from edgewright.runtime.probing.disk import fsync_latency

    doing(f"writing to {request['folder']}")
    began = time.monotonic()
    times: list[float] = []
    try:
        while len(times) < _WRITES and time.monotonic() - began < _LONGEST_S:
            # One at a time, for the longest counts as much as the median: cards stall while they tidy up.
            times.append(fsync_latency(Path(request["folder"]), 1).milliseconds)
    except EdgewrightError as error:
        return {"problem": str(error)}
    ordered = sorted(times)
    return {"median_ms": ordered[len(ordered) // 2], "longest_ms": ordered[-1], "count": len(ordered)}
