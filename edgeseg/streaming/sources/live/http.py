"""Opening `http://` and `https://`: a camera's JPEG pictures, or whatever FFmpeg reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseg.errors import InputError
from edgeseg.streaming.sources.credentials import redacted

from .http_responses import request_camera
from .mjpeg import MjpegSource
from .network import open_network

if TYPE_CHECKING:
    from .capture import CaptureSource

TIMEOUT_S = 8.0


def open_http(address: str) -> MjpegSource | CaptureSource:
    """Open a stream over HTTP.

    Raises:
        DependencyError: It is no MJPEG, and OpenCV has no FFmpeg for it.
        InputError: Nothing answers there, it refuses, or what it sends is no stream.
    """
    name = redacted(address)
    camera_response = request_camera(address, TIMEOUT_S)
    kind = camera_response.response.headers.get_content_type()
    if kind.startswith("multipart/"):
        return MjpegSource(name, camera_response.response, camera_response.connection)
    camera_response.response.close()
    if kind.startswith(("image/", "text/html")):
        what = "one picture" if kind.startswith("image/") else "a page"
        msg = f"{name} is {what} and no stream; look in the camera's manual for its MJPEG or RTSP address"
        raise InputError(msg)
    return _open_other(camera_response.address, name)


def _open_other(address: str, name: str) -> CaptureSource:
    source = open_network(address)
    source.name = name
    if source.frames:
        source.close()
        what = f"a recorded video of {source.frames} frames"
        msg = f"{name} is {what} and no stream; download it and give the file"
        raise InputError(msg)
    return source
