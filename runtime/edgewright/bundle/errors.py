"""The root of every error edgewright raises on purpose, and the bundle's own tree.

The tree (other portions hang their own trees under ``EdgewrightError``)::

    EdgewrightError            exit code 2 unless a subclass says otherwise
    +-- MissingExtraError      exit code 5: a package or tool is not installed
    +-- BrokenPackageError     exit code 5: it is installed and cannot be loaded
    +-- OutputError            the result could not be written (full disk, no permission)
    +-- BundleError
        +-- ManifestError      manifest.json says something it must not say
        +-- SchemaVersionError written for a newer reader
        +-- IntegrityError     a file is missing, changed, or was never declared

A message says what was seen, where, and what to do next.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "BrokenPackageError",
    "BundleError",
    "EdgewrightError",
    "ExitCode",
    "IntegrityError",
    "ManifestError",
    "MissingExtraError",
    "OutputError",
    "SchemaVersionError",
    "import_problem",
]


class ExitCode(IntEnum):
    """What a command's exit status means."""

    OK = 0
    DEFECT = 1
    BAD_INPUT = 2
    CONTRACT_FAILED = 3
    INCONCLUSIVE = 4
    MISSING_EXTRA = 5


class EdgewrightError(Exception):
    """Something the person at the keyboard can act on.

    Attributes:
        exit_code: What the command line ends with when this reaches it.
    """

    exit_code: ExitCode = ExitCode.BAD_INPUT


class MissingExtraError(EdgewrightError):
    """A package of an optional extra, or an outside tool, is not installed."""

    exit_code = ExitCode.MISSING_EXTRA

    def __init__(self, what: str, extra: str) -> None:
        """Names what is missing and the line that installs it.

        Args:
            what: The missing package or tool and the work that needs it.
            extra: Name of the edgewright extra that brings it.
        """
        super().__init__(f"{what}; install it with: pip install 'edgewright[{extra}]'")
        self.extra = extra


class BrokenPackageError(EdgewrightError):
    """A package is installed and cannot be loaded: the wrong build, or a system library is missing."""

    exit_code = ExitCode.MISSING_EXTRA


def import_problem(error: ImportError, package: str, what: str, extra: str) -> EdgewrightError:
    """What to raise when importing an optional package failed.

    A missing ``libgomp`` on a small board must not read as "onnxruntime is not installed".

    Args:
        error: What the import raised.
        package: The top-level module that was wanted.
        what: The work that needs it, for example ``running an .onnx model``.
        extra: Name of the edgewright extra that brings it.
    """
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == package:
        return MissingExtraError(f"{what} needs {package}, which is not installed", extra)
    reason = " ".join(str(error).split())
    return BrokenPackageError(
        f"{what} needs {package}, which is installed but cannot be loaded: {reason}; mend what it names, or install "
        f"the package again"
    )


class OutputError(EdgewrightError):
    """A result could not be written; what was there before is untouched."""


class BundleError(EdgewrightError):
    """A bundle cannot be used."""


class ManifestError(BundleError):
    """The manifest is malformed or contradicts itself."""


class SchemaVersionError(BundleError):
    """The bundle was written for a reader newer than this one."""


class IntegrityError(BundleError):
    """A file of the bundle is missing, altered, undeclared or unsafe to read."""
