"""Makes an environment from a wheelhouse: ``python3 install.py WHEELS TARGET``. Needs no network and no edgewright.

Every wheel is compared with the SHA-256 in ``wheelhouse.json`` first.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import venv
from pathlib import Path


def main(argv: list[str]) -> int:
    """Checks, makes the environment, installs."""
    if len(argv) != 2:
        sys.exit("usage: install.py WHEELS TARGET")
    wheels, target = Path(argv[0]), Path(argv[1])
    index = wheels / "wheelhouse.json"
    if not index.is_file():
        sys.exit(f"{wheels} is no wheelhouse; make it with: edgewright wheelhouse {wheels.name} --profile NAME")
    said = json.loads(index.read_text(encoding="utf-8"))
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if said["python"] != here:
        sys.exit(
            f"the wheels are for Python {said['python']}, this image has {here}; build with PYTHON={said['python']}"
        )
    for row in said["wheels"]:
        path = wheels / row["file"]
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
            sys.exit(f"{row['file']} is missing or was altered; make the wheelhouse again")
    venv.create(target, with_pip=True)
    pip = [str(target / "bin/python"), "-m", "pip", "--disable-pip-version-check"]
    only = ["--no-index", "--no-cache-dir", f"--find-links={wheels}"]
    subprocess.run([*pip, "install", *only, *said["requirements"]], check=True)
    subprocess.run([*pip, "uninstall", "--yes", "--quiet", "pip", "setuptools"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
