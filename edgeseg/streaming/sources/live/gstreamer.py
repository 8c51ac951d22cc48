"""GStreamer pipelines, and a Jetson's CSI camera, which is one."""

from __future__ import annotations

import cv2

from edgeseg.errors import InputError
from edgeseg.streaming.sources.credentials import redacted
from edgeseg.vision.opencv import open_capture

from .capture import CaptureSource
from .csi import csi_from_address
from .network import timeouts
from .plugins import check_elements, check_gstreamer

# GStreamer's part of OpenCV takes time-outs from this release on, and fails to open with them before.
TIMEOUTS_FROM = (4, 9)
BGR_SINK = " ! videoconvert ! video/x-raw, format=BGR ! appsink drop=true max-buffers=1 sync=false"


def open_pipeline(pipeline: str) -> CaptureSource:
    """Open a pipeline, which gets a sink for OpenCV where it has none.

    Raises:
        DependencyError: OpenCV has no GStreamer, or GStreamer lacks an element.
        InputError: It does not start.
    """
    name = redacted(pipeline)
    check_gstreamer(name)
    text = pipeline if "appsink" in pipeline else pipeline + BGR_SINK
    version = tuple(int(part) for part in cv2.__version__.split(".")[:2])
    # Before opening, because OpenCV 4.6 waits forever for the first frame if the source element is missing.
    check_elements(text)
    capture = open_capture(text, cv2.CAP_GSTREAMER, timeouts() if version >= TIMEOUTS_FROM else ())
    if capture is None:
        msg = f"the pipeline {name} does not start; to see why, run: gst-launch-1.0 {redacted(text)}"
        raise InputError(msg)
    return CaptureSource(name, capture)


def open_csi(address: str) -> CaptureSource:
    """Open a Jetson's CSI camera.

    Raises:
        ConfigError: The address has an unknown option.
        DependencyError: OpenCV has no GStreamer, or this is no Jetson.
        InputError: No camera is there, or another program has it.
    """
    pipeline, name = csi_from_address(address).pipeline, redacted(address)
    check_gstreamer(name)
    try:
        source = open_pipeline(pipeline)
    except InputError as exc:
        msg = (
            f"{name} does not open; check the ribbon cable, that the size and rate are a mode of this "
            "sensor, and that no other program has the camera; sudo systemctl restart nvargus-daemon frees it"
        )
        raise InputError(msg) from exc
    source.name = name
    return source
