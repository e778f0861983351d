"""`edgewright wheelhouse`: every wheel a board needs, in one folder, for boards without a network."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.errors import ExitCode
from edgewright.bundle.text import plain

if TYPE_CHECKING:
    from edgewright.deploy.wheelhouse import Wheelhouse

EPILOG = """\
The wheels are chosen for the board, whatever this machine is: its processor and C library come from the profile, its
Python from --python ('python3 --version' on the board). Doing it again changes nothing while the folder is whole; a
folder with what another board needs is refused unless you say --replace.
pip's own settings hold (PIP_INDEX_URL, PIP_FIND_LINKS, PIP_NO_INDEX, its cache).

examples:
  edgewright wheelhouse wheels --profile raspberry-pi-5 --python 3.11
  edgewright wheelhouse wheels-both --profile raspberry-pi-5 --python 3.13 --extras onnx,tflite
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the wheels go: a new folder, or an earlier one")
    parser.add_argument("--profile", required=True, metavar="NAME", help="the board; see 'edgewright profiles list'")
    parser.add_argument("--python", metavar="X.Y", help="the board's Python (default: the profile's first; it is told)")
    parser.add_argument(
        "--extras", type=_names, default=("onnx",), metavar="A,B", help="any of onnx, tflite, webrtc (default: onnx)"
    )
    parser.add_argument(
        "--wheel",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a wheel that no index has, such as NVIDIA's onnxruntime_gpu; may be given often",
    )
    parser.add_argument(
        "--constraints",
        type=Path,
        metavar="FILE",
        help="versions to keep to (default: constraints.txt of the source checkout, where edgewright runs from one)",
    )
    parser.add_argument(
        "--replace", action="store_true", help="give up a wheelhouse for another board, Python or other extras in DIR"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Makes the wheelhouse and says what is in it."""
    from edgewright.deploy.wheelhouse import default_python, make_wheelhouse, source_constraints, target_of
    from edgewright.device_profiles.profile import load_profile

    def told(line: str) -> None:
        if not args.json:
            print(plain(line), file=sys.stderr, flush=True)

    profile = load_profile(args.profile)
    python, why = (args.python, "as asked") if args.python is not None else default_python(profile)
    target = target_of(profile, python)
    if args.python is None:
        told(f"for {why}")
    house = make_wheelhouse(
        target,
        args.folder,
        args.extras,
        told,
        constraints=args.constraints or source_constraints(),
        extra_wheels=args.wheel,
        replace=args.replace,
    )
    print(json.dumps(_as_json(house) | {"python_why": why}) if args.json else "\n".join(_lines(house)))
    return ExitCode.OK


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    from edgewright.deploy.wheelhouse import EXTRAS

    unknown = [name for name in names if name not in EXTRAS]
    if unknown:
        msg = f"{unknown[0][:40]!r} is no extra for boards; give any of {', '.join(EXTRAS)}"
        raise argparse.ArgumentTypeError(msg)
    return names


def _lines(house: Wheelhouse) -> list[str]:
    width = max(len(wheel.name) for wheel in house.files)
    rows = [f"  {wheel.name:{width}} {wheel.bytes / 1e6:6.1f} MB" for wheel in house.files]
    return [
        f"{house.folder}: {len(house.files)} wheels, {house.bytes / 1e6:.1f} MB, for {house.target.named}",
        *rows,
        f"  it installs {', '.join(house.requirements)}; id {house.id}",
    ]


def _as_json(house: Wheelhouse) -> dict[str, object]:
    return {
        "folder": str(house.folder),
        "id": house.id,
        "python": house.python,
        "architecture": house.target.architecture,
        "profile": house.target.board,
        "extras": house.extras,
        "requirements": house.requirements,
        "bytes": house.bytes,
        "wheels": [{"file": wheel.name, "bytes": wheel.bytes, "sha256": wheel.sha256} for wheel in house.files],
    }
