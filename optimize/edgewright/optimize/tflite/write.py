"""The one door: an ONNX file in, a .tflite file out.

Nodes are written one by one, in the graph's order. A tensor is kept once, in whatever order of axes its maker gave it
and in codes where its maker gave codes; who reads it asks for the order and the kind of numbers it needs, and only then
is something written. So the transpositions and quantizers of an ONNX file mostly vanish by themselves.

Example:
    >>> file = write_tflite(qdq, form=TfliteForm.INT8)                       # doctest: +SKIP
    >>> Path("model.tflite").write_bytes(file.model)                         # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.errors import ConversionError
from edgewright.optimize.tflite.ends import write_input, write_output
from edgewright.optimize.tflite.form import PLAIN, TfliteFile, TfliteForm
from edgewright.optimize.tflite.operators.table import WRITERS
from edgewright.optimize.tflite.scope import Scope
from edgewright.optimize.tflite.source import read_source, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.optimize.tflite.ends import End
    from edgewright.optimize.tflite.form import Tuning
    from edgewright.optimize.tflite.source import SourceGraph
    from edgewright.optimize.types import Ranges

__all__ = ["write_tflite"]

_QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})


def write_tflite(
    model: bytes,
    *,
    form: TfliteForm,
    integer_outputs: bool = True,
    ranges: Ranges | None = None,
    tuning: Tuning = PLAIN,
) -> TfliteFile:
    """Writes a graph as TFLite.

    Args:
        model: An ONNX file with fixed shapes: the prepared float graph, or for ``TfliteForm.INT8`` a QDQ graph
            (``edgewright.optimize.quantization.writer``), also one with a uint8 picture as input.
        form: What to write.
        integer_outputs: Let outputs of the INT8 form be int8 where they are codes anyway, or come from a Sigmoid, Tanh
            or Softmax of codes, whose grids are fixed; else they are floats, exactly as in the QDQ graph.
        ranges: For the INT8 form: low and high of tensors that the QDQ graph left in float although integers are
            summed up for them, such as the logits of a last Gemm. Without it such an operator keeps its integer
            weights, and takes its input and gives its result in float.
        tuning: For the INT8 form: how it is written for speed.

    Returns:
        The file and what is to be known of it.

    Raises:
        ConversionError: Something cannot be written, naming the operator and the node; or the form and the graph do not
            fit each other.
        MissingExtraError: ai-edge-litert is not installed.
    """
    graph = read_source(model)
    _check_form(graph, form)
    scope = Scope(
        graph, form, ranges if form is TfliteForm.INT8 else None, integer_outputs=integer_outputs, tuning=tuning
    )
    inputs = [write_input(scope, name) for name in graph.inputs]
    for node in graph.nodes:
        if node.outputs[0] in scope.fused:
            continue
        writer = WRITERS.get(node.kind)
        if writer is None:
            raise refuse(node, "this writer does not know the operator")
        writer(scope, node)
    used = {end.tensor for end in inputs}
    outputs = []
    for name in graph.outputs:
        outputs.append(write_output(scope, name, used))
        used.add(outputs[-1].tensor)
    data = scope.flat.pack([end.tensor for end in inputs], [end.tensor for end in outputs])
    specs = tuple(end.spec for end in inputs), tuple(end.spec for end in outputs)
    return TfliteFile(data, *specs, _notes(scope, inputs, outputs), _axes(scope))


def _check_form(graph: SourceGraph, form: TfliteForm) -> None:
    quantized = any(node.kind in _QUANTIZERS for node in graph.nodes)
    if quantized and form is not TfliteForm.INT8:
        msg = f"the form {form.value} is written from the float graph, and this one is quantized already"
        raise ConversionError(msg)
    if not quantized and form is TfliteForm.INT8:
        msg = "the INT8 form is written from a quantized (QDQ) graph, and this one is float; quantize it first"
        raise ConversionError(msg)


def _axes(scope: Scope) -> Mapping[str, tuple[int, ...]]:
    names = scope.flat.names()
    known = {name: scope.known(name) for name in names if scope.knows(name)}
    return {name: value.axes for name, value in known.items() if names[name] == value.tensor}


def _notes(scope: Scope, inputs: list[End], outputs: list[End]) -> tuple[str, ...]:
    counts = scope.counts
    notes = []
    if scope.form is TfliteForm.INT8:
        notes.append(
            f"{counts['integer']} operators with weights compute in INT8 with the integers of the ONNX file, "
            f"{counts['float']} in float"
        )
        notes += [f"input {end.spec.name} is float" for end in inputs if end.spec.dtype == "float32"]
        notes += [f"output {end.spec.name} is float" for end in outputs if end.spec.dtype == "float32"]
    told = {
        "apart": "{} concatenations join parts on grids of their own and run in float",
        "ungridded": "{} operators with integer weights have no grid for their result and give floats",
        "clamped": "{} weights of -128 became -127, which kernels without dot products need",
        "biases": "{} biases were rounded anew to steps of input times weight",
        "requantized": "{} tensors are turned from one grid to another between operators",
        "padded": "{} operators have their padding written by a PAD of its own",
        "transposed": "{} transpositions remain",
        "cells": "{} convolutions take several pixels as one, to fill the columns of a matrix unit",
        "halved": "{} weights are kept in float16",
        "dynamic": "{} operators take int8 weights and float activations",
    }
    notes += [text.format(counts[key]) for key, text in told.items() if counts[key]]
    return tuple(notes)
