"""A command on a disk that is full: in a child process, where no file may grow beyond a limit.

Never in this process: the limit would hit the test runner's own output when that goes to a file.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys


def run_limited(words: list[str], limit_bytes: int) -> subprocess.CompletedProcess[str]:
    """Runs ``edgewright WORDS``; writing past ``limit_bytes`` in any one file fails with an OSError."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    # Coverage would write its own file in the child, and meet the limit there.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-B", "-m", "edgewright.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, preexec_fn=limit)
