"""What can go wrong between a workstation and a board: ``HostUnreachable`` is a ``DeployError``."""

from __future__ import annotations

from edgewright.bundle.errors import EdgewrightError, ExitCode

__all__ = ["DeployError", "HostUnreachable"]


class DeployError(EdgewrightError):
    """A board is not as it must be, or a step on it failed; the message says where and what to do."""

    exit_code = ExitCode.BAD_INPUT


class HostUnreachable(DeployError):  # noqa: N818 - the state of the link, as operators say it
    """Nothing can be said to the board: no route, refused, another host key, no permission, or the link broke."""
