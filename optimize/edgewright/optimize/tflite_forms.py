"""The TFLite forms of a model: the same graphs and the same integers as its ONNX forms, in the other format.

    prepared float graph -> float-tflite, float16-tflite, dynamic-tflite
    best QDQ graph       -> int8-tflite, uint8-input-tflite

``int8-tflite`` suits any engine. ``uint8-input-tflite`` is written for speed: it takes the camera's picture, every pixel
less 128, so that preparing a frame is to resize it; and where this machine is the one to run it and has AMX, narrow layers
are laid out for that unit (``tflite.operators.cells``), which slows other processors down by a few percent.

Where our writer lacks an operator a borrowed converter takes over (see ``edgewright.optimize.converters``): it starts
from the source and calibrates anew, so nothing of what the chain found goes into its file. A note says which route a
file took; the judge treats all alike. Whoever wrote it, the float file must compute what the float graph does: another
scaling of pictures inside, or outputs in another order, would make everything after it wrong.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgewright.bundle.errors import MissingExtraError
from edgewright.bundle.manifest import Format, Layout, Precision, TensorSpec
from edgewright.optimize.converters.borrowed import Names, Route, convert_tensorflow, convert_torch, missing_of
from edgewright.optimize.errors import ConversionError, ModelError, OptimizeError
from edgewright.optimize.parity.measure import as_input
from edgewright.optimize.passes.runner import TOLERANCE, largest_difference, run_onnx
from edgewright.optimize.tflite import TfliteForm, Tuning, write_tflite
from edgewright.optimize.variants.form import COMPACT, ModelForm, form_name
from edgewright.optimize.variants.uint8_input import uint8_input_form
from edgewright.runtime.backends.litert import LiteRtBackend
from edgewright.runtime.errors import RuntimeFailure
from edgewright.runtime.machine import describe_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.chain.run import State
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.converters.borrowed import BorrowedFiles
    from edgewright.optimize.sources import FloatModel
    from edgewright.optimize.tflite import TfliteFile

__all__ = ["WRITER_ROUTE", "TfliteForms", "check_tflite", "compact_tflite_form", "make_tflite_forms"]

WRITER_ROUTE = "edgewright"
"""The route by our own writer; the others are named by ``converters.Route``."""

_CALIBRATED_ON = 64
_FURTHER = {
    "float16": (TfliteForm.FLOAT16, Precision.FLOAT16),
    "dynamic": (TfliteForm.DYNAMIC, Precision.INT8),
}
_REMEDY = "rewrite that part of the model, or choose --formats onnx"
_TENSORFLOW_SUFFIX = ".keras"
_PICTURE = "uint8-input"
_MATRIX_UNIT, _COLUMNS = "amx_int8", 64  # what XNNPACK's kernels for it compute at once


@dataclass(frozen=True, eq=False)
class TfliteForms:
    """What was made.

    Attributes:
        forms: The float form first, then the static INT8 one, then further ones.
        route: Who wrote the files: ``WRITER_ROUTE`` or the name of a borrowed converter.
        notes: What the user should know.
        axes: By form, which ONNX axis each axis of a tensor is, for tensors that bear the name of an ONNX tensor.
    """

    forms: tuple[ModelForm, ...]
    route: str
    notes: tuple[str, ...]
    axes: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)


def check_tflite(prepared: bytes, source: FloatModel, *, model: str, trained: bool) -> None:
    """Refuses a network that nobody here can write as TFLite: before the search, which may take hours.

    Args:
        prepared: Its float graph.
        source: The float model as loaded.
        model: As the user named it.
        trained: Whether another network than the given one is quantized, which no borrowed converter starts from.

    Raises:
        MissingExtraError: A borrowed converter could, and is not installed.
        ConversionError: Naming the operator and the node.
    """
    try:
        write_tflite(prepared, form=TfliteForm.FLOAT32)
    except ConversionError as error:
        route = None if trained else _borrowed_route(source, model)
        if route is None:
            raise ConversionError(error.reason, remedy=_REMEDY) from error
        missing = missing_of(route)
        if missing is not None:
            what = f"{error.reason}; {_REMEDY}, or let {route.value} convert it: {missing[0]} is not installed"
            raise MissingExtraError(what, missing[1]) from error


def make_tflite_forms(
    best: State, prepared: bytes, further: Sequence[str], bench: Workbench, source: FloatModel, *, model: str
) -> TfliteForms:
    """Makes the TFLite forms.

    Args:
        best: What the chain came to.
        prepared: The float graph that everything is held against.
        further: Forms that the chain asks for beside static INT8; those that TFLite has are made.
        bench: Calibration pictures, for a borrowed converter.
        source: The float model as loaded.
        model: As the user named it, for converters that start from the file.

    Raises:
        MissingExtraError: ai-edge-litert is not installed, or a borrowed converter is needed and not installed.
        ConversionError: Nobody here can convert this network.
    """
    with bench.progress.stage("write the TFLite forms"):
        try:
            tuning = Tuning(0 if bench.foreign else _columns(), signed_pixels=True)
            return _written(best, prepared, further, source, tuning)
        except ConversionError as error:
            reason = error
    note = f"TFLite by a borrowed converter, for this version cannot write the graph itself: {reason.reason}"
    bench.progress.note(note)
    with bench.progress.stage("convert by a borrowed converter"):
        made = _borrowed(source, model, bench, reason)
        forms = _as_forms(made)
        _prove(forms[0], prepared, source)
    return TfliteForms(forms, made.route.value, (note, *made.notes))


def compact_tflite_form(prepared: bytes, route: str) -> tuple[ModelForm, ...]:
    """The float form of the network that was made smaller.

    Args:
        prepared: Its float graph.
        route: Who wrote the other forms.

    Raises:
        ConversionError: A borrowed converter did, which starts from the network that was given.
    """
    if route != WRITER_ROUTE:
        msg = "a network that was trained on the way goes to TFLite by our own writer only, which lacks an operator of it; use --formats onnx"
        raise ConversionError(msg)
    return (_form(COMPACT, write_tflite(prepared, form=TfliteForm.FLOAT32), Precision.FLOAT32),)


def _prove(form: ModelForm, prepared: bytes, source: FloatModel) -> None:
    """Refuses a float file that does not compute what the float graph does on the source's inputs."""
    wanted = run_onnx(prepared, source.feeds, ModelError, "the float graph cannot be run")
    given, (tensor,) = source.inputs[0], form.inputs or source.inputs
    backend = LiteRtBackend(form.model)
    try:
        found = []
        for feed in source.feeds:
            outputs = backend.run({tensor.name: as_input(feed[given.name], given, tensor)})
            found.append([outputs[spec.name].reshape(spec.shape).copy() for spec in source.outputs])
        difference = largest_difference(wanted, found)
    except (KeyError, ValueError, RuntimeFailure) as error:
        msg = f"the float TFLite file does not fit the network: {error}"
        raise ConversionError(msg) from error
    finally:
        backend.close()
    if not difference <= TOLERANCE:  # a NaN is refused too
        msg = f"the float TFLite file differs from the float graph by {difference:.3g} (limit {TOLERANCE:g})"
        raise ConversionError(msg)


