"""Runs the forms of a model on the same inputs and compares what they say, from the source framework to INT8 TFLite.

Outputs are compared through the engines that devices run. Layers of a ``.tflite`` file are looked into with the engine's
plain kernels: XNNPACK keeps no value between its operators, so what is shown there is the file's arithmetic and not that
of its fastest kernels, which is a rounding step apart now and then.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import import_problem
from edgewright.bundle.manifest import Format, Layout, TensorSpec
from edgewright.bundle.reader import open_bundle
from edgewright.optimize.evaluate.quality import FLOAT, INT8
from edgewright.optimize.graph.engine import open_engine, run_engine
from edgewright.optimize.parity.compare import compare_forms, compare_values
from edgewright.optimize.variants.form import COMPACT, form_name
from edgewright.runtime.backends.opening import open_backend
from edgewright.runtime.decode import dequantized

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Variant
    from edgewright.bundle.reader import Bundle
    from edgewright.optimize.parity.compare import Parity
    from edgewright.optimize.sources import FloatModel

__all__ = ["SOURCE", "as_input", "layer_rows", "output_rows"]

SOURCE = "source"
"""What the framework that the model came from is called in the table."""

_FLOAT_TFLITE, _INT8_TFLITE = form_name(FLOAT, Format.TFLITE), form_name(INT8, Format.TFLITE)
_COMPACT_TFLITE = form_name(COMPACT, Format.TFLITE)
_FORMS = (FLOAT, COMPACT, INT8, _FLOAT_TFLITE, _COMPACT_TFLITE, _INT8_TFLITE)
_PAIRS = (
    (SOURCE, FLOAT),
    (SOURCE, _FLOAT_TFLITE),
    (FLOAT, _FLOAT_TFLITE),
    (FLOAT, INT8),
    (_FLOAT_TFLITE, _INT8_TFLITE),
    (INT8, _INT8_TFLITE),
)
# Where training made another network, its INT8 files are held against its own float files.
_TRAINED_PAIRS = (
    *(pair for pair in _PAIRS if pair not in {(FLOAT, INT8), (_FLOAT_TFLITE, _INT8_TFLITE)}),
    (COMPACT, _COMPACT_TFLITE),
    (COMPACT, INT8),
    (_COMPACT_TFLITE, _INT8_TFLITE),
)
_LOOKED_INTO = 2  # inputs of which every layer's values are taken


def output_rows(draft: Path, source: FloatModel) -> list[dict[str, Any]]:
    """Compares the outputs of all forms on the source's inputs.

    Args:
        draft: Bundle with the forms.
        source: The float model; its ``feeds``, and its ``reference`` where there is one.

    Returns:
        ``Parity`` rows, one for each pair of forms and each output.

    Raises:
        JudgeError: An output has another shape in one of them.
        RuntimeFailure: A form cannot be run.
    """
    answers: dict[str, Sequence[Mapping[str, NDArray[Any]]]] = {}
    if source.reference:
        names = [spec.name for spec in source.outputs]
        answers[SOURCE] = [dict(zip(names, values, strict=True)) for values in source.reference]
    with open_bundle(draft) as bundle:
        there = {variant.name for variant in bundle.manifest.variants}
        for name in (name for name in _FORMS if name in there):
            answers[name] = list(_answers(bundle, bundle.manifest.variant(name), source))
    trained = COMPACT in answers or _COMPACT_TFLITE in answers
    return [row.to_json() for row in compare_forms(answers, _TRAINED_PAIRS if trained else _PAIRS)]


def _answers(bundle: Bundle, variant: Variant, source: FloatModel) -> Iterator[dict[str, NDArray[Any]]]:
    backend = open_backend(variant.format, bundle.read(variant.file), engine=variant.engine)
    specs = {spec.name: spec for spec in variant.outputs}
    tensor = variant.inputs[0]
    for feed in source.feeds:
        given = as_input(feed[source.inputs[0].name], source.inputs[0], tensor)
        outputs = backend.run({tensor.name: given})
        yield {
            wanted.name: np.array(dequantized(outputs[wanted.name], specs[wanted.name])).reshape(wanted.shape)
            for wanted in source.outputs
        }
    backend.close()


def as_input(value: NDArray[Any], source: TensorSpec, wanted: TensorSpec) -> NDArray[Any]:
    """A float input as another form of the model takes it.

    Args:
        value: As the float model takes it.
        source: Description of that.
        wanted: Description of what is wanted: another order of axes, or integers.
    """
    if source.layout is not Layout.NHWC and wanted.layout is Layout.NHWC:
        value = value.transpose(0, 2, 3, 1)
    elif source.layout is Layout.NHWC and wanted.layout is Layout.NCHW:
        value = value.transpose(0, 3, 1, 2)
    if wanted.scale is not None and wanted.zero_point is not None:
        limits = np.iinfo(wanted.dtype)
        value = np.clip(np.rint(value / wanted.scale) + wanted.zero_point, limits.min, limits.max)
    return np.ascontiguousarray(value, np.dtype(wanted.dtype))


def layer_rows(
    draft: Path, source: FloatModel, prepared: bytes, axes: Mapping[str, Mapping[str, tuple[int, ...]]]
) -> list[dict[str, Any]]:
    """Compares TFLite forms with the float graph, layer by layer.

    Args:
        draft: Bundle with the forms.
        source: The float model.
        prepared: The float graph whose tensors the files' tensors are named after.
        axes: By form, which ONNX axis each axis of a tensor is.

    Returns:
        ``Parity`` rows in the order of the graph.

    Raises:
        JudgeError: The graph cannot be run.
        MissingExtraError: ai-edge-litert is not installed.
    """
    feeds = source.feeds[-_LOOKED_INTO:]
    wanted = sorted(set(itertools.chain.from_iterable(axes.values())))
    reference = _graph_values(prepared, wanted, feeds)
    rows: list[Parity] = []
    with open_bundle(draft) as bundle:
        for form, order in axes.items():
            variant = bundle.manifest.variant(form)
            seen = _file_values(bundle.read(variant.file), variant.inputs[0], order, source)
            rows += compare_values(FLOAT, form, zip(reference, seen, strict=True))
    return [row.to_json() for row in rows]


def _graph_values(
    model: bytes, names: Sequence[str], feeds: Sequence[Mapping[str, NDArray[Any]]]
) -> list[dict[str, NDArray[Any]]]:
    """Values inside an ONNX graph, for those of ``names`` that it makes."""
    import onnx

    graph = onnx.load_model_from_string(model)
    made = [name for node in graph.graph.node for name in node.output]
    there = {output.name for output in graph.graph.output}
    chosen = [name for name in made if name in set(names)]
    graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in chosen if name not in there)
    session = open_engine(graph.SerializeToString(), what="the float graph with its layers shown")
    return [run_engine(session, chosen, feed) for feed in feeds]


def _file_values(
    model: bytes, tensor: TensorSpec, axes: Mapping[str, tuple[int, ...]], source: FloatModel
) -> Iterator[dict[str, NDArray[Any]]]:
    """Values inside a ``.tflite`` file, dequantized and in the order of axes that ONNX has."""
    try:
        from ai_edge_litert import interpreter as litert
    except ImportError as error:
        raise import_problem(error, "ai-edge-litert", "looking into a .tflite model", "tflite") from error
    engine = litert.Interpreter(
        model_content=model,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    engine.allocate_tensors()
    index = engine.get_input_details()[0]["index"]
    rows = [row for row in engine.get_tensor_details() if row["name"] in axes]
    for feed in source.feeds[-_LOOKED_INTO:]:
        engine.set_tensor(index, as_input(feed[source.inputs[0].name], source.inputs[0], tensor))
        engine.invoke()
        yield {row["name"]: _value(engine, row, axes[row["name"]]) for row in rows}


def _value(engine: Any, row: Mapping[str, Any], axes: tuple[int, ...]) -> NDArray[np.float32]:
    values = np.asarray(engine.get_tensor(row["index"]))
    grid = row["quantization_parameters"]
    if len(grid["scales"]) == 1:
        zero = np.float32(grid["zero_points"][0])
        values = (values.astype(np.float32) - zero) * np.float32(grid["scales"][0])
    return np.ascontiguousarray(values.transpose(np.argsort(axes)), np.float32)
