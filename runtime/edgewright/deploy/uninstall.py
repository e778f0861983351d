"""Removing: the order of the steps, over SSH or on the board itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgewright.deploy.asking import read_facts
from edgewright.deploy.errors import DeployError
from edgewright.deploy.judging import why_not_removed
from edgewright.deploy.lock import BoardLock
from edgewright.deploy.one_at_a_time import run_under
from edgewright.deploy.root_tree import refuse_ways_out
from edgewright.deploy.service import ServiceManager
from edgewright.deploy.steps.remove import GoneStep, StoppedStep, UserGoneStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.deploy.board import Board
    from edgewright.deploy.plan import Outcome, Step, StepResult

__all__ = ["uninstall"]


def uninstall(
    board: Board,
    on_result: Callable[[StepResult], None],
    *,
    on_begin: Callable[[str], None] | None = None,
    purge: bool = False,
    dry: bool = False,
) -> Outcome:
    """Takes everything away: releases, settings, unit, limits and user.

    Args:
        board: Where.
        on_result: Told of every step as it ends.
        on_begin: Told the title of every step that begins to work.
        purge: Whether the data goes, too: outbox, bundles, picks.
        dry: Only look.

    Raises:
        HostUnreachable: The board cannot be talked to.
        DeployError: You have no right to do that there.
    """
    layout = board.layout
    if not board.system:
        refuse_ways_out(layout)
    facts = read_facts(board, time.time)
    reasons = why_not_removed(board.name, facts, root=board.system)
    if reasons:
        raise DeployError("\n".join(reasons))
    service = ServiceManager(board) if board.system and facts.has_systemd else None
    steps: list[Step] = [] if service is None else [StoppedStep(board, service)]
    steps += [
        GoneStep(
            board,
            "unit",
            [layout.unit, layout.wanted, layout.sysusers, layout.tmpfiles],
            emptied=[] if board.system else [layout.wanted.parent, layout.sysusers.parent, layout.tmpfiles.parent],
            afterwards=None if service is None else service.reload,
        ),
        GoneStep(
            board,
            "journal limits",
            [layout.journald],
            emptied=[layout.journald.parent],
            afterwards=None if service is None else service.reload_journal,
        ),
        GoneStep(board, "releases", [layout.opt]),
        GoneStep(board, "settings", [layout.etc]),
    ]
    if purge:
        steps.append(GoneStep(board, "data", [layout.state]))
    if board.system:
        steps.append(UserGoneStep(board))
    return run_under(BoardLock(board, "uninstall"), steps, on_result, on_begin=on_begin, dry=dry)
