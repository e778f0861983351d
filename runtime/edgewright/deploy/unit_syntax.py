"""What a path or name must look like inside a systemd unit, so that it means itself and nothing more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError

if TYPE_CHECKING:
    from pathlib import PurePosixPath

__all__ = ["account", "argument", "item", "whole"]

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,30}")


def whole(path: PurePosixPath) -> str:
    """A path that is all of a setting, such as ``WorkingDirectory=``: spaces are kept there, specifiers are not.

    Raises:
        DeployError: It is not absolute, or holds what a unit cannot.
    """
    text = _checked(path)
    if text.endswith(" "):
        message = f"{text!r} ends in a space, which a systemd unit does not keep; choose another path"
        raise DeployError(message)
    return text.replace("%", "%%")


def item(path: PurePosixPath) -> str:
    """A path among others in a list, such as ``ReadWritePaths=``, or the program of ``ExecStart=``.

    Raises:
        DeployError: As ``whole``.
    """
    return _quoted(_checked(path))


def argument(path: PurePosixPath) -> str:
    """A path after the program in ``ExecStart=``, where ``$`` begins a variable.

    Raises:
        DeployError: As ``whole``.
    """
    return _quoted(_checked(path).replace("$", "$$"))


def account(name: str) -> str:
    """The name of a user or group.

    Raises:
        DeployError: No account is called that.
    """
    if not _ACCOUNT.fullmatch(name):
        message = f"{name!r} is no name of a system account; use up to 31 of a-z, 0-9, '_' and '-'"
        raise DeployError(message)
    return name


def _checked(path: PurePosixPath) -> str:
    text = str(path)
    if not text.startswith("/"):
        message = f"{text!r} is not absolute; a systemd unit needs the whole path"
        raise DeployError(message)
    if not text.isprintable():
        message = f"{text!r} holds a line break or another control character; choose another path"
        raise DeployError(message)
    if set(text) & set("\"'\\"):
        # Some settings take these away, others keep them, and systemd allows none in the name of a program.
        message = f"{text!r} holds a quote or a backslash, which cannot stand in a systemd unit; choose another path"
        raise DeployError(message)
    return text


def _quoted(text: str) -> str:
    escaped = text.replace("%", "%%")
    return f'"{escaped}"' if re.search(r"[\s;#]", text) else escaped
