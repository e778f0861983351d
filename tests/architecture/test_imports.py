"""The device half stands alone, and importing anything does nothing."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEVICE = ("bundle", "device_profiles", "runtime", "sync", "device")
BLOCKED = ("torch", "tensorflow", "onnx", "neural_compressor", "onnxscript", "scipy", "pycocotools", "rich")


def modules(portions: tuple[str, ...]) -> list[str]:
    found = []
    for portion in portions:
        (folder,) = [p for p in ROOT.glob(f"*/edgewright/{portion}") if p.is_dir()]
        name = f"edgewright.{portion}"
        found += [name] + [m.name for m in pkgutil.walk_packages([str(folder)], prefix=f"{name}.")]
    return found


def child(code: str) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_walk_finds_every_file() -> None:
    files = [p for portion in DEVICE for p in ROOT.glob(f"*/edgewright/{portion}/**/*.py")]
    assert len(modules(DEVICE)) == len(files)


def test_device_modules_import_without_any_training_framework() -> None:
    child(
        "import sys, importlib\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {BLOCKED!r}: raise ImportError('blocked: ' + name)\n"
        "sys.meta_path.insert(0, Block())\n"
        f"for name in {modules(DEVICE)!r}: importlib.import_module(name)\n"
    )


def test_the_block_really_blocks() -> None:
    with pytest.raises(AssertionError, match="blocked: onnx"):
        child(
            "import sys\n"
            "class Block:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'onnx': raise ImportError('blocked: ' + name)\n"
            "sys.meta_path.insert(0, Block())\n"
            "import onnx\n"
        )


def test_importing_starts_no_thread_opens_no_socket_and_sets_no_variable() -> None:
    everything = modules((*DEVICE, "cloud", "optimize", "cli"))
    child(
        "import importlib, os, socket, threading\n"
        "import cv2, numpy\n"  # what libraries do at their import is their affair
        "before = dict(os.environ)\n"
        "def refuse(*a, **k): raise AssertionError('socket at import')\n"
        "socket.socket.connect = refuse; socket.socket.bind = refuse; socket.getaddrinfo = refuse\n"
        f"for name in {everything!r}: importlib.import_module(name)\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert dict(os.environ) == before\n"
    )


def test_no_init_file_stands_directly_under_the_namespace() -> None:
    assert not list(ROOT.glob("*/edgewright/__init__.py"))
    portions = [p for p in ROOT.glob("*/edgewright/*") if p.is_dir() and p.name != "__pycache__"]
    assert len(portions) == 9
    assert all((p / "__init__.py").is_file() and (p / "py.typed").is_file() for p in portions)
