"""The viewers of the page: each gets the newest image when it has received the one before, never a queue."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive, Scope, Send

    from .frame_store import CompressedImage, FrameStore
    from .status import StatusJson

TICK_S = 0.2
# Status messages to all viewers together; a hundred viewers get theirs every half second.
MAX_STATUS_PER_S = 200.0
# Kind, source and length of what follows.
MESSAGE_HEADER = struct.Struct(">BBI")
STATUS_MESSAGE, IMAGE_MESSAGE = 0, 1
MJPEG_BOUNDARY = b"\r\n--edgeseg\r\n"


class Viewers:
    """All viewers; of the event loop's thread alone, but for `wake`.

    Args:
        frame_store: Whose pictures they see.
        status_json: What they are told beside.
    """

    def __init__(self, frame_store: FrameStore, status_json: StatusJson) -> None:
        self.frame_store = frame_store
        self._status_json = status_json
        self.connected: set[Viewer] = set()
        self.status_message = b""
        self.updated = asyncio.Event()
        self.ended = False

    def wake(self) -> None:
        """Let every viewer look for what is new."""
        self.updated.set()
        self.updated = asyncio.Event()

    def broadcast_status(self) -> None:
        """Send every viewer the current status."""
        self.status_message = self._status_json.json()
        self.wake()

    async def tick(self) -> None:
        """Broadcast the status at intervals until cancelled."""
        while True:
            await asyncio.sleep(max(TICK_S, len(self.connected) / MAX_STATUS_PER_S))
            self.frame_store.catch_up()
            if self.connected:
                self.broadcast_status()

    def end(self) -> None:
        """Broadcast the last status; every viewer ends after it."""
        self.ended = True
        self.broadcast_status()

    def add(self, viewer: Viewer) -> None:
        """Add a viewer."""
        self.connected.add(viewer)
        for source in viewer.sources:
            self.frame_store.count_viewers(source, 1)
        self.status_message = self._status_json.json()

    def remove(self, viewer: Viewer) -> None:
        """Remove a viewer."""
        self.connected.discard(viewer)
        for source in viewer.sources:
            self.frame_store.count_viewers(source, -1)


class Viewer:
    """An endless response: images, and status messages between them; an ASGI application.

    Args:
        viewers: It is one of.
        sources: It sees.
        mjpeg: Pictures alone, as `multipart/x-mixed-replace`, which many programs know; else what the page
            wants: messages, each after its kind, source and length.
    """

    def __init__(self, viewers: Viewers, sources: Iterable[int], *, mjpeg: bool = False) -> None:
        self._viewers = viewers
        self.sources = tuple(sources)
        self._mjpeg = mjpeg
        self._seen = dict.fromkeys(self.sources, 0)
        self._sent_status: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is new until the run or the viewer ends."""
        kind = "multipart/x-mixed-replace; boundary=edgeseg" if self._mjpeg else "application/octet-stream"
        # nginx would collect pictures before it passes them on.
        headers = [(b"content-type", kind.encode()), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body"})
            return
        self._viewers.add(self)
        sending = asyncio.ensure_future(self._send_all(send))
        leaving = asyncio.ensure_future(client_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            self._viewers.remove(self)
        await asyncio.gather(sending, leaving, return_exceptions=True)
        if not sending.cancelled():
            # Whatever went wrong is the server's to log.
            sending.result()

    async def _send_all(self, send: Send) -> None:
        ended = False
        if self._mjpeg:
            await self._send(send, MJPEG_BOUNDARY)
        while not ended:
            # Before asking what is new, so that nothing comes unseen between the two.
            updated, ended = self._viewers.updated, self._viewers.ended
            if body := b"".join(self._new()):
                await self._send(send, body)
            elif not ended:
                await updated.wait()
        await send({"type": "http.response.body"})

    async def _send(self, send: Send, body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        # Waits until most of it is on its way: what is chosen next is the newest then, not now.
        await send({"type": "http.response.body", "body": b"", "more_body": True})

    def _new(self) -> Iterable[bytes]:
        status_message = self._viewers.status_message
        if not self._mjpeg and status_message is not self._sent_status:
            self._sent_status = status_message
            yield MESSAGE_HEADER.pack(STATUS_MESSAGE, 0, len(status_message)) + status_message
        for source in self.sources:
            picture = self._viewers.frame_store.picture(source)
            if picture is not None and picture.number != self._seen[source]:
                self._seen[source] = picture.number
                yield self._part(source, picture)

    def _part(self, source: int, picture: CompressedImage) -> bytes:
        size = len(picture.jpeg)
        if self._mjpeg:
            # The boundary after the picture, or browsers would show it only when the next one begins.
            head = f"Content-Type: image/jpeg\r\nContent-Length: {size}\r\n\r\n"
            return b"".join((head.encode(), picture.jpeg, MJPEG_BOUNDARY))
        return MESSAGE_HEADER.pack(IMAGE_MESSAGE, source, size) + picture.jpeg


async def client_left(receive: Receive) -> None:
    """Wait until the client of a request has left."""
    while (await receive())["type"] != "http.disconnect":
        # A body, which nobody asked for.
        pass
