"""Opens whatever a ``SourceUri`` names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.runtime.sources.base import SourceOptions
from edgewright.runtime.sources.capture import camera_opener
from edgewright.runtime.sources.folder import ImageFolderSource
from edgewright.runtime.sources.live import LiveOptions, LiveSource
from edgewright.runtime.sources.uri import SourceKind, SourceUri
from edgewright.runtime.sources.video import VideoFileSource

if TYPE_CHECKING:
    from edgewright.runtime.sources.base import FrameSource

__all__ = ["open_source"]


def open_source(uri: SourceUri, options: SourceOptions | None = None, live: LiveOptions | None = None) -> FrameSource:
    """The source that ``uri`` names.

    A file or folder is opened and checked at once. A camera is opened by the first ``take``, in the background: one
    that is off now is a ``SourceDown``, not an error.

    Raises:
        SourceError: The file does not decode, or the folder holds no picture.
    """
    options = options or SourceOptions()
    if uri.kind is SourceKind.VIDEO:
        return VideoFileSource(Path(uri.target), options)
    if uri.kind is SourceKind.FOLDER:
        return ImageFolderSource(Path(uri.target), options)
    named = SourceOptions(
        name=options.name or uri.redacted,
        every_nth=options.every_nth,
        max_side=options.max_side,
        folder_fps=options.folder_fps,
    )
    return LiveSource(camera_opener(uri), named, live)
