"""One cached step as bytes: what it gave, under digests that are checked before any of it is believed.

The format: a line with the SHA-256 of the second line, that line as JSON (key, facts, cost, and the name, size and
digest of each artefact), then the artefacts one after the other. Nothing in it is ever executed or unpickled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.errors import IntegrityError
from edgewright.optimize.steps.key import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

__all__ = ["Entry", "StepCost", "StepOutput", "pack_entry", "read_cost", "unpack_entry"]

_MAGIC = b"edgewright-step-1 "
_FIRST_LINE = len(_MAGIC) + 64 + 1
_MOST_HEADER = 64 << 20


@dataclass(frozen=True, eq=False)
class StepOutput:
    """What a step gives.

    Attributes:
        artefacts: Name to content: files, or arrays as ``edgewright.bundle.arrays.npz_bytes``.
        facts: What there is to tell about it; plain JSON values.
        evaluations: How many samples or trials it took, so that later runs can be predicted; 0 where none count.
    """

    artefacts: Mapping[str, bytes] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    evaluations: int = 0


@dataclass(frozen=True)
class StepCost:
    """What computing a step took.

    Attributes:
        seconds: Of the whole step.
        evaluations: As in ``StepOutput``.
        unit_seconds: What one float inference of that run's model took; 0.0 where nobody timed it.
    """

    seconds: float
    evaluations: int
    unit_seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Entry:
    """What was read back."""

    output: StepOutput
    cost: StepCost


def pack_entry(key: str, output: StepOutput, seconds: float, unit_seconds: float = 0.0) -> bytes:
    """Writes an entry.

    Args:
        key: Digest of the step's key.
        output: What the step gave.
        seconds: What computing it took.
        unit_seconds: As in ``StepCost``.

    Raises:
        SpecError: The facts are not JSON.
    """
    names = sorted(output.artefacts)
    header = {
        "key": key,
        "seconds": round(seconds, 6),
        "evaluations": output.evaluations,
        "unit_seconds": round(unit_seconds, 9),
        "facts": output.facts,
        "artefacts": [[name, len(output.artefacts[name]), sha256_hex(output.artefacts[name])] for name in names],
    }
    line = json_text(header, "facts of a step").encode()
    return b"".join(
        (_MAGIC, sha256_hex(line).encode(), b"\n", line, b"\n", *(output.artefacts[name] for name in names))
    )


def unpack_entry(data: bytes, key: str) -> Entry:
    """Reads an entry back.

    Args:
        data: The whole file.
        key: Digest of the key it must belong to.

    Raises:
        IntegrityError: Truncated, altered, or another step's.
    """
    end = data.find(b"\n", _FIRST_LINE)
    header = _header(data[:_FIRST_LINE], data[_FIRST_LINE : end if end >= 0 else None])
    if header["key"] != key:
        msg = "it belongs to another step"
        raise IntegrityError(msg)
    artefacts: dict[str, bytes] = {}
    place = end + 1
    for name, size, digest in header["artefacts"]:
        content = data[place : place + size]
        if len(content) != size or sha256_hex(content) != digest:
            msg = f"its artefact {name!r} is truncated or altered"
            raise IntegrityError(msg)
        artefacts[name] = content
        place += size
    if place != len(data):
        msg = "something was appended to it"
        raise IntegrityError(msg)
    cost = _cost(header)
    return Entry(StepOutput(artefacts, header["facts"], cost.evaluations), cost)


def read_cost(stream: BinaryIO) -> StepCost:
    """Reads only what an entry cost.

    Args:
        stream: An entry, opened for reading bytes.

    Raises:
        IntegrityError: It is not an entry, or its header is damaged.
    """
    first = stream.read(_FIRST_LINE)
    header = _header(first, stream.readline(_MOST_HEADER).removesuffix(b"\n"))
    return _cost(header)


def _cost(header: Mapping[str, Any]) -> StepCost:
    return StepCost(float(header["seconds"]), int(header["evaluations"]), float(header["unit_seconds"]))


def _header(first: bytes, line: bytes) -> dict[str, Any]:
    """The header, its digest and its shape checked."""
    if not first.startswith(_MAGIC) or first[len(_MAGIC) :] != sha256_hex(line).encode() + b"\n":
        msg = "its header is truncated or altered"
        raise IntegrityError(msg)
    return _checked(json.loads(line))


def _checked(header: Any) -> dict[str, Any]:
    """The header, its shape checked: whoever can write into the folder can write a digest as well."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "key": str,
        "seconds": (int, float),
        "evaluations": int,
        "unit_seconds": (int, float),
        "facts": dict,
    }
    told = isinstance(header, dict) and all(isinstance(header.get(name), kind) for name, kind in kinds.items())
    rows = header.get("artefacts") if told else None
    if not isinstance(rows, list) or not all(_is_artefact(row) for row in rows):
        msg = "its header is not one that this program wrote"
        raise IntegrityError(msg)
    return dict(header)


def _is_artefact(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != 3:
        return False
    name, size, digest = row
    return isinstance(name, str) and type(size) is int and size >= 0 and isinstance(digest, str)
