"""Figures of the README stand in a page that a script wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_what_a_device_installs_is_what_the_footprint_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import update_readme

    page = (ROOT / "docs/reference/footprint.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert update_readme.replaced(readme, "footprint", update_readme.installed(page)) == readme
    other = page.replace("| `onnx` | ", "| `onnx` | 1")
    assert update_readme.replaced(readme, "footprint", update_readme.installed(other)) != readme
    with pytest.raises(SystemExit, match="does not look like a page"):
        update_readme.installed("# Another page")
