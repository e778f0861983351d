"""`edgewright profiles`: the boards, how each of their fields is known, and this machine measured into one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import ExitCode
from edgewright.cli.arguments import threads_argument
from edgewright.device_profiles.profile import list_profiles, load_profile

if TYPE_CHECKING:
    import argparse

    from edgewright.device_profiles.profile import DeviceProfile, Known
    from edgewright.runtime.probing.machine_profile import KernelProbe

EPILOG = """\
example:
  edgewright profiles list
  edgewright profiles show raspberry-pi-5
  edgewright profiles compare raspberry-pi-4 raspberry-pi-5
  edgewright profiles probe -o my-board.toml
"""

_DEFAULT_NAME = "this-machine"
_NAME_HELP = "one of the names that 'profiles list' prints, or the path of a .toml file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="name every profile")
    showing = actions.add_parser("show", help="show one profile")
    showing.add_argument("name", help=_NAME_HELP)
    showing.add_argument("--sources", action="store_true", help="say of each field where its value is from")
    comparing = actions.add_parser("compare", help="show in which fields two profiles differ")
    comparing.add_argument("name", help=_NAME_HELP)
    comparing.add_argument("other", help=_NAME_HELP)
    probing = actions.add_parser("probe", help="measure this machine into a profile, in about a minute")
    probing.add_argument("-o", "--output", type=Path, metavar="FILE", help="write it there (default: to the output)")
    probing.add_argument("--name", help=f"of the profile (default: that of the file, or {_DEFAULT_NAME})")
    probing.add_argument("--threads", type=threads_argument, default=1, metavar="N", help="of the kernels (default: 1)")
    probing.add_argument(
        "--disk", type=Path, default=Path(), metavar="DIR", help="on the disk that events are kept on (default: here)"
    )
    for action in (listing, showing, comparing, probing):
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Lists the profiles, shows one, compares two, or measures one."""
    if args.action == "probe":
        _probe(args)
    elif args.action == "compare":
        _compare(load_profile(args.name), load_profile(args.other), as_json=args.json)
    elif args.action == "list":
        profiles = [load_profile(name) for name in list_profiles()]
        lines = [f"{profile.name:20} {profile.description}" for profile in profiles]
        print(json.dumps({"profiles": [_as_json(profile) for profile in profiles]}) if args.json else "\n".join(lines))
    else:
        profile = load_profile(args.name)
        shown = json.dumps(_as_json(profile)) if args.json else "\n".join(_lines(profile, sources=args.sources))
        print(shown)
    return ExitCode.OK


def _probe(args: argparse.Namespace, kernels: KernelProbe | None = None) -> None:
    from edgewright.bundle.atomic import write_text
    from edgewright.device_profiles.profile import profile_toml
    from edgewright.device_profiles.reading import check_name
    from edgewright.runtime.probing.kernels import probe_kernels
    from edgewright.runtime.probing.machine_profile import measure, profile_of

    name = args.name or (args.output.name.removesuffix(".toml") if args.output is not None else _DEFAULT_NAME)
    check_name(name)  # before anything that takes long
    if args.output is not None:
        _check_output(args.output)
    measured = measure(args.threads, args.disk, kernels or probe_kernels, _tell)
    profile = profile_of(measured, name)
    text = profile_toml(profile)
    if args.output is not None:
        write_text(args.output, text)
        _tell(f"written to {args.output}: use it with --profile {_as_path(args.output)}")
    if args.json:
        print(json.dumps(_as_json(profile)))
    elif args.output is None:
        print(text, end="")


def _check_output(path: Path) -> None:
    from edgewright.device_profiles.errors import ProfileError

    if path.suffix != ".toml":
        msg = f"a profile is a .toml file, or it cannot be named with --profile; write it to {path.name}.toml"
        raise ProfileError(msg)
    if path.is_dir():
        msg = f"{path} is a folder; name a file in it"
        raise ProfileError(msg)


def _as_path(path: Path) -> str:
    return str(path) if path.is_absolute() else f"./{path}"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _compare(one: DeviceProfile, other: DeviceProfile, *, as_json: bool) -> None:
    left, right = one.known(), other.known()
    names = [name for name in dict.fromkeys((*left, *right)) if _value(left, name) != _value(right, name)]
    if as_json:
        rows = {name: [_field(left.get(name)), _field(right.get(name))] for name in names}
        print(json.dumps({"profiles": [one.name, other.name], "different": rows}))
        return
    if not names:
        print(f"{one.name} and {other.name} say the same")
        return
    for name in names:
        print(f"{name}\n  {one.name}: {_shown(left.get(name))}\n  {other.name}: {_shown(right.get(name))}")


def _value(fields: dict[str, Known[Any]], name: str) -> Any:
    known = fields.get(name)
    return None if known is None else known.value


def _lines(profile: DeviceProfile, *, sources: bool) -> list[str]:
    head = [f"{profile.name}: {profile.description}"]
    if profile.lineage:
        head.append(f"  extends {' -> '.join(profile.lineage)}")
    fields = profile.known()
    width = max((len(key) for key in fields), default=0)
    rows = []
    for key, known in fields.items():
        rows.append(f"  {key:{width}} {_shown(known)}")
        if sources:
            rows.append(f"  {'':{width}}   {known.source}")
    return head + rows


def _shown(known: Known[Any] | None) -> str:
    if known is None:
        return "not known"
    value = (", ".join(known.value) or "none") if isinstance(known.value, tuple) else known.value
    return f"{value}  ({known.origin.value})"


def _field(known: Known[Any] | None) -> dict[str, Any] | None:
    return None if known is None else {"value": known.value, "origin": known.origin.value, "source": known.source}


def _as_json(profile: DeviceProfile) -> dict[str, Any]:
    fields = {key: _field(known) for key, known in profile.known().items()}
    return {"name": profile.name, "description": profile.description, "lineage": profile.lineage, **fields}
