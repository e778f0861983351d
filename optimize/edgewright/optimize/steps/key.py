"""What determines a step, and the SHA-256 over all of it.

Two runs of a step give the same artefacts if its name, its version, its parameters, the content of its inputs and the
tools that work on them are the same. All of that is in the digest, whole; labels and sources of inputs are not: they
are for people, and a picture folder that was moved is the same input.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.digest import is_sha256_hex, sha256_hex
from edgewright.optimize.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["StepInput", "StepKey", "input_of", "is_step_name", "json_text", "tool_versions"]

_FORMAT = 1
_TOOLS = ("onnx", "onnxruntime", "numpy")
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_LONGEST_NAME = 64


@dataclass(frozen=True)
class StepInput:
    """Something a step reads.

    Attributes:
        digest: SHA-256 of its content, lower-case hex; the only part that counts.
        label: What people call it, such as ``clip.avi#1::8``.
        source: Name of the step that made it, empty for what came from outside.
    """

    digest: str
    label: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """Refuses a shortened digest, under which two inputs could meet.

        Raises:
            SpecError: It is not a whole SHA-256.
        """
        if not is_sha256_hex(self.digest):
            msg = f"input {self.label!r} needs a whole SHA-256 in lower-case hex, not {self.digest!r}"
            raise SpecError(msg)


def tool_versions(*further: str) -> dict[str, str]:
    """Versions of the packages that every step depends on, and of ``further`` ones.

    edgewright's own carries the digest of its code: in a checkout the number stays while the code changes.

    Args:
        further: Names of distributions, such as ``torch``.

    Returns:
        Distribution to version; ``absent`` for what is not installed.
    """
    return {
        "edgewright": f"{_version('edgewright')}+{_code_digest()}",
        **{name: _version(name) for name in (*_TOOLS, *further)},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


@cache
def _code_digest() -> str:
    """SHA-256 over the Python files that steps are made of, hex; read once a process, like the code itself."""
    import edgewright.bundle
    import edgewright.optimize
    import edgewright.runtime

    digest = hashlib.sha256()
    for portion in (edgewright.bundle, edgewright.optimize, edgewright.runtime):
        root = Path(str(portion.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{portion.__name__}/{path.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


@dataclass(frozen=True)
class StepKey:
    """Everything that determines a step.

    Attributes:
        name: Of the step, lower-case letters, digits and hyphens, such as ``calibrate``.
        version: Raised whenever the step's code gives other results.
        params: Its settings; plain JSON values.
        inputs: What it reads, by the name it has there.
        tools: Package name to version of everything whose release could change the result.
    """

    name: str
    version: int = 1
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, StepInput] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=tool_versions)

    def __post_init__(self) -> None:
        """Refuses names that cannot be file names, and parameters that are not JSON.

        Raises:
            SpecError: Naming what cannot be.
        """
        if not is_step_name(self.name):
            msg = f"a step is named in lower-case letters, digits and hyphens, not {self.name!r}"
            raise SpecError(msg)
        json_text(self.params, f"parameters of step {self.name!r}")

    @property
    def digest(self) -> str:
        """SHA-256 over all of it, lower-case hex."""
        content = {
            "format": _FORMAT,
            "name": self.name,
            "version": self.version,
            "params": self.params,
            "inputs": {name: given.digest for name, given in self.inputs.items()},
            "tools": self.tools,
        }
        return sha256_hex(json_text(content, self.name).encode())


def is_step_name(text: str) -> bool:
    """Whether ``text`` may name a step."""
    return 0 < len(text) <= _LONGEST_NAME and set(text) <= _NAME_CHARACTERS and not text.startswith("-")


def input_of(data: bytes, label: str = "", source: str = "") -> StepInput:
    """An input by its content.

    Args:
        data: The whole content.
        label: What people call it.
        source: Name of the step that made it.
    """
    return StepInput(sha256_hex(data), label, source)


def json_text(value: Any, what: str) -> str:
    """``value`` as JSON, the same text for the same value.

    Args:
        value: Plain JSON values; tuples count as lists.
        what: What to call it in errors.

    Raises:
        SpecError: Something in it is not JSON, or a number is not finite.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"{what} must be plain JSON values (texts, finite numbers, lists, tables): {error}"
        raise SpecError(msg) from error
