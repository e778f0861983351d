"""What docs/how-to/run-a-camera.md shows is run."""

from __future__ import annotations

import re
import shutil
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.cli.run import add_arguments
from edgewright.device.config import DeviceConfig, load_config
from edgewright.runtime.sources import SourceKind, parse_source

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "run-a-camera.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_configuration_files_load(tmp_path: Path) -> None:
    configs = []
    for text in blocks("toml"):
        (tmp_path / "gate.toml").write_text(text)
        configs.append(load_config(tmp_path / "gate.toml"))
    assert [config.source.name for config in configs] == [None, "gate"]
    assert parse_source(configs[0].source.uri or "").kind is SourceKind.CSI


def test_every_setting_is_on_the_page() -> None:
    tables = [item for item in fields(DeviceConfig) if item.name != "path"]
    assert len(tables) == 6
    for table in tables:
        for setting in fields(type(getattr(DeviceConfig(), table.name))):
            assert re.search(rf"\b{setting.name}\b", PAGE), f"[{table.name}] {setting.name} is not explained"


def test_every_flag_on_the_page_exists() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) <= known


def test_the_python_example_runs(
    clip: Path, detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clip, tmp_path / "clip.avi")
    shutil.copy(detector, tmp_path / "person.edge")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    scope: dict[str, object] = {}
    exec(compile(code, "run-a-camera.md", "exec"), scope)
    scope["main"]()  # type: ignore[operator]
    assert float(capsys.readouterr().out.split()[-1]) > 0
