"""Runs the ``edgewright`` command in this process and writes what it took: ``measured.py ANSWER.json ARGUMENTS...``.

The peak is read from this process's own memory map; what a parent is told of a child also counts the parent, which a
fresh child shares for a moment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from edgewright.cli.main import main as edgewright
from edgewright.runtime.machine import peak_memory_bytes


def main() -> int:
    """The child; returns the command's exit status."""
    answer, arguments = Path(sys.argv[1]), sys.argv[2:]
    started = time.perf_counter()
    status = edgewright(arguments)
    taken = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": sum(os.times()[:4]),
        "peak_memory_bytes": peak_memory_bytes(),
        "status": status,
    }
    answer.write_text(json.dumps(taken), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
