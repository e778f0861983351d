"""Opens whatever a ``SourceUri`` names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.runtime.sources.base import SourceOptions
from edgewright.runtime.sources.capture import camera_opener
from edgewright.runtime.sources.folder import ImageFolderSource
from edgewright.runtime.sources.live import LiveOptions, LiveSource
from edgewright.runtime.sources.pipeline import OPEN_S, pipeline_opener
from edgewright.runtime.sources.uri import SourceKind, SourceUri
from edgewright.runtime.sources.video import VideoFileSource

if TYPE_CHECKING:
    from edgewright.device_profiles.profile import DeviceProfile
    from edgewright.runtime.sources.base import FrameSource

__all__ = ["open_source"]


def open_source(
    uri: SourceUri,
    options: SourceOptions | None = None,
    live: LiveOptions | None = None,
    profile: DeviceProfile | None = None,
) -> FrameSource:
    """The source that ``uri`` names.

    A file or folder is opened and checked at once. A camera is opened by the first ``take``, in the background: one
    that is off now is a ``SourceDown``, not an error.

    Args:
        uri: What to open.
        options: What applies to every kind of source.
        live: How patient a camera is waited for.
        profile: The board, whose pipelines read ``csi:`` and ``usb:`` cameras; None takes the nearest to this machine.

    Raises:
        SourceError: The file does not decode, the folder holds no picture, or there is no pipeline for the camera or
            nothing to run it.
    """
    options = options or SourceOptions()
    if uri.kind is SourceKind.VIDEO:
        return VideoFileSource(Path(uri.target), options)
    if uri.kind is SourceKind.FOLDER:
        return ImageFolderSource(Path(uri.target), options)
    options = replace(options, name=options.name or uri.redacted)
    if uri.shape is None:
        return LiveSource(camera_opener(uri), options, live)
    live = live or LiveOptions()
    patient = replace(live, open_s=max(live.open_s, OPEN_S))
    return LiveSource(pipeline_opener(uri, profile), options, patient)
