"""`edgewright profiles`: the boards, and how each of their fields is known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgewright.bundle.errors import ExitCode
from edgewright.device_profiles.profile import list_profiles, load_profile

if TYPE_CHECKING:
    import argparse

    from edgewright.device_profiles.profile import DeviceProfile

EPILOG = "example:\n  edgewright profiles list\n  edgewright profiles show raspberry-pi-5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="name every profile")
    showing = actions.add_parser("show", help="show one profile")
    showing.add_argument("name", help="one of the names that 'profiles list' prints")
    for action in (listing, showing):
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Lists the profiles or shows one."""
    names = list_profiles() if args.action == "list" else (args.name,)
    profiles = [load_profile(name) for name in names]
    if args.json:
        shown = [_as_json(profile) for profile in profiles]
        print(json.dumps({"profiles": shown} if args.action == "list" else shown[0]))
    elif args.action == "list":
        print("\n".join(f"{profile.name:20} {profile.description}" for profile in profiles))
    else:
        print("\n".join(_lines(profiles[0])))
    return ExitCode.OK


def _lines(profile: DeviceProfile) -> list[str]:
    head = [f"{profile.name}: {profile.description}"]
    if profile.lineage:
        head.append(f"  extends {' -> '.join(profile.lineage)}")
    rows = []
    fields = profile.known()
    width = max(len(key) for key in fields)
    for key, known in fields.items():
        value = ", ".join(known.value) if isinstance(known.value, tuple) else known.value
        rows.append(f"  {key:{width}} {value}  ({known.origin.value})")
    return head + rows


def _as_json(profile: DeviceProfile) -> dict[str, object]:
    fields = {key: {"value": known.value, "origin": known.origin.value} for key, known in profile.known().items()}
    return {"name": profile.name, "description": profile.description, "lineage": profile.lineage, **fields}
