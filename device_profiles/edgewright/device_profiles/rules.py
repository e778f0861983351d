"""What a field of a profile may say: its kind, its range or its choices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.device_profiles.pipelines import PIPELINE_KINDS, pipeline_problem
from edgewright.device_profiles.schema import IntegerDot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "BACKENDS",
    "FIELDS",
    "FORMAT_FIELDS",
    "KERNEL",
    "PIPELINES",
    "PROVIDER_FIELDS",
    "PROVIDER_OPTIONS",
    "Flag",
    "Number",
    "Rule",
    "Scalar",
    "Text",
    "Texts",
    "text_problem",
]

BACKENDS = ("onnxruntime-cpu", "onnxruntime-cuda", "onnxruntime-tensorrt", "litert-xnnpack", "litert-delegate")
"""Engines with what they compute on, as the runtime names them."""

_LONGEST_TEXT = 300
_MOST_TEXTS = 64
_BOUND = 1 << 53


@dataclass(frozen=True)
class Number:
    """A number in a range; the bounds are allowed.

    Attributes:
        low: Smallest.
        high: Largest.
        whole: Whether it must be a whole number.
    """

    low: float
    high: float
    whole: bool = True

    def read(self, value: Any) -> Any:
        """The value as the profile holds it.

        Raises:
            ValueError: It is not allowed; the message says what is.
        """
        # A bool is an int to isinstance, and no number of cores.
        kinds = int if self.whole else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        # No comparison holds for NaN, and the bounds are finite.
        if not fits or not self.low <= value <= self.high:
            msg = f"a {'whole ' if self.whole else ''}number from {self.low:g} to {self.high:g}"
            raise ValueError(msg)
        return value if self.whole else float(value)


@dataclass(frozen=True)
class Text:
    """One line of text.

    Attributes:
        choices: What it can be; anything when empty.
        pattern: What it must match as a whole; None where anything goes.
        shown: The pattern in words.
        problem: Says what is wrong with a text, None when nothing is.
    """

    choices: tuple[str, ...] = ()
    pattern: str | None = None
    shown: str = "one line of text"
    problem: Callable[[str], str | None] | None = None

    def read(self, value: Any) -> str:
        """The text.

        Raises:
            ValueError: It is not allowed; the message says what is.
        """
        if self.choices and (not isinstance(value, str) or value not in self.choices):
            msg = f"one of {', '.join(self.choices)}"
            raise ValueError(msg)
        # A pipeline has a bound of its own.
        flaw = text_problem(value, _LONGEST_TEXT if self.problem is None else 2 * _LONGEST_TEXT)
        if flaw is not None or (self.pattern is not None and not re.fullmatch(self.pattern, value)):
            raise ValueError(self.shown if flaw is None else f"{self.shown}; {flaw}")
        said = None if self.problem is None else self.problem(value)
        if said is not None:
            msg = f"{self.shown}; {said}"
            raise ValueError(msg)
        return str(value)


@dataclass(frozen=True)
class Texts:
    """A list of texts, each of them once.

    Attributes:
        item: What each must be.
        empty: Whether there may be none.
    """

    item: Text
    empty: bool = False

    def read(self, value: Any) -> tuple[str, ...]:
        """The texts, in their order.

        Raises:
            ValueError: It is no such list; the message says what is one.
        """
        if not isinstance(value, (list, tuple)) or not (value or self.empty) or len(value) > _MOST_TEXTS:
            msg = f"a list of {0 if self.empty else 1} to {_MOST_TEXTS} texts"
            raise ValueError(msg)
        try:
            texts = tuple(self.item.read(text) for text in value)
        except ValueError as error:
            msg = f"a list, each {error}"
            raise ValueError(msg) from None
        if len(set(texts)) < len(texts):
            msg = "a list that names nothing twice"
            raise ValueError(msg)
        return texts


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    def read(self, value: Any) -> bool:
        """The answer.

        Raises:
            ValueError: It is none.
        """
        if not isinstance(value, bool):
            msg = "true or false"
            raise ValueError(msg)  # noqa: TRY004 - one kind of error for the caller
        return value


@dataclass(frozen=True)
class Scalar:
    """A text, a whole number or a flag, as an option of a provider is."""

    def read(self, value: Any) -> str | int | bool:
        """The value.

        Raises:
            ValueError: It is none of them.
        """
        if isinstance(value, bool):
            return value
        if isinstance(value, int) and abs(value) < _BOUND:
            return value
        if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.,:+-]{1,64}", value):
            return value
        msg = "true, false, a whole number, or a word of letters, digits and _ . , : + -"
        raise ValueError(msg)


Rule = Number | Text | Texts | Flag | Scalar


def text_problem(value: Any, longest: int = _LONGEST_TEXT) -> str | None:
    """Why a value is not one line of text that can be shown; None when it is."""
    if not isinstance(value, str):
        return "it is no text"
    if not value.strip() or value != value.strip():
        return "it is empty, or has spaces around it"
    if len(value) > longest:
        return f"it has {len(value)} characters, at most {longest} are allowed"
    return None if value.isprintable() else "it has characters that cannot be shown"


_VERSION = r"[0-9]{1,2}\.[0-9]{1,3}"
_DEVICE = r"/dev/[A-Za-z0-9/_-]+|[A-Za-z0-9][A-Za-z0-9 @:/_.,()+-]*"

FIELDS: Mapping[str, Rule] = {
    "architecture": Text(choices=("x86_64", "aarch64")),
    "processor": Text(),
    "accelerator": Text(),
    "instructions": Texts(Text(pattern=r"[a-z0-9_]{1,32}", shown="the kernel's name of an instruction set")),
    "cores": Number(1, 1024),
    "memory_mb": Number(64, 1 << 24),
    "threads": Number(1, 1024),
    "backends": Texts(Text(choices=BACKENDS)),
    "sources": Texts(Text(choices=("file", "folder", "usb", "rtsp", "http", "csi"))),
    "cameras": Texts(Text(pattern=_DEVICE, shown="a camera such as /dev/video0"), empty=True),
    "warn_celsius": Number(30, 130),
    "throttle_celsius": Number(30, 130),
    "memory_bandwidth_gbs": Number(0.001, 1e5, whole=False),
    "fsync_ms": Number(1e-4, 1e5, whole=False),
    "os": Text(),
    "python": Texts(Text(pattern=_VERSION, shown="a version such as 3.11")),
    "glibc": Text(pattern=_VERSION, shown="a version such as 2.36"),
    "wheel_platforms": Texts(
        Text(pattern=r"(?:manylinux|linux|musllinux)[a-z0-9_]+", shown="a tag such as manylinux_2_28_aarch64")
    ),
    "memory_max_mb": Number(32, 1 << 24),
    "watchdog_s": Number(1, 3600),
    "cpu_quota": Number(1, 102400),
    "emulated": Flag(),
    "integer_dot": Text(choices=tuple(dot.value for dot in IntegerDot)),
}
"""Rules of the fields that stand alone, by name."""

FORMAT_FIELDS: Mapping[str, Rule] = {
    "activations": Text(choices=("uint8", "int8")),
    "weights": Text(choices=("uint8", "int8")),
    "weight_bits": Number(7, 8),
    "per_channel": Flag(),
}
"""Rules of the fields of ``[formats.BACKEND]``."""

PROVIDER_FIELDS: Mapping[str, Rule] = {
    "name": Text(choices=("CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider")),
}
"""Rules of the fields of ``[providers.BACKEND]``, without its options."""

# Options that are a board's business. None names a file or a folder: where something is written is for the owner of the
# machine to say, not for a profile that may come from elsewhere. None chooses the arithmetic: the file's precision does.
PROVIDER_OPTIONS = frozenset(
    {
        "arena_extend_strategy",
        "cudnn_conv_algo_search",
        "device_id",
        "gpu_mem_limit",
        "trt_builder_optimization_level",
        "trt_max_workspace_size",
    }
)
"""Names that ``[providers.BACKEND.options]`` may have."""

PIPELINES: Mapping[str, Rule] = {
    kind: Text(shown="a GStreamer pipeline from a camera to appsink", problem=pipeline_problem)
    for kind in PIPELINE_KINDS
}
"""Rules of the fields of ``[gstreamer]``."""

# The smallest float that is no zero: throughputs are above 0.
KERNEL = Number(5e-324, 1e9, whole=False)
"""Rule of every field of ``[kernels.BACKEND]``."""
