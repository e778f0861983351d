"""From what the user names to a ``FloatModel``: the one door of this package."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.digest import sha256_stream
from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.passes.runner import TOLERANCE, largest_difference, run_onnx
from edgewright.optimize.sources.draw import Given, draw, finish
from edgewright.optimize.sources.exported_program import load_program
from edgewright.optimize.sources.factory import call_factory, is_factory_reference
from edgewright.optimize.sources.module import from_module
from edgewright.optimize.sources.onnx_file import convert_opset, drop_weight_inputs, read_onnx
from edgewright.optimize.sources.tf.formats import TfFormat, format_of
from edgewright.optimize.sources.tf.load import load_tensorflow
from edgewright.optimize.sources.tf.names import GraphNames

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edgewright.optimize.sources.float_model import FloatModel
    from edgewright.optimize.spec import ClassifierOptions, ModelSpec

__all__ = ["load_source"]

_STATE_DICTS = frozenset({".pt", ".pth", ".safetensors", ".ckpt"})


def load_source(
    model: str,
    *,
    weights: Path | None = None,
    spec: ModelSpec | ClassifierOptions | None = None,
    images: Sequence[NDArray[np.uint8]] = (),
    graph: GraphNames | None = None,
) -> FloatModel:
    """Loads a float model.

    Args:
        model: ``package.module:factory`` for PyTorch, or a path: an ``.onnx`` file, a ``.pt2`` exported program, a
            ``.keras`` file, the folder of a SavedModel, a frozen graph ``.pb``, a float ``.tflite``.
        weights: For a factory, which is called with it.
        spec: How the model is fed and read. Needed for every file and for factories that return a bare module;
            ``ClassifierOptions`` is enough for a classifier.
        images: Real frames (H, W, 3) uint8 BGR; some of them help to compare the forms of the model.
        graph: For a frozen graph, the tensors to cut it at.

    Raises:
        ModelError: The model cannot be found, read, exported, or trusted.
        SpecError: Nothing says how to read it, or the spec does not fit it.
        MissingExtraError: A package of an extra is not installed.
    """
    for package in ("onnx", "onnxruntime", "onnxscript"):
        if find_spec(package) is None:
            what = f"optimizing a model needs {package}, which is not installed"
            raise MissingExtraError(what, "optimize")
    given = Given(spec, images)
    path = Path(model)
    factory = is_factory_reference(model) and not path.exists()
    kind = None if factory else format_of(path)
    if graph and kind is not TfFormat.FROZEN_GRAPH:
        msg = f"--graph-inputs and --graph-outputs cut a TensorFlow frozen graph (.pb); {model} is none"
        raise SpecError(msg)
    if factory:
        return _from_factory(model, weights, given)
    if weights is not None:
        msg = f"--weights belongs to a package.module:factory; {model} is a file and holds its weights itself"
        raise ModelError(msg)
    if kind is not None:
        return load_tensorflow(path, kind, graph or GraphNames(), given)
    return load_program(path, given) if path.suffix.lower() == ".pt2" else _from_onnx(path, given)


def _from_factory(reference: str, weights: Path | None, given: Given) -> FloatModel:
    source = call_factory(reference, weights, given.spec)
    digest = _file_digest(weights) if weights else None
    return from_module(source, reference, images=given.images, digest=digest, activation_open=given.activation_open)


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return sha256_stream(stream, path.stat().st_size)[0]
    except OSError as error:
        msg = f"cannot read the weights {path}: {error.strerror or error}"
        raise ModelError(msg) from error


def _from_onnx(path: Path, given: Given) -> FloatModel:
    if path.suffix.lower() in _STATE_DICTS:
        msg = (
            f"{path} holds weights without a network; name a function that builds the network, as "
            f"package.module:factory, and add --weights {path}"
        )
        raise ModelError(msg)
    where = str(path)
    model, digest = read_onnx(path)
    drawn = draw(model, given, path, drop_weight_inputs(model))
    before = run_onnx(model.SerializeToString(), drawn.feeds, ModelError, f"{where}: ONNX Runtime refuses it")
    newer, converted = convert_opset(model, where)
    if converted:
        data = newer.SerializeToString()
        after = run_onnx(data, drawn.feeds, ModelError, f"{where}: the newer operator set does not run")
        difference = largest_difference(before, after)
        if not difference <= TOLERANCE:
            msg = f"{where}: converting its operator set changed the outputs by {difference:.3g}; export it again"
            raise ModelError(msg)
    return finish(replace(drawn, model=newer, notes=(*drawn.notes, *converted)), where, digest)
