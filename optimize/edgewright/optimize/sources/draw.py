"""From any ONNX graph to a ``FloatModel``: what the routes of ``load`` have in common.

Shapes are fixed, outputs nobody reads are dropped, inputs to compare on are made, and the spec is proved to fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.manifest import ClassifyDecode, TensorSpec
from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.passes.runner import run_onnx
from edgewright.optimize.sources.activation import activation_of
from edgewright.optimize.sources.feeds import picture_feeds
from edgewright.optimize.sources.fit import check_fit
from edgewright.optimize.sources.float_model import FloatModel
from edgewright.optimize.sources.shapes import (
    fix_input,
    input_tensor,
    keep_outputs,
    output_tensors,
    write_output_shapes,
)
from edgewright.optimize.spec import ClassifierOptions, ModelSpec, classifier_spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy as np
    import onnx
    from numpy.typing import NDArray

__all__ = ["Drawn", "Given", "draw", "finish", "resolve"]


@dataclass(frozen=True, eq=False)
class Given:
    """What the user said about a model besides its path.

    Attributes:
        spec: How it is fed and read.
        images: Real frames (H, W, 3) uint8 BGR.
    """

    spec: ModelSpec | ClassifierOptions | None
    images: Sequence[NDArray[np.uint8]] = ()

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) that was asked for."""
        if isinstance(self.spec, ModelSpec):
            return self.spec.preprocess.width, self.spec.preprocess.height
        return None if self.spec is None else self.spec.size

    @property
    def activation_open(self) -> bool:
        """Whether the graph has to say what turns scores into probabilities."""
        return isinstance(self.spec, ClassifierOptions) and self.spec.activation is None


@dataclass(frozen=True, eq=False)
class Drawn:
    """A graph with fixed shapes and what was found out about it on the way."""

    model: onnx.ModelProto
    spec: ModelSpec
    feeds: tuple[Mapping[str, NDArray[Any]], ...]
    notes: tuple[str, ...]
    activation_open: bool


def draw(model: onnx.ModelProto, given: Given, path: Path, notes: Sequence[str] = ()) -> Drawn:
    """Fixes the input, drops outputs nobody reads, and makes inputs to compare on.

    Args:
        model: Changed in place.
        given: What the user said.
        path: Names the model.
        notes: What was done to it before.

    Raises:
        ModelError: Its input is no picture, or of another size than asked for.
        SpecError: Nothing says how to read it.
    """
    where = str(path)
    if given.spec is None:
        outputs = ", ".join(repr(value.name) for value in model.graph.output)
        msg = (
            f"{where} does not say what its numbers mean (outputs {outputs}); for a classifier add --task classify, "
            "for a detector describe it with --spec FILE.toml"
        )
        raise SpecError(msg)
    wanted = given.spec.input_shape if isinstance(given.spec, ModelSpec) else None
    shape, fixed = fix_input(model, given.size, wanted, where)
    resolved = resolve(given.spec, [value.name for value in model.graph.output], shape, path)
    dropped = keep_outputs(model, resolved.output_names, where)
    feeds = picture_feeds(resolved, input_tensor(model, where)[0], given.images)
    return Drawn(model, resolved, feeds, (*notes, *fixed, *dropped), given.activation_open)


def resolve(
    spec: ModelSpec | ClassifierOptions, outputs: Sequence[str], shape: tuple[int, ...], path: Path
) -> ModelSpec:
    """The whole spec, now that the input's shape is known.

    Raises:
        SpecError: A classifier has more than one output.
    """
    if isinstance(spec, ModelSpec):
        return spec.with_shape(shape)
    if len(outputs) != 1:
        msg = (
            f"{path} has {len(outputs)} outputs ({', '.join(outputs)}); say which are the scores with --spec FILE.toml"
        )
        raise SpecError(msg)
    return classifier_spec(spec, name=path.stem, input_shape=shape, scores=outputs[0])


def _with_activation(drawn: Drawn, scores: Sequence[NDArray[Any]]) -> Drawn:
    """What turns the scores into probabilities, where nobody said it, from the graph and what it puts out."""
    decode = drawn.spec.decode
    if not drawn.activation_open or not isinstance(decode, ClassifyDecode):
        return drawn
    activation, why = activation_of(drawn.model, decode.scores, scores)
    note = f"{why}, so decoding applies the activation {activation.value!r} (--activation sets another)"
    spec = replace(drawn.spec, decode=replace(decode, activation=activation))
    return replace(drawn, spec=spec, notes=(*drawn.notes, note))


def finish(drawn: Drawn, where: str, digest: str, packages: Sequence[str] = ()) -> FloatModel:
    """Pins the output shapes to what is observed, and checks that the spec can read them.

    Args:
        drawn: The graph; changed in place.
        where: The model as the user named it.
        digest: Of its file.
        packages: Packages that made it, besides those that always do.

    Raises:
        ModelError: The engine refuses it, or an output's size depends on the picture.
        SpecError: The spec does not fit.
    """
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
