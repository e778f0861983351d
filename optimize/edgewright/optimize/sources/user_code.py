"""Finds ``package.module:function`` of the user's and calls it. Whatever it raises becomes an error in words."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import EdgewrightError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["UserFunction"]


@dataclass(frozen=True)
class UserFunction:
    """A function of the user's, by name.

    Attributes:
        reference: ``package.module:function``.
        what: What to call it in messages, such as ``factory``.
        makes: What it makes, such as ``model``.
        error: What is raised.
    """

    reference: str
    what: str
    makes: str
    error: type[EdgewrightError]

    def call(self, arguments: tuple[Any, ...] = (), misfit: str | None = None) -> Any:
        """Imports the module and calls the function.

        The current folder is on ``sys.path`` while that happens, as it is for ``python -m``, and not afterwards.

        Args:
            arguments: What it is called with.
            misfit: What to say where it does not take them; None does not look before it calls.

        Raises:
            EdgewrightError: Of the kind ``error``: it cannot be found, imported or called, or failed.
        """
        with _current_folder_importable():
            function = self._find()
            if misfit is not None:
                self._check(function, arguments, misfit)
            return self._call(function, arguments)

    def _find(self) -> Callable[..., Any]:
        module_name, _, path = self.reference.partition(":")
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
                msg = (
                    f"there is no module {error.name!r} for {self.reference}; run the command from the folder that holds "
                    "it, and write dots between the names, without .py"
                )
                raise self.error(msg) from error
            msg = f"importing {module_name} needs the package {error.name!r}, which is not installed here"
            raise self.error(msg) from error
        except EdgewrightError:
            raise
        except (Exception, SystemExit) as error:
            # Importing runs the user's code, which may raise anything; a script without a main guard even exits.
            msg = f"importing {module_name} failed: {type(error).__name__}: {error}"
            raise self.error(msg) from error
        for part in path.split("."):
            if not hasattr(found, part):
                offered = ", ".join(_functions(found, module_name)[:12]) or "no functions"
                msg = f"{module_name} has no {path!r}; it offers {offered}"
                raise self.error(msg)
            found = getattr(found, part)
        if not callable(found):
            kind = type(found).__name__
            msg = f"{self.reference} is not a function but {kind}; name the function that makes the {self.makes}"
            raise self.error(msg)
        return found  # type: ignore[no-any-return]

    def _check(self, function: Callable[..., Any], arguments: tuple[Any, ...], misfit: str) -> None:
        try:
            inspect.signature(function).bind(*arguments)
        except TypeError as error:
            msg = f"the {self.what} {self.reference} {misfit} (called with {len(arguments)} arguments: {error})"
            raise self.error(msg) from error
        except ValueError:
            pass  # builtins have no signature to look at; the call itself will tell

    def _call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        try:
            return function(*arguments)
        except EdgewrightError:
            raise
        except (Exception, SystemExit) as error:
            # The function is the user's code, which may raise anything.
            msg = f"the {self.what} {self.reference} failed: {type(error).__name__}: {error}"
            raise self.error(msg) from error


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


def _functions(found: Any, module_name: str) -> list[str]:
    here = [name for name, value in vars(found).items() if getattr(value, "__module__", None) == module_name]
    return sorted(name for name in here if not name.startswith("_") and callable(getattr(found, name)))
