"""Asks pip for the wheels of another machine, and says in our words why it could not get them."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from edgewright.bundle.errors import BrokenPackageError, EdgewrightError, OutputError
from edgewright.deploy import target_pip
from edgewright.deploy.errors import DeployError
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgewright.deploy.wheel_target import Target

__all__ = ["download_wheels", "explain"]

_TOLD = ("Downloading ", "Using cached ")
_KEPT = 400
_NO_WHEEL = re.compile(r"ERROR: No matching distribution found for (.+)")
_VERSIONS = re.compile(r"satisfies the requirement (.+?) \(from versions: (.*)\)")
_NO_NETWORK = re.compile(
    r"name resolution|Name or service not known|Network is unreachable|No route to host|Connection refused"
    r"|NewConnectionError|Max retries exceeded|timed out|ProxyError|SSLError|CERTIFICATE_VERIFY_FAILED",
    re.IGNORECASE,
)
_NOT_AVAILABLE = re.compile(
    r"no matching distributions available for your environment:\s+(.+?)(?:\n\n|\n *To fix|\Z)", re.DOTALL
)
_ELSE = (
    "choose another --python or --profile, leave out the --extras that asks for it, or give its wheel by --wheel FILE"
)
_CONFLICT = re.compile(r"ResolutionImpossible|conflicting dependencies")
_BAD_FILE = re.compile(r"ERROR: ((?:Invalid requirement|Could not open requirements file|Constraints cannot).*)")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


def download_wheels(
    target: Target,
    requirements: Sequence[str],
    folder: Path,
    constraints: Path | None,
    on_line: Callable[[str], None],
) -> None:
    """Downloads what the requirements need, and only wheels.

    pip's own settings hold: its index, its proxies, its cache, its environment variables.

    Args:
        target: Whose wheels.
        requirements: As ``pip install`` takes them.
        folder: Where they go; it exists.
        constraints: Versions that must be kept to.
        on_line: Told what is being fetched.

    Raises:
        DeployError: There is no such wheel, or no index could be reached.
        OutputError: The folder cannot take them.
        BrokenPackageError: This environment has no pip, or one that cannot do this.
    """
    if importlib.util.find_spec("pip") is None:
        msg = (
            "making a wheelhouse needs pip, which this environment lacks; bring it with: python -m ensurepip --upgrade"
        )
        raise BrokenPackageError(msg)
    # One line a message, however narrow the terminal is, and no question that nobody would answer.
    environment = {**os.environ, "COLUMNS": "1000", "PIP_NO_INPUT": "1", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    command = _command(target, requirements, folder, constraints)
    said: list[str] = []
    try:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        msg = f"cannot start pip: {error.strerror or error}"
        raise DeployError(msg) from error
    with process:
        try:
            for raw in process.stdout or ():
                line = raw.decode("utf-8", errors="replace").strip()
                said = [*said[1 - _KEPT :], line]
                if line.startswith(_TOLD):
                    on_line(brief(line))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise explain(said, process.returncode, target, folder)


def _command(target: Target, requirements: Sequence[str], folder: Path, constraints: Path | None) -> list[str]:
    words = [sys.executable, str(target_pip.__file__), json.dumps(target.markers()), "download"]
    words += ["--disable-pip-version-check", "--progress-bar=off", "--only-binary=:all:"]
    words += [f"--python-version={target.python}", "--implementation=cp", f"--abi={target.abi}"]
    words += [f"--platform={tag}" for tag in target.platform_tags]
    words += [f"--dest={folder}"] + ([f"--constraint={constraints}"] if constraints else [])
    return [*words, "--", *requirements]


def explain(said: Sequence[str], status: int, target: Target, folder: Path) -> EdgewrightError:
    """The error for what pip said.

    Args:
        said: Its lines.
        status: Its exit status.
        target: Whose wheels were wanted.
        folder: Where they were to go.
    """
    text = "\n".join(said)
    room = next((os.strerror(number) for number in _NO_ROOM if f"[Errno {number}]" in text), None)
    if room is not None:
        return OutputError(
            f"cannot write the wheels beside {folder.parent}: {room}; nothing was left half-written, make room (about "
            f"300 MB) or choose another place"
        )
    if status == target_pip.UNKNOWN_PIP:
        return BrokenPackageError(
            "the pip of this environment cannot choose wheels for another Python; bring a newer one with: python -m pip "
            "install --upgrade pip"
        )
    trouble = _NO_NETWORK.search(text)
    if trouble is not None:
        return DeployError(
            f"no package index could be reached ({trouble[0]}); connect this machine, or name a folder that holds the "
            f"wheels: PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER"
        )
    missing = _NO_WHEEL.search(text)
    if missing is not None:
        return _no_wheel(missing[1], text, target)
    if _CONFLICT.search(text):
        return _conflict(said, text, target)
    wrong = _BAD_FILE.search(text)
    if wrong is not None:
        return DeployError(f"pip cannot read the constraints: {brief(wrong[1])}; mend the file given by --constraints")
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")] or list(said[-3:])
    return DeployError(f"pip failed for {target.named}: {brief(' '.join(errors)) or f'exit status {status}'}")


def _no_wheel(requirement: str, text: str, target: Target) -> DeployError:
    seen = {match[1]: match[2] for match in _VERSIONS.finditer(text)}
    package = requirement.partition(" ")[0]
    versions = next((found for name, found in seen.items() if package in name), "none")
    there = "none at all" if versions in {"none", ""} else f"only {brief(versions, 120)}"
    return DeployError(
        f"no wheel of {brief(requirement, 120)} for {target.named}, up to {target.platform_tags[0]}; the index has {there} "
        f"for it; {_ELSE}"
    )


def _conflict(said: Sequence[str], text: str, target: Target) -> DeployError:
    causes = [line for line in said if " depends on " in line or "(constraint)" in line]
    because = brief("; ".join(causes) or text)
    absent = _NOT_AVAILABLE.search(text)
    if absent is not None:
        return DeployError(
            f"no wheel of {brief(absent[1], 120)} for {target.named}, up to {target.platform_tags[0]}, where {because}; {_ELSE}"
        )
    return DeployError(
        f"no set of wheels for {target.named} fits together: {because}; loosen the constraints, or leave an extra out"
    )
