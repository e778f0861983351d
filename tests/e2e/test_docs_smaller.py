"""The commands of the page on smaller networks (see ``docs_commands``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from docs_commands import check, commands_of

if TYPE_CHECKING:
    from docs_commands import Place


@pytest.mark.parametrize("command", commands_of("smaller"))
def test_the_command_works(command: str, place: Place, unmeasured: dict[str, str]) -> None:
    line = place.runnable(command)
    check(command, line, place.run(line, unmeasured))
