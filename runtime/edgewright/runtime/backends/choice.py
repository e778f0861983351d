"""Which engine runs a variant on this machine: names, what is installed, and what the owner of the machine prefers.

An engine together with what it computes on is a **backend** and has the name that device profiles use:

- ``onnxruntime-cpu``, ``onnxruntime-cuda``, ``onnxruntime-tensorrt`` run ``.onnx`` variants;
- ``litert-xnnpack`` and ``litert-delegate`` run ``.tflite`` variants, the latter with a delegate library that the owner
  of the machine names by its path.

Everything here comes from the machine and its owner, nothing from a bundle: a bundle may not name a library to load or
a folder to write to.
"""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass, field
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.manifest import Format
from edgewright.runtime.backends.ort import import_onnxruntime
from edgewright.runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgewright.device_profiles.profile import DeviceProfile

__all__ = [
    "LITERT_PACKAGES",
    "NO_WISHES",
    "PROCESSOR",
    "PROVIDERS",
    "BackendName",
    "Delegate",
    "EngineOptions",
    "backends_for",
    "backends_of_profile",
    "engine_cache_folder",
    "engine_options",
    "engine_version",
    "options_as_json",
    "options_from_json",
    "read_backend_name",
    "why_no_engine",
    "why_not",
]


class BackendName(str, Enum):
    """An engine and what it computes on."""

    ONNXRUNTIME_CPU = "onnxruntime-cpu"
    ONNXRUNTIME_CUDA = "onnxruntime-cuda"
    ONNXRUNTIME_TENSORRT = "onnxruntime-tensorrt"
    LITERT_XNNPACK = "litert-xnnpack"
    LITERT_DELEGATE = "litert-delegate"

    @property
    def file_format(self) -> Format:
        """The files that it runs."""
        return Format.ONNX if self in PROVIDERS else Format.TFLITE


PROVIDERS: Mapping[BackendName, str] = {
    BackendName.ONNXRUNTIME_CPU: "CPUExecutionProvider",
    BackendName.ONNXRUNTIME_CUDA: "CUDAExecutionProvider",
    BackendName.ONNXRUNTIME_TENSORRT: "TensorrtExecutionProvider",
}
"""ONNX Runtime's own name of what a backend computes on."""

PROCESSOR: Mapping[Format, BackendName] = {
    Format.ONNX: BackendName.ONNXRUNTIME_CPU,
    Format.TFLITE: BackendName.LITERT_XNNPACK,
}
"""The backend that needs nothing but its engine."""

LITERT_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "ai_edge_litert": ("ai-edge-litert",),
    "tflite_runtime": ("tflite-runtime",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-aarch64"),
}
"""Packages that bring a TFLite interpreter, best first, and the names under which each is installed."""

