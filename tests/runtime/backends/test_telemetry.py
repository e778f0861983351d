"""An engine that reports home has no place on a camera: what ONNX Runtime would leave behind is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from bundles import write_classifier

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = "import onnxruntime"
OURS = """
import sys
from pathlib import Path
from edgewright.bundle.reader import open_bundle
from edgewright.runtime.session import open_session
with open_bundle(Path(sys.argv[1])) as bundle:
    open_session(bundle).close()
assert "onnxruntime" in sys.modules
"""


@pytest.mark.parametrize(("code", "leaves"), [(OURS, False), (PLAIN, True)], ids=["a session", "the engine alone"])
def test_a_session_leaves_nothing_in_the_home_folder(tmp_path: Path, code: str, leaves: bool) -> None:
    """The engine alone is the control: once it leaves nothing either, the switch can go."""
    bundle = write_classifier(tmp_path / "c.edge")
    home = tmp_path / "home"
    home.mkdir()
    # Nothing else of this environment: the engine keeps quiet where it sees a build server.
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    subprocess.run([sys.executable, "-c", code, str(bundle)], env=environment, check=True, timeout=60)
    assert any(home.rglob("*onnxruntime*")) == leaves
