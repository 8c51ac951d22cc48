"""JPEG pictures over HTTP, as many network cameras send them.

OpenCV could read them through FFmpeg. When the size changes, that scales all to the first picture's size
(OpenCV 5.0) or repeats the last picture before for ever (4.6); and a read of it cannot be cut short.
"""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgeseg.vision.frames import Frame, Skipped, SourceKind
from edgeseg.vision.images.jpeg import ends_early, header_from_jpeg
from edgeseg.vision.images.limits import MAX_VIDEO_PIXELS, size_limit_reason
from edgeseg.vision.opencv import quiet_opencv

from .capture import live_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MAX_LINE_BYTES = 65_536
# A picture of 8K in JPEG's best quality takes half of it.
MAX_IMAGE_BYTES = 32 * 1024 * 1024
# What libjpeg leaves where there are no data.
UNFILLED_LEVEL = 128
LAST_PIXELS = (slice(None, 1), slice(-1, None))
# What reading raises when the other end is gone, silent, or no HTTP server; AttributeError is how http.client
# says that its socket was closed meanwhile.
STREAM_ERRORS = (OSError, http.client.HTTPException, ValueError, AttributeError)


class MjpegSource:
    """The pictures of one HTTP answer.

    Args:
        name: For people.
        response: Open, of the type `multipart/x-mixed-replace`; closed with this.
        connection: What the answer comes through.
    """

    kind = SourceKind.LIVE
    total = None
    fps = None

    def __init__(self, name: str, response: http.client.HTTPResponse, connection: socket.socket) -> None:
        self.name = name
        self._response = response
        self._connection = connection
        # Some cameras write the dashes into the name itself.
        boundary = (response.headers.get_boundary() or "").removeprefix("--")
        self._boundary = b"--" + boundary.encode()
        self._at_part = False

    def __iter__(self) -> Iterator[Frame | Skipped]:
        """Read picture after picture; see `Source`."""
        return live_frames(self.name, self._picture)

    def cancel(self) -> None:
        """See `LiveSource.cancel`."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It is gone already.
            return

    def close(self) -> None:
        """See `Source.close`."""
        self._response.close()

    def _picture(self) -> NDArray[np.uint8] | None:
        try:
            return picture_from_jpeg(self._part())
        except STREAM_ERRORS:
            return None

    def _part(self) -> bytes:
        """Read the next part's content; empty at the end."""
        while not self._at_part and (line := self._response.readline(MAX_LINE_BYTES)):
            self._at_part = line.startswith(self._boundary)
        if not self._at_part:
            return b""
        self._at_part = False
        length = self._length()
        if length is None:
            return self._until_boundary()
        return self._response.read(length) if 0 <= length <= MAX_IMAGE_BYTES else b""

    def _length(self) -> int | None:
        length = None
        while line := self._response.readline(MAX_LINE_BYTES).strip():
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                length = int(value)
        return length

    def _until_boundary(self) -> bytes:
        # Not a list: lines of one byte would take fifty times as much.
        data = bytearray()
        while (line := self._response.readline(MAX_LINE_BYTES)) and len(data) <= MAX_IMAGE_BYTES:
            if line.startswith(self._boundary):
                self._at_part = True
                return bytes(data).removesuffix(b"\r\n")
            data += line
        return b""


def picture_from_jpeg(data: bytes) -> NDArray[np.uint8] | None:
    """Decode a JPEG from a stranger, after a look at its header.

    Returns:
        `uint8[H, W, 3]`, BGR; None where it is none, is too large, or ends before its last row.
    """
    header = header_from_jpeg(data)
    if (
        header is None
        or size_limit_reason(header.size_hw, MAX_VIDEO_PIXELS)
        or len(data) < header.fewest_bytes
    ):
        return None
    try:
        with quiet_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if image is None:
        return None
    # The last block, wherever an orientation in EXIF has put it.
    corners = [image[rows, columns] for rows in LAST_PIXELS for columns in LAST_PIXELS]
    if any(((corner == UNFILLED_LEVEL).all()) for corner in corners) and ends_early(data):
        return None
    return np.asarray(image, np.uint8)