def _columns() -> int:
    return _COLUMNS if _MATRIX_UNIT in describe_machine().instructions else 0


def _written(best: State, prepared: bytes, further: Sequence[str], source: FloatModel, tuning: Tuning) -> TfliteForms:
    float_ = write_tflite(prepared, form=TfliteForm.FLOAT32)
    integer = write_tflite(best.graph.model, form=TfliteForm.INT8, ranges=best.ranges)
    forms = [_form("float", float_, Precision.FLOAT32), _form("int8", integer, Precision.INT8)]
    _prove(forms[0], prepared, source)
    axes = {form.name: file.axes for form, file in zip(forms, (float_, integer), strict=True)}
    makers: dict[str, Callable[[], ModelForm]] = {_PICTURE: lambda: _picture_form(best, source, tuning)}
    makers |= {name: partial(_further_form, best, name) for name in _FURTHER}
    made = [_made(name, makers[name]) for name in further if name in makers]
    forms += [form for form in made if isinstance(form, ModelForm)]
    notes = tuple(note for note in made if isinstance(note, str))
    return TfliteForms(tuple(forms), WRITER_ROUTE, notes, axes)


def _made(name: str, maker: Callable[[], ModelForm]) -> ModelForm | str:
    """The form, or a note that says why there is none."""
    try:
        return maker()
    except OptimizeError as error:
        return f"no {form_name(name, Format.TFLITE)} form: {error}"


