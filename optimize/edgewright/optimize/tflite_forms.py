"""The TFLite forms of a model: the same graphs and the same integers as its ONNX forms, in the other format.

    prepared float graph -> float-tflite, float16-tflite, dynamic-tflite
    best QDQ graph       -> int8-tflite

Where our writer lacks an operator a borrowed converter takes over (see ``edgewright.optimize.converters``): it starts
from the source and calibrates anew, so nothing of what the chain found goes into its file. A note says which route a
file took; the judge treats all alike. Whoever wrote it, the float file must compute what the float graph does: another
scaling of pictures inside, or outputs in another order, would make everything after it wrong.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgewright.bundle.manifest import Format, Layout, Precision, TensorSpec
from edgewright.optimize.converters.borrowed import Names, convert_tensorflow, convert_torch
from edgewright.optimize.errors import ConversionError, ModelError, OptimizeError
from edgewright.optimize.parity.measure import as_input
from edgewright.optimize.passes.runner import TOLERANCE, largest_difference, run_onnx
from edgewright.optimize.tflite import TfliteForm, write_tflite
from edgewright.optimize.variants.form import ModelForm, form_name
from edgewright.runtime.backends.litert import LiteRtBackend
from edgewright.runtime.errors import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.chain.run import State
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.converters.borrowed import BorrowedFiles
    from edgewright.optimize.sources import FloatModel
    from edgewright.optimize.tflite import TfliteFile

__all__ = ["WRITER_ROUTE", "TfliteForms", "make_tflite_forms"]

WRITER_ROUTE = "edgewright"
"""The route by our own writer; the others are named by ``converters.Route``."""

_CALIBRATED_ON = 64
_FURTHER = {
    "float16": (TfliteForm.FLOAT16, Precision.FLOAT16),
    "dynamic": (TfliteForm.DYNAMIC, Precision.INT8),
}
_TENSORFLOW_SUFFIX = ".keras"


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
            return _written(best, prepared, further, source)
        except ConversionError as error:
            reason = error
    note = f"TFLite by a borrowed converter, for this version cannot write the graph itself: {reason}"
    bench.progress.note(note)
    with bench.progress.stage("convert by a borrowed converter"):
        made = _borrowed(source, model, bench, reason)
        forms = _as_forms(made)
        _prove(forms[0], prepared, source)
    return TfliteForms(forms, made.route.value, (note, *made.notes))


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


def _written(best: State, prepared: bytes, further: Sequence[str], source: FloatModel) -> TfliteForms:
    float_ = write_tflite(prepared, form=TfliteForm.FLOAT32)
    integer = write_tflite(best.graph.model, form=TfliteForm.INT8, ranges=best.ranges)
    forms = [_form("float", float_, Precision.FLOAT32), _form("int8", integer, Precision.INT8)]
    _prove(forms[0], prepared, source)
    axes = {form.name: file.axes for form, file in zip(forms, (float_, integer), strict=True)}
    notes = []
    for name in (name for name in further if name in _FURTHER):
        kind, precision = _FURTHER[name]
        try:
            forms.append(_form(name, write_tflite(best.model, form=kind), precision))
        except OptimizeError as error:
            notes.append(f"no {form_name(name, Format.TFLITE)} form: {error}")
    return TfliteForms(tuple(forms), WRITER_ROUTE, tuple(notes), axes)


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
    path = Path(model)
    if path.suffix == _TENSORFLOW_SUFFIX or path.is_dir():
        return convert_tensorflow(path, pictures, names)
    msg = f"{reason}; borrowed converters start from PyTorch or Keras, and this model is neither: use --formats onnx"
    raise ConversionError(msg)


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
