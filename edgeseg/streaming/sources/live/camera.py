"""Cameras at this machine, through V4L2."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2

from edgeseg.errors import InputError
from edgeseg.vision.opencv import open_capture

from .capture import CaptureSource


def open_camera(device: int | str) -> CaptureSource:
    """Open a camera.

    Args:
        device: Number of the camera, or its path: 0 is `/dev/video0`.

    Raises:
        InputError: No such camera, or another program has it.
    """
    # An OpenCV with GStreamer would take that first, whose queue of old pictures cannot be switched off.
    capture = open_capture(device, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)
    if capture is None:
        where = f"index {device}" if isinstance(device, int) else device
        msg = f"no camera opens at {where}; {_advice(device)}"
        raise InputError(msg)
    # The newest picture, not one that waited behind others while the network computed.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return CaptureSource(f"camera {device}" if isinstance(device, int) else device, capture)


def _advice(device: int | str) -> str:
    wanted = Path(f"/dev/video{device}" if isinstance(device, int) else device)
    if wanted.exists():
        if os.access(wanted, os.R_OK | os.W_OK):
            return f"{wanted} exists but gives no video: another program uses it, or it carries metadata only"
        return f"you may not read {wanted}; run: sudo usermod -aG video $USER, then log in again"
    found = sorted(str(path) for path in Path("/dev").glob("video*"))
    if found:
        return f"this machine has {', '.join(found)}"
    return "this machine has no /dev/video*; connect a camera, or pass it to the container with --device"
