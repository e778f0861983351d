"""PyTorch to one ONNX file by PyTorch's current exporter, proved numerically against the module itself."""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.passes.runner import TOLERANCE, largest_difference, run_onnx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.spec import SourceModel

__all__ = ["EXPORT_OPSET", "compare_with_torch", "export_program", "export_torch"]

EXPORT_OPSET = 18
"""The oldest operator set the exporter writes without converting; every runtime in use reads it."""


def export_torch(source: SourceModel, where: str) -> onnx.ModelProto:
    """Exports a module for one picture of its spec's shape.

    Args:
        source: The module is put into evaluation mode.
        where: The model in words, for messages.

    Raises:
        ModelError: The module cannot be run on, or exported for, such an input.
        SpecError: The spec says no input shape, or names fewer or more outputs than there are.
    """
    if source.spec.input_shape is None:
        msg = f"{where}: the spec must say input_shape (for a TOML spec: layout under [model])"
        raise SpecError(msg)
    example = source.example if source.example is not None else np.zeros(source.spec.input_shape, np.float32)
    if tuple(example.shape) != source.spec.input_shape:
        msg = f"{where}: the example has shape {list(example.shape)}, the spec says {list(source.spec.input_shape)}"
        raise SpecError(msg)
    module = source.module.eval()
    outputs = _run_torch(module, [example], where)[0]
    if len(outputs) != len(source.output_names):
        msg = f"{where} returns {len(outputs)} tensors, but output_names names {len(source.output_names)}"
        raise SpecError(msg)
    return export_program(
        module, np.ascontiguousarray(example, np.float32), source.input_name, source.output_names, where
    )


def export_program(
    program: Any, example: NDArray[np.float32], name: str, output_names: Sequence[str], where: str
) -> onnx.ModelProto:
    """Exports what PyTorch can trace, or has traced.

    Args:
        program: A module, or an ``ExportedProgram``.
        example: An input.
        name: What to call the input.
        output_names: What to call the outputs.
        where: The model in words, for messages.

    Raises:
        ModelError: The exporter fails.
    """
    import torch

    try:
        with _quiet():
            made = torch.onnx.export(
                program,
                (torch.from_numpy(example),),
                dynamo=True,
                external_data=False,
                opset_version=EXPORT_OPSET,
                input_names=[name],
                output_names=list(output_names),
                verbose=False,
            )
    except Exception as error:
        # The exporter traces the user's module and wraps whatever that raises in classes of its own.
        reason = " ".join(str(error).split())[:500]
        msg = f"{where} cannot be exported to ONNX: {type(error).__name__}: {reason}"
        raise ModelError(msg) from error
    if made is None:
        msg = f"{where}: the exporter of this PyTorch returned nothing; use the torch version of constraints.txt"
        raise ModelError(msg)
    return made.model_proto


def compare_with_torch(
    model: bytes, source: SourceModel, feeds: Sequence[Mapping[str, NDArray[Any]]], where: str
) -> tuple[float, list[list[NDArray[Any]]]]:
    """Compares the exported file with the module on ``feeds``.

    Returns:
        The largest relative difference, as in ``passes.runner.TOLERANCE``, and the module's own outputs.

    Raises:
        ModelError: It is beyond the tolerance, or the engine refuses the file.
    """
    inputs = [feed[source.input_name] for feed in feeds]
    wanted = _run_torch(source.module, inputs, where)
    found = run_onnx(model, feeds, ModelError, f"{where}: ONNX Runtime refuses the exported file")
    difference = largest_difference(wanted, found)
    if not difference <= TOLERANCE:
        msg = (
            f"{where}: the exported ONNX differs from PyTorch by {difference:.3g} (limit {TOLERANCE:g}) on "
            f"{len(feeds)} inputs; look for randomness, or for code that depends on the values of its input"
        )
        raise ModelError(msg)
    return difference, wanted


def _run_torch(module: Any, inputs: Sequence[NDArray[Any]], where: str) -> list[list[NDArray[Any]]]:
    import torch

    results: list[list[NDArray[Any]]] = []
    for array in inputs:
        try:
            with torch.no_grad():
                made = module(torch.from_numpy(np.ascontiguousarray(array, np.float32)))
        except Exception as error:
            # The module is the user's code, which may raise anything.
            msg = f"{where} fails on an input of shape {list(array.shape)}: {type(error).__name__}: {error}"
            raise ModelError(msg) from error
        outputs = list(made) if isinstance(made, (tuple, list)) else [made]
        if not outputs or not all(isinstance(output, torch.Tensor) for output in outputs):
            kinds = ", ".join(type(output).__name__ for output in outputs) or "nothing"
            msg = f"{where} returns {kinds}; it must return a tensor or a tuple of tensors"
            raise ModelError(msg)
        results.append([output.detach().numpy() for output in outputs])
    return results


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's remarks about itself off the user's terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
