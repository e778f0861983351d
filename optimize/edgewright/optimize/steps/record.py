"""What a run consisted of, remembered by the name of its output, so that the next run can be explained."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from edgewright.bundle.atomic import write_text
from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.errors import EdgewrightError
from edgewright.optimize.steps.key import StepInput, StepKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["StepRecord", "read_run", "write_run"]

_FORMAT = 1
_FOLDER = "runs"


@dataclass(frozen=True)
class StepRecord:
    """One step of a run.

    Attributes:
        name: Of the step.
        version: Of its code.
        params: Its settings.
        inputs: What it read.
        tools: Versions of what worked on it.
        digest: Of all that together.
        hit: It came from the cache.
        damaged: The cache had an entry that could not be trusted.
    """

    name: str
    version: int
    params: Mapping[str, Any]
    inputs: Mapping[str, StepInput]
    tools: Mapping[str, str]
    digest: str
    hit: bool
    damaged: bool = field(default=False)

    @classmethod
    def of(cls, key: StepKey, *, hit: bool, damaged: bool = False) -> StepRecord:
        """The record of a step that ran, or was taken from the cache."""
        # Through JSON, so that a record compares equal to the one that is read back.
        params = json.loads(json.dumps(dict(key.params)))
        return cls(key.name, key.version, params, dict(key.inputs), dict(key.tools), key.digest, hit, damaged)


def write_run(folder: Path, output: str, records: Sequence[StepRecord]) -> None:
    """Remembers a run.

    Args:
        folder: Of the cache.
        output: What the run was for, such as the path of its bundle.
        records: Its steps in order.

    Raises:
        OutputError: The folder cannot be written.
    """
    text = json.dumps({"format": _FORMAT, "output": output, "steps": [asdict(record) for record in records]})
    write_text(_path(folder, output), text)


def read_run(folder: Path, output: str) -> tuple[StepRecord, ...] | None:
    """The last run for ``output``; None where there is none, or none that can be read."""
    try:
        data = json.loads(_path(folder, output).read_text(encoding="utf-8"))
        if data["format"] != _FORMAT or data["output"] != output:
            return None
        return tuple(_record(values) for values in data["steps"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, EdgewrightError):
        # A record only serves to explain; a damaged one is as good as none.
        return None


def _record(values: Mapping[str, Any]) -> StepRecord:
    inputs = {name: StepInput(**given) for name, given in values["inputs"].items()}
    return StepRecord(**{**values, "inputs": inputs})


def _path(folder: Path, output: str) -> Path:
    return folder / _FOLDER / f"{sha256_hex(output.encode())}.json"
