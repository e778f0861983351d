"""``scripts/systemd``: what it makes of things that go wrong, before its container has booted and after.

Containers stand in here; the script itself boots real ones.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``systemd_stage``, imported."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import systemd_stage

    return systemd_stage


class Stage:
    """A container that cannot be asked anything."""

    def __init__(self, told: Any, work: Path, boot: Callable[[], None] = lambda: None) -> None:
        self.told, self.work, self._boot = told, work, boot
        self.cuts = 0
        self.container = SimpleNamespace(cut_power=self._cut)

    def boot(self) -> None:
        self._boot()

    def _cut(self) -> None:
        self.cuts += 1


def fine(stage: Stage) -> None:
    stage.told.check("all is well", ok=True)


def hangs(_: Stage) -> None:
    raise subprocess.TimeoutExpired(["systemctl", "show"], 200)


def missing() -> None:
    from systemd_container import Unavailable

    raise Unavailable("the container did not boot")


Run = tuple[int, dict[str, Any]]


@pytest.fixture
def run(
    stages: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Run]]:
    """``scripts/systemd --json`` with other containers: exit status and what it prints."""
    import systemd_container

    loader = SourceFileLoader("systemd_script", str(SCRIPTS / "systemd"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    script = module_from_spec(spec)
    loader.exec_module(script)
    monkeypatch.setattr(systemd_container, "need_tools", lambda: None)
    monkeypatch.setattr(systemd_container, "kept_root", lambda cache: cache)
    monkeypatch.setattr(systemd_container, "alone", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(sys, "argv", ["systemd", "--json", "--cache", str(tmp_path)])

    def do(*containers: tuple[Callable[[], None], Mapping[str, Callable[[Stage], None]]]) -> Run:
        def made(args: Any, told: Any, *_: Any) -> list[Any]:
            return [(Stage(told, tmp_path, boot), parts) for boot, parts in containers]

        monkeypatch.setattr(script, "made", made)
        code = script.main()
        return code, json.loads(capsys.readouterr().out)

    before = signal.getsignal(signal.SIGTERM)
    yield do
    signal.signal(signal.SIGTERM, before)


def test_every_check_holds(run: Callable[..., Run]) -> None:
    code, said = run((lambda: None, {"start": fine}), (lambda: None, {"first": fine}))
    assert code == 0
    assert said["ok"] is True
    assert len(said["checks"]) == 2


def test_before_the_first_boot_it_is_this_machine(run: Callable[..., Run]) -> None:
    code, said = run((missing, {"start": fine}))
    assert code == 5
    assert said["error"] == "the container did not boot"


def test_no_check_at_all_is_no_proof(run: Callable[..., Run]) -> None:
    assert run((lambda: None, {"start": lambda _: None}))[0] == 3


def broken(_: Stage) -> None:
    raise OSError(5, "Input/output error")


def unavailable(_: Stage) -> None:
    missing()


@pytest.mark.parametrize("part", [hangs, broken, unavailable, lambda _: {}["nothing"]])
def test_what_goes_wrong_after_it_is_a_check_that_fails(run: Callable[..., Run], part: Callable[[Stage], None]) -> None:
    code, said = run((lambda: None, {"start": fine, "watchdog": part, "power": fine}))
    assert code == 3
    assert said["failed"] == ["watchdog: this part comes to its end", "power: this part is reached"]
    assert "error" not in said


def test_a_container_that_does_not_boot_again_is_a_check_that_fails(run: Callable[..., Run]) -> None:
    code, said = run((lambda: None, {"start": fine}), (missing, {"first": fine}))
    assert code == 3
    assert said["failed"] == ["boot: this part comes to its end", "first: this part is reached"]
    assert "did not boot" in said["checks"][1]["detail"]


def test_a_part_that_does_not_end_is_a_check_that_fails(stages: ModuleType, tmp_path: Path) -> None:
    told = stages.Told(to_stderr=True)
    stages.go_through(Stage(told, tmp_path), {"start": lambda _: time.sleep(60), "stop": fine}, limit_s=0.05)
    assert told.failed == ["start: this part comes to its end", "stop: this part is reached"]
    assert "did not end within 0.05 s" in told.checks[0]["detail"]


def test_a_check_that_does_not_hold_does_not_end_the_story(stages: ModuleType, tmp_path: Path) -> None:
    told = stages.Told(to_stderr=True)
    parts = {"start": lambda stage: stage.told.check("it is up", ok=False), "stop": fine}
    stages.go_through(Stage(told, tmp_path), parts)
    assert told.failed == ["it is up"]
    assert len(told.checks) == 2
