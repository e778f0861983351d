"""A ``.keras`` file and a SavedModel, read by TensorFlow. Runs in the child process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import ModelError
from edgewright.optimize.sources.tf.frozen import Frozen, check_nodes, fixed_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["freeze_keras", "freeze_saved_model"]

_REMEDY = (
    "export the network alone: without loops, conditions, recurrent layers or non-maximum suppression, which the "
    "spec's decoding does on the device"
)
_SIGNATURE = "serving_default"


def freeze_keras(path: Path, size: tuple[int, int] | None, where: str) -> Frozen:
    """Loads in Keras's safe mode, never compiles.

    Raises:
        ModelError: Keras cannot load it, or it is no picture model.
    """
    import tensorflow as tf

    try:
        model = tf.keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Keras raises whatever its layers do on a configuration that does not fit them.
        msg = f"Keras cannot load {where}: {' '.join(str(error).split())[:400]}; write it again with this version of Keras"
        raise ModelError(msg) from error
    inputs = model.inputs or []
    if len(inputs) != 1:
        msg = f"{where} has {len(inputs)} inputs; a model with one picture input, built before it was saved, is needed"
        raise ModelError(msg)
    shape = fixed_shape(inputs[0].name, tuple(inputs[0].shape), str(inputs[0].dtype), size, where)
    keys = sorted(model.output) if isinstance(model.output, dict) else None
    names = tuple(str(name) for name in keys or model.output_names)

    def call(picture: Any) -> list[Any]:
        made = model(picture, training=False)
        return [made[key] for key in keys] if keys else list(tf.nest.flatten(made))

    return _freeze(call, shape, inputs[0].name, names, where)


def freeze_saved_model(path: Path, size: tuple[int, int] | None, where: str) -> Frozen:
    """Takes the signature ``serving_default``, or the only one.

    Raises:
        ModelError: TensorFlow cannot load it, there is no such signature, or it is no picture model.
    """
    import tensorflow as tf

    _check_graphs(path, where)
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:
        # TensorFlow's errors share no base below Exception, and a damaged folder raises of every kind.
        msg = f"TensorFlow cannot load {where}: {' '.join(str(error).split())[:400]}; export it again"
        raise ModelError(msg) from error
    signatures = dict(loaded.signatures)
    if _SIGNATURE not in signatures and len(signatures) != 1:
        listed = ", ".join(sorted(signatures)) or "none"
        msg = f"{where} has no signature {_SIGNATURE!r} (it has {listed}); export it with model.export('FOLDER')"
        raise ModelError(msg)
    signature = signatures.get(_SIGNATURE) or next(iter(signatures.values()))
    keywords = signature.structured_input_signature[1]
    if len(keywords) != 1:
        msg = f"{where} has {len(keywords)} inputs ({', '.join(sorted(keywords))}); a model with one picture input is needed"
        raise ModelError(msg)
    name, spec = next(iter(keywords.items()))
    dims = tuple(spec.shape) if spec.shape.rank is not None else ()
    shape = fixed_shape(name, dims, spec.dtype.name, size, where)
    names = tuple(sorted(signature.structured_outputs))

    def call(picture: Any) -> list[Any]:
        made = signature(**{name: picture})
        return [made[key] for key in names]

    made = _freeze(call, shape, name, names, where)
    del loaded  # until here it kept the variables alive
    return made


def _freeze(
    call: Callable[[Any], list[Any]], shape: tuple[int, ...], name: str, names: tuple[str, ...], where: str
) -> Frozen:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # The type checker knows nothing of TensorFlow.
    function: Any = tf.function(call)
    try:
        concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
        frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    except Exception as error:
        # As above: tracing runs the layers.
        msg = f"{where} cannot be traced for an input of {list(shape)}: {' '.join(str(error).split())[:400]}"
        raise ModelError(msg) from error
    graph = frozen.graph.as_graph_def()
    check_nodes(_nodes(graph), where, _REMEDY)

    def run(picture: NDArray[Any]) -> list[NDArray[Any]]:
        return [value.numpy() for value in concrete(tf.constant(picture))]

    outputs = tuple(tensor.name for tensor in frozen.outputs)
    return Frozen(graph, frozen.inputs[0].name, outputs, name, names, shape, run)


def _check_graphs(path: Path, where: str) -> None:
    """Looks at all graphs in the file before TensorFlow runs their initializers."""
    from tensorflow.core.protobuf import saved_model_pb2

    file = path / "saved_model.pb"
    if not file.is_file():
        msg = f"{where} keeps its graph as text; export it again, so that it holds saved_model.pb"
        raise ModelError(msg)
    try:
        parsed = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    except Exception as error:
        # protobuf's DecodeError, or whatever else its parser makes of bytes that are no message at all.
        msg = f"{file} is not a SavedModel's graph, or is cut short; export it again"
        raise ModelError(msg) from error
    graphs = [graph.graph_def for graph in parsed.meta_graphs]
    if not graphs:
        msg = f"{file} is not a SavedModel's graph: it holds none; export it again"
        raise ModelError(msg)
    for graph in graphs:
        outside = ((name, op) for name, op in _nodes(graph) if op not in _OF_NO_CONCERN)
        check_nodes(outside, where, _REMEDY)


#: Conditions in functions that no signature calls (training, saving) do not matter; what is called is looked at later.
_OF_NO_CONCERN = frozenset({"If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase"})


def _nodes(graph: Any) -> Iterator[tuple[str, str]]:
    yield from ((node.name, node.op) for node in graph.node)
    for function in graph.library.function:
        yield from ((f"{function.signature.name}/{node.name}", node.op) for node in function.node_def)
