"""What ``package.module:factory`` makes, as a ``SourceModel``."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.sources.user_code import UserFunction
from edgewright.optimize.spec import ClassifierOptions, ModelSpec, SourceModel, classifier_spec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["call_factory", "is_factory_reference"]

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_factory_reference(model: str) -> bool:
    """Whether ``model`` reads as ``package.module:factory`` rather than a path."""
    return _REFERENCE.fullmatch(model) is not None


def call_factory(
    reference: str,
    weights: Path | None,
    spec: ModelSpec | ClassifierOptions | None = None,
    *,
    bare: ModelSpec | None = None,
) -> SourceModel:
    """Imports the user's module and calls its factory.

    Args:
        reference: ``package.module:factory``.
        weights: Handed to the factory as its only argument when given.
        spec: Needed where the factory returns a bare ``torch.nn.Module``; replaces that of a ``SourceModel``.
        bare: Describes a bare module where ``spec`` is None; a ``SourceModel`` keeps its own.

    Raises:
        ModelError: The module or factory cannot be found, imported or called, or returned something else.
        SpecError: A bare module came without a spec, or classifier flags with a factory that has its own.
        MissingExtraError: PyTorch is not installed.
    """
    if find_spec("torch") is None:
        what = f"{reference} is a PyTorch source and torch is not installed"
        raise MissingExtraError(what, "optimize,torch")
    if weights is not None and not weights.is_file():
        msg = f"the weights file {weights} does not exist; give an existing file with --weights"
        raise ModelError(msg)
    arguments = () if weights is None else (weights,)
    misfit = "needs --weights FILE" if weights is None else "takes no weights; leave --weights out"
    made = UserFunction(reference, "factory", "model", ModelError).call(arguments, misfit)
    return _as_source(made, reference, bare if spec is None and not isinstance(made, SourceModel) else spec)


def _as_source(made: object, reference: str, spec: ModelSpec | ClassifierOptions | None) -> SourceModel:
    import torch

    if isinstance(made, SourceModel):
        if isinstance(spec, ClassifierOptions):
            msg = f"{reference} brings its own spec; leave the classifier flags out, or give a whole spec with --spec"
            raise SpecError(msg)
        return replace(made, spec=spec) if spec is not None else made
    if not isinstance(made, torch.nn.Module):
        msg = f"{reference} returned {type(made).__name__}; it must return a torch.nn.Module or a SourceModel"
        raise ModelError(msg)
    if isinstance(spec, ClassifierOptions):
        if spec.size is None:
            msg = f"{reference} returned a bare torch.nn.Module; say the size of its input with --size WIDTHxHEIGHT"
            raise SpecError(msg)
        width, height = spec.size
        name = reference.partition(":")[0].rpartition(".")[2]
        spec = classifier_spec(spec, name=name, input_shape=(1, 3, height, width), scores="scores")
    if spec is None:
        msg = (
            f"{reference} returned a bare torch.nn.Module; say how to read it with --spec FILE.toml or "
            "--task classify, or let the factory return a SourceModel"
        )
        raise SpecError(msg)
    return SourceModel(made, spec, spec.output_names)
