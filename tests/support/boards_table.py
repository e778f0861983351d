"""The table of boards in docs/reference/profiles.md, drawn from the profiles themselves.

``python tests/support/boards_table.py`` prints it, to be put between the two marks of the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.device_profiles.profile import list_profiles, load_profile

if TYPE_CHECKING:
    from edgewright.device_profiles.profile import DeviceProfile, Known

BEGIN, END = "<!-- boards -->", "<!-- end of boards -->"
COLUMNS = {
    "processor": "processor",
    "cores": "cores",
    "memory MiB": "memory_mb",
    "INT8 by": "instructions",
    "sums": "integer_dot",
    "Python": "python",
    "glibc": "glibc",
    "slows at °C": "throttle_celsius",
    "engines, best first": "backends",
}


def boards_table() -> str:
    """Markdown; the letter behind a value is its origin."""
    head = ["profile", *COLUMNS]
    rows = [_row(load_profile(name)) for name in list_profiles()]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(profile: DeviceProfile) -> list[str]:
    fields = profile.known()
    return [f"`{profile.name}`", *(_cell(fields.get(name)) for name in COLUMNS.values())]


def _cell(known: Known[Any] | None) -> str:
    if known is None:
        return "-"
    value = ", ".join(known.value) if isinstance(known.value, tuple) else str(known.value)
    return f"{value} ({known.origin.value[0]})"


if __name__ == "__main__":
    print(boards_table())
