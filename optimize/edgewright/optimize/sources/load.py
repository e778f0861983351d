"""From what the user names to a ``FloatModel``: the one door of this package."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.digest import sha256_hex, sha256_stream
from edgewright.bundle.errors import MissingExtraError
from edgewright.bundle.manifest import ClassifyDecode, TensorSpec
from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.passes.runner import TOLERANCE, largest_difference, run_onnx
from edgewright.optimize.sources.activation import activation_of
from edgewright.optimize.sources.factory import call_factory, is_factory_reference
from edgewright.optimize.sources.feeds import picture_feeds
from edgewright.optimize.sources.fit import check_fit
from edgewright.optimize.sources.float_model import FloatModel
from edgewright.optimize.sources.onnx_file import convert_opset, drop_weight_inputs, read_onnx
from edgewright.optimize.sources.shapes import (
    fix_input,
    input_tensor,
    keep_outputs,
    output_tensors,
    write_output_shapes,
)
from edgewright.optimize.sources.torch_export import check_against_torch, export_torch
from edgewright.optimize.spec import ClassifierOptions, ModelSpec, classifier_spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy as np
    import onnx
    from numpy.typing import NDArray

__all__ = ["load_source"]

_OTHER_FORMATS = {
    ".tflite": "TFLite",
    ".pt2": "a PyTorch exported program",
    ".keras": "Keras",
    ".pb": "a TensorFlow graph",
    ".h5": "Keras",
}
_STATE_DICTS = frozenset({".pt", ".pth", ".safetensors", ".ckpt"})


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A graph with fixed shapes and what was found out about it on the way."""

    model: onnx.ModelProto
    spec: ModelSpec
    feeds: tuple[Mapping[str, NDArray[Any]], ...]
    notes: tuple[str, ...]
    activation_open: bool


def load_source(
    model: str,
    *,
    weights: Path | None = None,
    spec: ModelSpec | ClassifierOptions | None = None,
    images: Sequence[NDArray[np.uint8]] = (),
) -> FloatModel:
    """Loads a float model.

    Args:
        model: Path of an ``.onnx`` file, or ``package.module:factory`` for PyTorch.
        weights: For a factory, which is called with it.
        spec: How the model is fed and read. Needed for an ``.onnx`` file and for factories that return a bare
            module; ``ClassifierOptions`` is enough for a classifier.
        images: Real frames (H, W, 3) uint8 BGR; some of them help to compare the forms of the model.

    Raises:
        ModelError: The model cannot be found, read, exported, or trusted.
        SpecError: Nothing says how to read it, or the spec does not fit it.
        MissingExtraError: A package of an extra is not installed.
    """
    for package in ("onnx", "onnxruntime", "onnxscript"):
        if find_spec(package) is None:
            what = f"optimizing a model needs {package}, which is not installed"
            raise MissingExtraError(what, "optimize")
    if is_factory_reference(model) and not Path(model).exists():
        return _from_factory(model, weights, spec, images)
    if weights is not None:
        msg = f"--weights belongs to a package.module:factory; {model} is a file and holds its weights itself"
        raise ModelError(msg)
    return _from_file(Path(model), spec, images)


def _from_factory(
    reference: str,
    weights: Path | None,
    spec: ModelSpec | ClassifierOptions | None,
    images: Sequence[NDArray[np.uint8]],
) -> FloatModel:
    source = call_factory(reference, weights, spec)
    exported = export_torch(source, reference)
    feeds = picture_feeds(source.spec, source.input_name, images)
    difference = check_against_torch(exported.SerializeToString(), source, feeds, reference)
    notes = [
        f"exported by torch.onnx (dynamo); largest difference from PyTorch on {len(feeds)} inputs: {difference:.2g}",
        *keep_outputs(exported, source.spec.output_names, reference),
    ]
    drawn = _Drawn(exported, source.spec, feeds, tuple(notes), _activation_open(spec))
    digest = _file_digest(weights) if weights else sha256_hex(exported.SerializeToString(deterministic=True))
    made = _finish(drawn, reference, digest, packages=("torch", "onnxscript"))
    return replace(made, max_difference=difference, module=source)


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return sha256_stream(stream, path.stat().st_size)[0]
    except OSError as error:
        msg = f"cannot read the weights {path}: {error.strerror or error}"
        raise ModelError(msg) from error


