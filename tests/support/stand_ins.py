"""Small things in place of large ones, for commands that take whatever they are given."""

from __future__ import annotations

import gzip
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FASHION = {"train": 6000, "t10k": 1000}
_ON_A_BOARD = ("edgewright", "numpy", "opencv-python-headless", "paho-mqtt", "onnxruntime")


def cut_fashion(whole: Path, folder: Path) -> None:
    """The first pictures of each file of Fashion-MNIST, in the form of the whole."""
    folder.mkdir()
    for part, pictures in _FASHION.items():
        for kind, header, size in (("images-idx3", 16, 28 * 28), ("labels-idx1", 8, 1)):
            name = f"{part}-{kind}-ubyte.gz"
            with gzip.open(whole / name) as stream:
                data = stream.read(header + pictures * size)
            cut = data[:4] + pictures.to_bytes(4, "big") + data[8:]
            (folder / name).write_bytes(gzip.compress(cut, compresslevel=1))


def board_programs(environment: Path) -> Path:
    """The folder of programs of an environment that has a board's packages; what is installed here is linked to.

    The doctor imports whatever it finds, which takes ten seconds where the whole workstation half is installed.
    """
    program = environment / "bin" / "edgewright"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
        (packages,) = environment.glob("lib/python*/site-packages")
        for name in _ON_A_BOARD:
            package = metadata.distribution(name)
            for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
                (packages / top).symlink_to(package.locate_file(top))
        start = "from edgewright.cli.main import main\nraise SystemExit(main())\n"
        program.write_text(f"#!{environment}/bin/python\n{start}", encoding="utf-8")
        program.chmod(0o755)
    return program.parent
