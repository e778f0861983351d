"""The built wheel works with the source tree absent."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from bundles import write_detector

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT))
    (built,) = out.glob("*.whl")
    return built


def run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {
        p.relative_to(ROOT / root).as_posix()
        for root in ("optimize", "runtime", "sync", "device_profiles")
        for p in (ROOT / root).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert inside == sources


def test_it_runs_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    python = home / "bin/python"
    run(sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel))
    # Third-party packages are borrowed by path; a plain path entry does not run their .pth files, so our own
    # editable install stays out of sight.
    site = run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    (Path(site) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    code = "import edgewright.bundle, edgewright.optimize, edgewright.cloud as m; print(m.__file__)"
    seen = run(str(python), "-c", code, cwd=tmp_path)
    assert seen.startswith(str(home))
    bundle = write_detector(tmp_path / "d.edge")
    assert "PASS" in run(str(home / "bin/edgewright"), "verify", str(bundle), cwd=tmp_path)
    assert "raspberry-pi-5" in run(str(home / "bin/edgewright"), "profiles", "list", cwd=tmp_path)