def _further_form(best: State, name: str) -> ModelForm:
    kind, precision = _FURTHER[name]
    return _form(name, write_tflite(best.in_float.model, form=kind), precision)


def _picture_form(best: State, source: FloatModel, tuning: Tuning) -> ModelForm:
    """The INT8 form that takes the camera's picture.

    Raises:
        OptimizeError: The network does not begin with a convolution that can take the normalisation in.
    """
    taking = uint8_input_form(best.graph, source.spec.preprocess)
    file = write_tflite(taking.model, form=TfliteForm.INT8, ranges=best.ranges, tuning=tuning)
    colours = [tensor.color for tensor in taking.inputs or ()]
    inputs = tuple(dataclasses.replace(end, color=color) for end, color in zip(file.inputs, colours, strict=True))
    notes = (*file.notes, "the input is the camera's picture, every pixel less 128")
    if tuning.columns:
        notes += (f"laid out for {_MATRIX_UNIT}; for a board without it, name the board by --profile",)
    return _form(_PICTURE, dataclasses.replace(file, inputs=inputs, notes=notes), Precision.INT8)


def _form(name: str, file: TfliteFile, precision: Precision) -> ModelForm:
    return ModelForm(
        form_name(name, Format.TFLITE),
        file.model,
        precision,
        notes=file.notes,
        inputs=file.inputs,
        outputs=file.outputs,
        format=Format.TFLITE,
    )


def _borrowed(source: FloatModel, model: str, bench: Workbench, reason: ConversionError) -> BorrowedFiles:
    names = Names(source.inputs[0].name, tuple(spec.name for spec in source.outputs))
    pictures = _pictures(bench, source.inputs[0])
    if source.module is not None:
        return convert_torch(source.module, pictures, dataclasses.replace(names, outputs=source.module.output_names))
    if _borrowed_route(source, model) is Route.TENSORFLOW:
        return convert_tensorflow(Path(model), pictures, names)
    raise ConversionError(reason.reason, remedy=_REMEDY)


def _borrowed_route(source: FloatModel, model: str) -> Route | None:
    """Which borrowed converter starts from such a source; None where none does."""
    if source.module is not None:
        return Route.LITERT_TORCH
    path = Path(model)
    return Route.TENSORFLOW if path.suffix == _TENSORFLOW_SUFFIX or path.is_dir() else None


def _pictures(bench: Workbench, tensor: TensorSpec) -> NDArray[np.float32]:
    """(n, H, W, 3) calibration inputs, evenly spread."""
    step = max(1, bench.calibration.count // _CALIBRATED_ON)
    rows = [
        np.array(next(iter(feeds.values()))) for feeds in itertools.islice(bench.calibration.feeds(), 0, None, step)
    ]
    pictures = np.concatenate(rows).astype(np.float32)
    return pictures if tensor.layout is Layout.NHWC else np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))


def _as_forms(made: BorrowedFiles) -> tuple[ModelForm, ...]:
    files = ((made.float_model, "float", Precision.FLOAT32), (made.integer_model, "int8", Precision.INT8))
    return tuple(_read(model, name, precision) for model, name, precision in files if model is not None)


def _read(model: bytes, name: str, precision: Precision) -> ModelForm:
    backend = LiteRtBackend(model)
    inputs = _images(backend.inputs)
    outputs = tuple(backend.outputs)
    backend.close()
    return ModelForm(
        form_name(name, Format.TFLITE), model, precision, inputs=inputs, outputs=outputs, format=Format.TFLITE
    )


def _images(specs: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
    return tuple(dataclasses.replace(spec, layout=Layout.NHWC) for spec in specs)
