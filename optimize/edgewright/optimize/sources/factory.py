"""Finds ``package.module:factory`` and calls it. The user's code runs here, and only here."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import EdgewrightError, MissingExtraError
from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.spec import ClassifierOptions, ModelSpec, SourceModel, classifier_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["call_factory", "is_factory_reference"]

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_factory_reference(model: str) -> bool:
    """Whether ``model`` reads as ``package.module:factory`` rather than a path."""
    return _REFERENCE.fullmatch(model) is not None


def call_factory(reference: str, weights: Path | None, spec: ModelSpec | ClassifierOptions | None) -> SourceModel:
    """Imports the user's module and calls its factory.

    The current folder is on ``sys.path`` while that happens, as it is for ``python -m``, and not afterwards.

    Args:
        reference: ``package.module:factory``.
        weights: Handed to the factory as its only argument when given.
        spec: Needed where the factory returns a bare ``torch.nn.Module``; replaces that of a ``SourceModel``.

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
    with _current_folder_importable():
        factory = _find(reference)
        made = _call(factory, reference, weights)
    return _as_source(made, reference, spec)


@contextlib.contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _find(reference: str) -> Callable[..., Any]:
    module_name, _, path = reference.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            msg = (
                f"there is no module {error.name!r} for {reference}; run the command from the folder that holds it, "
                "and write dots between the names, without .py"
            )
            raise ModelError(msg) from error
        msg = f"importing {module_name} needs the package {error.name!r}, which is not installed here"
        raise ModelError(msg) from error
    except EdgewrightError:
        raise
    except (Exception, SystemExit) as error:
        # Importing runs the user's code, which may raise anything; a script without a main guard even exits.
        msg = f"importing {module_name} failed: {type(error).__name__}: {error}"
        raise ModelError(msg) from error
    for part in path.split("."):
        if not hasattr(found, part):
            here = [name for name, value in vars(found).items() if getattr(value, "__module__", None) == module_name]
            offered = [name for name in here if not name.startswith("_") and callable(getattr(found, name))]
            msg = f"{module_name} has no {path!r}; it offers {', '.join(sorted(offered)[:12]) or 'no functions'}"
            raise ModelError(msg)
        found = getattr(found, part)
    if not callable(found):
        msg = f"{reference} is not a function but {type(found).__name__}; name the function that makes the model"
        raise ModelError(msg)
    return found  # type: ignore[no-any-return]


def _call(factory: Callable[..., Any], reference: str, weights: Path | None) -> object:
    arguments = () if weights is None else (weights,)
    try:
        inspect.signature(factory).bind(*arguments)
    except TypeError as error:
        need = "needs --weights FILE" if weights is None else "takes no weights; leave --weights out"
        msg = f"the factory {reference} {need} (called with {len(arguments)} arguments: {error})"
        raise ModelError(msg) from error
    except ValueError:
        pass  # builtins have no signature to look at; the call itself will tell
    try:
        return factory(*arguments)
    except EdgewrightError:
        raise
    except (Exception, SystemExit) as error:
        # The factory is the user's code, which may raise anything.
        msg = f"the factory {reference} failed: {type(error).__name__}: {error}"
        raise ModelError(msg) from error


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
