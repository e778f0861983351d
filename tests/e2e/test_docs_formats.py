"""The commands of the pages on two formats and on the Keras detector (see ``docs_commands``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from docs_commands import check, commands_of

if TYPE_CHECKING:
    from docs_commands import Place


@pytest.mark.parametrize("command", commands_of("formats"))
def test_the_command_works(command: str, place: Place, unmeasured: dict[str, str]) -> None:
    line = place.runnable(command)
    check(command, line, place.run(line, unmeasured))
