"""Runs pip with the marker environment of another machine: ``python target_pip.py '{"python_version": ...}' download ...``.

``pip download --platform`` chooses another machine's wheels, but a requirement such as ``tomli; python_version < '3.11'``
is judged by the interpreter that pip runs on. This replaces the one function that pip asks, says so when a pip does not
ask it any more, and then hands over to pip. It runs in a process of its own, started by its path.
"""

from __future__ import annotations

import importlib
import json
import runpy
import sys

__all__ = ["UNKNOWN_PIP", "main"]

UNKNOWN_PIP = 70
_MARKERS = "pip._vendor.packaging.markers"


def main(argv: list[str]) -> None:
    """Replaces the marker environment and becomes pip.

    Args:
        argv: The environment as a JSON object, then pip's arguments.
    """
    environment = json.loads(argv[0])
    try:
        markers = importlib.import_module(_MARKERS)
        markers.__dict__["default_environment"] = lambda: dict(environment)
        asked = all(markers.Marker(f"{name} == '{value}'").evaluate() for name, value in environment.items())
    except (ImportError, AttributeError):
        asked = False
    if not asked:
        sys.stderr.write("this pip does not take markers from where edgewright puts them\n")
        sys.exit(UNKNOWN_PIP)
    sys.argv = ["pip", *argv[1:]]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.path.pop(0)  # this file's folder: its neighbours must not stand in for modules that pip imports
    main(sys.argv[1:])