def _from_file(
    path: Path, spec: ModelSpec | ClassifierOptions | None, images: Sequence[NDArray[np.uint8]]
) -> FloatModel:
    _refuse_other_formats(path)
    where = str(path)
    model, digest = read_onnx(path)
    if spec is None:
        outputs = ", ".join(repr(value.name) for value in model.graph.output)
        msg = (
            f"{where} does not say what its numbers mean (outputs {outputs}); for a classifier add --task classify, "
            "for a detector describe it with --spec FILE.toml"
        )
        raise SpecError(msg)
    notes = [*drop_weight_inputs(model)]
    wanted = spec.input_shape if isinstance(spec, ModelSpec) else None
    size = (spec.preprocess.width, spec.preprocess.height) if isinstance(spec, ModelSpec) else spec.size
    shape, fixed = fix_input(model, size, wanted, where)
    notes += fixed
    resolved = _resolve(spec, model, shape, path)
    notes += keep_outputs(model, resolved.output_names, where)
    feeds = picture_feeds(resolved, input_tensor(model, where)[0], images)
    before = run_onnx(model.SerializeToString(), feeds, ModelError, f"{where}: ONNX Runtime refuses it")
    model, converted = convert_opset(model, where)
    if converted:
        after = run_onnx(model.SerializeToString(), feeds, ModelError, f"{where}: the newer operator set does not run")
        difference = largest_difference(before, after)
        if not difference <= TOLERANCE:
            msg = f"{where}: converting its operator set changed the outputs by {difference:.3g}; export it again"
            raise ModelError(msg)
    notes += converted
    return _finish(_Drawn(model, resolved, feeds, tuple(notes), _activation_open(spec)), where, digest)


def _refuse_other_formats(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in _OTHER_FORMATS:
        msg = f"{path} is {_OTHER_FORMATS[suffix]}; this version reads .onnx files and package.module:factory"
        raise ModelError(msg)
    if suffix in _STATE_DICTS:
        msg = (
            f"{path} holds weights without a network; name a function that builds the network, as "
            f"package.module:factory, and add --weights {path}"
        )
        raise ModelError(msg)


def _resolve(
    spec: ModelSpec | ClassifierOptions, model: onnx.ModelProto, shape: tuple[int, ...], path: Path
) -> ModelSpec:
    if isinstance(spec, ModelSpec):
        return spec.with_shape(shape)
    outputs = [value.name for value in model.graph.output]
    if len(outputs) != 1:
        msg = (
            f"{path} has {len(outputs)} outputs ({', '.join(outputs)}); say which are the scores with --spec FILE.toml"
        )
        raise SpecError(msg)
    return classifier_spec(spec, name=path.stem, input_shape=shape, scores=outputs[0])


def _activation_open(spec: ModelSpec | ClassifierOptions | None) -> bool:
    return isinstance(spec, ClassifierOptions) and spec.activation is None


def _with_activation(drawn: _Drawn, scores: Sequence[NDArray[Any]]) -> _Drawn:
    """What turns the scores into probabilities, where nobody said it, from the graph and what it puts out."""
    decode = drawn.spec.decode
    if not drawn.activation_open or not isinstance(decode, ClassifyDecode):
        return drawn
    activation, why = activation_of(drawn.model, decode.scores, scores)
    note = f"{why}, so decoding applies the activation {activation.value!r} (--activation sets another)"
    spec = replace(drawn.spec, decode=replace(decode, activation=activation))
    return replace(drawn, spec=spec, notes=(*drawn.notes, note))


def _finish(drawn: _Drawn, where: str, digest: str, packages: Sequence[str] = ()) -> FloatModel:
    """Pins the output shapes to what is observed, and checks that the spec can read them."""
    model = drawn.model
    observed = run_onnx(model.SerializeToString(), drawn.feeds, ModelError, f"{where}: ONNX Runtime refuses it")
    shapes = [[output.shape for output in outputs] for outputs in observed]
    for index, value in enumerate(model.graph.output):
        seen = {tuple(row[index]) for row in shapes}
        if len(seen) > 1:
            msg = (
                f"{where}: output {value.name!r} has a size that depends on the picture ({sorted(seen)}); "
                "cut the model before its own non-maximum suppression and let the spec decode it"
            )
            raise ModelError(msg)
    write_output_shapes(model, shapes[0])
    outputs = output_tensors(model)
    check_fit(drawn.spec, outputs, where)
    drawn = _with_activation(drawn, [row[0] for row in observed])
    name, _ = input_tensor(model, where)
    tensor = TensorSpec(name, drawn.spec.input_shape or (), "float32", drawn.spec.layout)
    return FloatModel(
        model=model.SerializeToString(deterministic=True),
        spec=drawn.spec,
        inputs=(tensor,),
        outputs=outputs,
        source=Path(where).name,
        source_sha256=digest,
        notes=drawn.notes,
        tools={package: metadata.version(package) for package in ("onnx", "onnxruntime", "numpy", *packages)},
        feeds=drawn.feeds,
    )
