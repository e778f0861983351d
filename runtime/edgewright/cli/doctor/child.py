"""The other side of ``asking``: one probe in a process of its own.

It reads one JSON object, finds out, and prints one JSON object as the last line of its standard output::

    echo '{}' | python -m edgewright.cli.doctor.child onnxruntime
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["PROBES", "doing", "main"]

PROBES: Mapping[str, str] = {
    "onnxruntime": "child_engines:onnxruntime",
    "litert": "child_engines:litert",
    "neural-compressor": "child_engines:neural_compressor",
    "torch-flow": "child_engines:torch_flow",
    "camera": "child_parts:camera",
    "cameras": "child_parts:cameras",
    "broker": "child_parts:broker",
    "bundle": "child_parts:bundle",
    "fsync": "child_parts:fsync",
}
"""Name to ``module:function`` beside this module; imported when it is asked for."""


def main(argv: Sequence[str]) -> int:
    """Runs one probe and prints what it found."""
    module, _, function = PROBES[argv[0]].partition(":")
    request: dict[str, Any] = json.loads(sys.stdin.read() or "{}")
    probe: Callable[[dict[str, Any]], dict[str, Any]]
    probe = getattr(importlib.import_module(f"edgewright.cli.doctor.{module}"), function)
    # Names of files are meant from where the user is; modules are not: their search keeps the empty folder.
    os.chdir(request.pop("cwd", "."))
    print("\n" + json.dumps(probe(request)), flush=True)
    return 0


def doing(what: str) -> None:
    """Says what the probe is about to do, for the case that it never comes back from it."""
    print("\n" + json.dumps({"doing": what}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
