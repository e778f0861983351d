"""Wheels for tests: small ones that hold nothing, and those of the packages that are installed here."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


# Compiling these is most of what installing costs.
_UNUSED = {"tests", "transformers", "quantization", "tools"}


def empty_wheel(folder: Path, name: str, version: str, tag: str = "py3-none-any", requires: Iterable[str] = ()) -> Path:
    """A wheel with one module that says its version."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    wheel = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    files = {
        f"{module}/__init__.py": f"VERSION = {version!r}\n".encode(),
        f"{info}/METADATA": ("\n".join(lines) + "\n").encode(),
        f"{info}/WHEEL": wheel.encode(),
    }
    path = folder / f"{module}-{version}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for inside, data in files.items():
            archive.writestr(inside, data)
        archive.writestr(f"{info}/RECORD", "".join(f"{n},{_sha(d)},{len(d)}\n" for n, d in files.items()))
    return path


def toy_wheel(folder: Path) -> Path:
    """A wheel called edgewright that says its version and needs nothing."""
    info = "edgewright-9.9.dist-info"
    files = {
        "edgewright/cli/main.py": "def main():\n    print('edgewright 9.9', __file__)\nif __name__ == '__main__':\n    main()\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: edgewright\nVersion: 9.9\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nedgewright = edgewright.cli.main:main\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / "edgewright-9.9-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return folder / "edgewright-9.9-py3-none-any.whl"


def board_index(folder: Path) -> Path:
    """What stands for a package index: for boards of several Pythons, another processor, and too new a C library."""
    arm = "manylinux_2_28_aarch64"
    for python in ("cp310", "cp311", "cp313"):
        empty_wheel(folder, "numpy", "2.2.6", f"{python}-{python}-manylinux_2_17_aarch64")
        empty_wheel(folder, "onnxruntime", "1.23.2", f"{python}-{python}-{arm}", ["numpy", "flatbuffers"])
        empty_wheel(folder, "ai-edge-litert", "2.3.0", f"{python}-{python}-{arm}", ["numpy", "flatbuffers"])
    empty_wheel(folder, "numpy", "2.4.6", f"cp311-cp311-{arm}")
    empty_wheel(folder, "numpy", "2.9.0", "cp311-cp311-manylinux_2_39_aarch64")
    empty_wheel(folder, "numpy", "2.8.0", "cp311-cp311-manylinux_2_28_x86_64")
    empty_wheel(folder, "opencv-python-headless", "5.0.0.93", f"cp37-abi3-{arm}", ["numpy>=2; python_version >= '3.9'"])
    for name, version in (("paho-mqtt", "2.2.0"), ("flatbuffers", "25.12.19"), ("tomli", "2.5.0")):
        empty_wheel(folder, name, version)
    return folder


def installed_wheel(folder: Path, name: str) -> Path:
    """The wheel of a package as it is installed here, not compressed and without what only its developers run."""
    distribution = metadata.distribution(name)
    tags = [
        line.partition(": ")[2]
        for line in (distribution.read_text("WHEEL") or "").splitlines()
        if line.startswith("Tag: ")
    ]
    parts = zip(*(tag.split("-") for tag in tags), strict=True)
    tag = "-".join(".".join(dict.fromkeys(part)) for part in parts)
    module = name.replace("-", "_").replace(".", "_")
    path = folder / f"{module}-{distribution.version}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    rows = io.StringIO()
    record = ""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in distribution.files or ():
            if ".." in file.parts or "__pycache__" in file.parts or file.name in {"INSTALLER", "REQUESTED"}:
                continue
            if _UNUSED & set(file.parts[:-1]):
                continue
            if file.name == "RECORD" and file.parent.name.endswith(".dist-info"):
                record = file.as_posix()
                continue
            data = distribution.locate_file(file).read_bytes()  # type: ignore[union-attr]
            archive.writestr(zipfile.ZipInfo(file.as_posix()), data)
            csv.writer(rows).writerow([file.as_posix(), _sha(data), len(data)])
        archive.writestr(zipfile.ZipInfo(record), rows.getvalue() + f"{record},,\r\n")
    return path


def _sha(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
