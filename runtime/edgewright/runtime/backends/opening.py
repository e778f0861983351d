"""From a variant's format to the engine that runs it here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Format, Precision
from edgewright.runtime.backends.choice import NO_WISHES, PROCESSOR, BackendName, backends_for, why_not
from edgewright.runtime.backends.litert import DEFAULT_DELEGATE, LiteRtBackend
from edgewright.runtime.backends.onnx import OnnxBackend, Provider
from edgewright.runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.runtime.backends.base import Backend
    from edgewright.runtime.backends.choice import EngineOptions

__all__ = ["open_backend"]


def open_backend(
    form: Format,
    model: bytes,
    *,
    threads: int = 1,
    engine: Mapping[str, Any] | None = None,
    name: BackendName | None = None,
    options: EngineOptions = NO_WISHES,
    precision: Precision | None = None,
) -> Backend:
    """Loads a model file into an engine of this machine.

    Args:
        form: Format of the file.
        model: The file.
        threads: For one run of the model.
        engine: ``Variant.engine``.
        name: The backend to take, which must be there; None takes the best that ``options`` names and this machine
            has, else the processor.
        options: What the owner of the machine says of its engines.
        precision: Arithmetic of the file; tells TensorRT what it may compute in.

    Raises:
        MissingExtraError: The engine is not installed.
        BrokenPackageError: It is, and cannot be loaded.
        BackendError: The backend is not there, does not run such files, or refuses this one.
    """
    chosen = name or _preferred(form, options)
    if chosen.file_format is not form:
        fitting = ", ".join(each.value for each in BackendName if each.file_format is form)
        msg = f"backend {chosen.value!r} does not run {form.value} variants; those run on {fitting}"
        raise BackendError(msg)
    if form is Format.ONNX:
        half, whole = precision is Precision.FLOAT16, precision is Precision.INT8
        provider = Provider(chosen, options.cache, half, whole, options.providers)
        return OnnxBackend(model, threads=threads, engine=engine, provider=provider)
    if not options.xnnpack:
        engine = {**(engine or {}), DEFAULT_DELEGATE: False}
    if chosen is BackendName.LITERT_XNNPACK:
        return LiteRtBackend(model, threads=threads, engine=engine)
    if options.delegate is None:
        msg = f"backend {chosen.value!r} cannot run: {why_not(chosen, options)}; give its path"
        raise BackendError(msg)
    return LiteRtBackend(model, threads=threads, engine=engine, delegate=options.delegate)


def _preferred(form: Format, options: EngineOptions) -> BackendName:
    """The first that the owner named and that is there; one nobody named is never taken but the processor."""
    there = backends_for(form, options) if options.backends else ()
    return next((each for each in there if each in options.backends), PROCESSOR[form])
