"""Every error the runtime raises on purpose.

The tree::

    EdgewrightError              (edgewright.bundle.errors) exit code 2 unless said otherwise
    +-- RuntimeFailure
        +-- BackendError         an engine refuses a model file or fails while running it
        +-- ModelMismatchError   model file and manifest do not belong together
        +-- FrameError           an image that is no (H, W, 3) uint8 picture
        +-- SourceUriError       the text names no source that can be opened
        +-- SourceError          the source cannot be opened, or broke for good
        +-- RuleConfigError      a zone or another rule is described wrongly
        +-- ModelFailedError     the model failed so often in a row that going on makes no sense (exit code 1)

A camera that goes away is not an error: it is a ``source_down`` event, and the loop goes on.
"""

from __future__ import annotations

from edgewright.bundle.errors import EdgewrightError, ExitCode

__all__ = [
    "BackendError",
    "FrameError",
    "ModelFailedError",
    "ModelMismatchError",
    "RuleConfigError",
    "RuntimeFailure",
    "SourceError",
    "SourceUriError",
]


class RuntimeFailure(EdgewrightError):  # noqa: N818 - RuntimeError is Python's own
    """The runtime cannot do what was asked."""


class BackendError(RuntimeFailure):
    """An engine refuses a model file, or fails while running it."""


class ModelMismatchError(RuntimeFailure):
    """The model file and what the manifest says of it do not belong together."""


class FrameError(RuntimeFailure):
    """An image that is no (H, W, 3) uint8 picture."""


class SourceUriError(RuntimeFailure):
    """The text given for a source names nothing that can be opened. Never repeats a password."""


class SourceError(RuntimeFailure):
    """A source cannot be opened, or stopped for good before its end. Never repeats a password."""


class RuleConfigError(RuntimeFailure):
    """A rule is described wrongly."""


class ModelFailedError(RuntimeFailure):
    """The model raised on too many frames in a row."""

    exit_code = ExitCode.DEFECT