_ONNXRUNTIME = ("onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True)
class Delegate:
    """A library that LiteRT hands operators to, such as that of an accelerator.

    Attributes:
        library: Path of the shared library; never just a name that the system would search for.
        options: Told to the library.
    """

    library: Path
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineOptions:
    """What the owner of the machine says of its engines.

    Attributes:
        backends: In the order of preference; what is not named comes after, the CPU first.
        delegate: For ``litert-delegate``.
        cache: Folder where TensorRT keeps compiled engines, which take minutes to make; None keeps none.
        xnnpack: False makes LiteRT compute with its own kernels, as a package without XNNPACK does. Their integers differ
            from XNNPACK's by some steps at the end of a deep network.
        providers: Options of ONNX Runtime's execution providers, by backend. What a file's precision demands and where
            engines are kept is not among them: the runtime sets that itself.
    """

    backends: tuple[BackendName, ...] = ()
    delegate: Delegate | None = None
    cache: Path | None = None
    xnnpack: bool = True
    providers: Mapping[BackendName, Mapping[str, str]] = field(default_factory=dict)


NO_WISHES = EngineOptions()
"""What holds where nobody said anything: the processor."""


def engine_options(
    profile: DeviceProfile | None = None,
    delegate: Path | None = None,
    told: Sequence[str] = (),
    cache: Path | None = None,
) -> EngineOptions:
    """What the owner says, put together.

    Args:
        profile: The board; its backends are preferred in its order, and get the options it has for them.
        delegate: Library for ``litert-delegate``.
        told: Options of that library, each ``key=value``.
        cache: Folder for compiled engines.

    Raises:
        BackendError: The profile names an unknown backend, or an option is none.
    """
    odd = [text for text in told if not text.partition("=")[1] or not text.partition("=")[0]]
    if odd:
        msg = f"{odd[0][:40]!r} is no option of a delegate; write key=value"
        raise BackendError(msg)
    if told and delegate is None:
        msg = "options of a delegate mean nothing without its library; name it, too"
        raise BackendError(msg)
    options = {key: value for key, _, value in (text.partition("=") for text in told)}
    return EngineOptions(
        () if profile is None else backends_of_profile(profile),
        None if delegate is None else Delegate(delegate, options),
        cache,
        providers={} if profile is None else _provider_options(profile),
    )


def engine_cache_folder() -> Path:
    """Where compiled engines are kept unless another folder is named: in the user's cache folder."""
    told = os.environ.get("XDG_CACHE_HOME")
    root = Path(told) if told else Path.home() / ".cache"
    return root / "edgewright" / "engines"


def options_as_json(options: EngineOptions) -> str:
    """For a process that is to run the same engines."""
    delegate = options.delegate
    return json.dumps(
        {
            "backends": [name.value for name in options.backends],
            "delegate": None if delegate is None else [str(delegate.library.absolute()), dict(delegate.options)],
            "cache": None if options.cache is None else str(options.cache.absolute()),
            "xnnpack": options.xnnpack,
            "providers": {name.value: dict(rows) for name, rows in options.providers.items()},
        }
    )


def options_from_json(text: str) -> EngineOptions:
    """The reverse of ``options_as_json``."""
    told = json.loads(text)
    delegate = told["delegate"]
    return EngineOptions(
        tuple(BackendName(name) for name in told["backends"]),
        None if delegate is None else Delegate(Path(delegate[0]), delegate[1]),
        None if told["cache"] is None else Path(told["cache"]),
        told["xnnpack"],
        {BackendName(name): rows for name, rows in told["providers"].items()},
    )


def read_backend_name(text: str) -> BackendName:
    """The backend called ``text``.

    Raises:
        BackendError: There is none.
    """
    try:
        return BackendName(text)
    except ValueError as error:
        msg = f"no backend is called {text[:40]!r}; there are {', '.join(name.value for name in BackendName)}"
        raise BackendError(msg) from error


def backends_of_profile(profile: DeviceProfile) -> tuple[BackendName, ...]:
    """The backends of a device profile, in its order.

    Raises:
        BackendError: The profile names one that this version does not know.
    """
    return () if profile.backends is None else tuple(read_backend_name(name) for name in profile.backends.value)


def _provider_options(profile: DeviceProfile) -> dict[BackendName, dict[str, str]]:
    return {
        read_backend_name(backend): {name: str(known.value) for name, known in provider.options.items()}
        for backend, provider in profile.providers.items()
        if provider.options
    }


def backends_for(form: Format, options: EngineOptions = NO_WISHES) -> tuple[BackendName, ...]:
    """The backends of this machine that run files of one format, best first; empty when there is none."""
    ordered = dict.fromkeys((*options.backends, *BackendName))
    return tuple(name for name in ordered if name.file_format is form and why_not(name, options) is None)


def why_no_engine(form: Format) -> str | None:
    """Why nothing here runs files of one format, in words; None when an engine is installed. Loads no engine."""
    return why_not(PROCESSOR[form])


def why_not(name: BackendName, options: EngineOptions = NO_WISHES) -> str | None:
    """Why a backend cannot run here, in words; None when it can, as far as can be told without a model."""
    if name in PROVIDERS:
        return _why_no_provider(PROVIDERS[name])
    if _installed_litert() is None:
        return "no TFLite interpreter is installed; install one with: pip install 'edgewright[tflite]'"
    if name is BackendName.LITERT_DELEGATE:
        if options.delegate is None:
            return "no delegate library was named"
        if not options.delegate.library.is_file():
            return f"there is no delegate library {options.delegate.library}"
    return None


def engine_version(name: BackendName) -> str | None:
    """The engine of a backend and its version, such as ``onnxruntime 1.32.0``; None when it is not installed.

    Nothing is imported for it, for a device that runs one engine need not load the other.
    """
    if name in PROVIDERS:
        if not _is_there("onnxruntime"):
            return None
        on = "" if name is BackendName.ONNXRUNTIME_CPU else f" on {name.value.partition('-')[2]}"
        return f"onnxruntime {_version(_ONNXRUNTIME)}{on}"
    package = _installed_litert()
    if package is None:
        return None
    distributions = LITERT_PACKAGES[package]
    on = "" if name is BackendName.LITERT_XNNPACK else " with a delegate"
    return f"LiteRT {_version(distributions)} ({distributions[0]}){on}"


def _why_no_provider(provider: str) -> str | None:
    if not _is_there("onnxruntime"):
        return "onnxruntime is not installed; install it with: pip install 'edgewright[onnx]'"
    if provider == PROVIDERS[BackendName.ONNXRUNTIME_CPU]:
        return None  # every build has it, and asking would load the engine
    try:
        ort = import_onnxruntime()
    except ImportError as error:
        return f"onnxruntime is installed but cannot be loaded: {' '.join(str(error).split())}"
    available = ort.get_available_providers()
    if provider in available:
        return None
    return f"this build of onnxruntime has no {provider}; it has {', '.join(available)}"


def _installed_litert() -> str | None:
    return next((package for package in LITERT_PACKAGES if _is_there(package)), None)


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # a half-removed package, or one that is kept from being imported
        return False


def _version(distributions: tuple[str, ...]) -> str:
    found = (_installed_version(distribution) for distribution in distributions)
    return next((version for version in found if version is not None), "of unknown version")


def _installed_version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
