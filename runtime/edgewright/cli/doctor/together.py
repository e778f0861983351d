"""All checks at once, for each mostly waits: findings in the order of the checks, and a word on what takes long."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgewright.cli.doctor.asking import Children
    from edgewright.cli.doctor.findings import Finding
    from edgewright.cli.doctor.look import Look

__all__ = ["look_together", "looking_at"]

_MOST_NAMED = 4


def look_together(
    checks: Sequence[Callable[[Look], Iterator[Finding]]], look: Look, children: Children
) -> tuple[Finding, ...]:
    """What every check finds, in their order.

    Args:
        checks: Each runs on a thread of its own.
        look: What they are given.
        children: Ended when a check fails or the user gives up, for the threads wait for them.
    """
    with ThreadPoolExecutor(max(1, len(checks)), "doctor") as pool:
        under_way = [pool.submit(_all_of, check, look) for check in checks]
        try:
            return tuple(finding for found in under_way for finding in found.result())
        except BaseException:
            children.end()
            raise


def _all_of(check: Callable[[Look], Iterator[Finding]], look: Look) -> tuple[Finding, ...]:
    return tuple(check(look))


def looking_at(what: Callable[[], Sequence[str]]) -> Callable[[float], str]:
    """The line for who waits.

    Args:
        what: Names of what has not answered yet.
    """

    def line(seconds: float) -> str:
        names = what()
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        return f"looking: {', '.join(names[:_MOST_NAMED]) or 'this machine'}{more} ({seconds:.0f} s)"

    return line
