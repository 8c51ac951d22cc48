"""Streams that OpenCV reads through FFmpeg."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import cv2

from edgeseg.errors import InputError
from edgeseg.streaming.sources.credentials import redacted
from edgeseg.vision.opencv import open_capture

from .capture import CaptureSource
from .http_login import WRITE_ESCAPED
from .plugins import check_ffmpeg

OPEN_TIMEOUT_MS = 10_000
READ_TIMEOUT_MS = 8_000
PROBE_TIMEOUT_S = 3.0
# Each thread of FFmpeg's decoder but the first delays a stream by one frame: 8 of them by 230 ms at 30 frames
# a second. One decodes 1080p at 120 frames a second on a core of 2023, but 4K at 33 only.
FEW_THREADS, MORE_THREADS = 1, 4
MAX_PIXELS_OF_ONE_THREAD = 1920 * 1088
# OpenCV 4.6, as Debian 12 has it, cannot.
CAN_CHOOSE_THREADS = hasattr(cv2, "CAP_PROP_N_THREADS")
PORT_BY_SCHEME = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}


def open_network(address: str) -> CaptureSource:
    """Open a stream through FFmpeg.

    Raises:
        DependencyError: OpenCV has no FFmpeg.
        InputError: Nothing answers there, or what answers is no video.
    """
    name = redacted(address)
    check_ffmpeg(name)
    capture = _open_capture(address, FEW_THREADS)
    if capture is not None and CAN_CHOOSE_THREADS and _pixels(capture) > MAX_PIXELS_OF_ONE_THREAD:
        capture.release()
        capture = _open_capture(address, MORE_THREADS)
    if capture is None:
        msg = f"{name} does not open as a stream; {_advice(address)}"
        raise InputError(msg)
    return CaptureSource(name, capture, late=True)


def timeouts() -> tuple[int, ...]:
    """After what time opening and reading give up, as parameters of `open_capture`."""
    open_ms, read_ms = cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC
    return (open_ms, OPEN_TIMEOUT_MS, read_ms, READ_TIMEOUT_MS)


def _open_capture(address: str, threads: int) -> Any:
    threaded = (cv2.CAP_PROP_N_THREADS, threads) if CAN_CHOOSE_THREADS else ()
    return open_capture(address, cv2.CAP_FFMPEG, (*timeouts(), *threaded))


def _pixels(capture: Any) -> float:
    return float(capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def _advice(address: str) -> str:
    hint = f"; {WRITE_ESCAPED}" if "@" in address else ""
    try:
        parts = urlsplit(address)
        port = parts.port or PORT_BY_SCHEME.get(parts.scheme)
    except ValueError:
        return f"its port is no number from 0 to 65535{hint}"
    if "@" in parts.path + parts.query + parts.fragment:
        # What looks like its host and port may be a part of the password.
        return f"its host cannot be told{hint}"
    if not parts.hostname or not port or parts.scheme in ("udp", "rtp"):
        return f"nothing came within {OPEN_TIMEOUT_MS / 1000:g} s"
    where = f"{parts.hostname}:{port}"
    try:
        socket.create_connection((parts.hostname, port), timeout=PROBE_TIMEOUT_S).close()
    except OSError as exc:
        reason = exc.strerror or exc
        return f"nothing answers at {where} ({reason}); check the address and that it is switched on"
    return f"{where} answers, but sends no video; check the path, the user name and the password{hint}"
