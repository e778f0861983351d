"""Where frames come from: video files, image folders, USB, RTSP and HTTP cameras."""

from edgewright.runtime.sources.base import EndOfSource, FrameSource, SourceDown, SourceOptions, SourceUp, shrink
from edgewright.runtime.sources.factory import open_source
from edgewright.runtime.sources.folder import ImageFolderSource
from edgewright.runtime.sources.live import LiveOptions, LiveSource
from edgewright.runtime.sources.uri import SourceKind, SourceUri, parse_source, redact
from edgewright.runtime.sources.video import VideoFileSource

__all__ = [
    "EndOfSource",
    "FrameSource",
    "ImageFolderSource",
    "LiveOptions",
    "LiveSource",
    "SourceDown",
    "SourceKind",
    "SourceOptions",
    "SourceUp",
    "SourceUri",
    "VideoFileSource",
    "open_source",
    "parse_source",
    "redact",
    "shrink",
]
