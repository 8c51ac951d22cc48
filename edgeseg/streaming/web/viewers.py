"""Those who look: each gets the newest picture when it has taken the one before, and never a queue."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive, Scope, Send

    from .frame_store import Gallery, Picture
    from .status import Figures

TICK_S = 0.2
# The figures of all viewers together; a hundred of them get theirs every half second.
MOST_FIGURES_S = 200.0
# Kind, source and length of what follows.
HEAD = struct.Struct(">BBI")
FIGURES, PICTURE = 0, 1
MJPEG_BOUNDARY = b"\r\n--edgeseg\r\n"


class Audience:
    """All viewers; of the event loop's thread alone, but for `wake`.

    Args:
        gallery: Whose pictures they see.
        figures: What they are told beside.
    """

    def __init__(self, gallery: Gallery, figures: Figures) -> None:
        self.gallery = gallery
        self._figures = figures
        self.viewers: set[Viewer] = set()
        self.told = b""
        self.news = asyncio.Event()
        self.over = False

    def wake(self) -> None:
        """Let every viewer look for what is new."""
        self.news.set()
        self.news = asyncio.Event()

    def tell(self) -> None:
        """Give every viewer the figures of now."""
        self.told = self._figures.json()
        self.wake()

    async def tick(self) -> None:
        """Tell figures until cancelled."""
        while True:
            await asyncio.sleep(max(TICK_S, len(self.viewers) / MOST_FIGURES_S))
            self.gallery.catch_up()
            if self.viewers:
                self.tell()

    def end(self) -> None:
        """Tell the last figures; every viewer ends after them."""
        self.over = True
        self.tell()

    def come(self, viewer: Viewer) -> None:
        """Take a viewer in."""
        self.viewers.add(viewer)
        for source in viewer.sources:
            self.gallery.watch(source, 1)
        self.told = self._figures.json()

    def go(self, viewer: Viewer) -> None:
        """Let a viewer out."""
        self.viewers.discard(viewer)
        for source in viewer.sources:
            self.gallery.watch(source, -1)


class Viewer:
    """An endless answer: pictures, and figures between them; an ASGI application.

    Args:
        audience: It is one of.
        sources: It sees.
        mjpeg: Pictures alone, as `multipart/x-mixed-replace`, which many programs know; else what the page
            wants: messages, each after its kind, source and length.
    """

    def __init__(self, audience: Audience, sources: Iterable[int], *, mjpeg: bool = False) -> None:
        self._audience = audience
        self.sources = tuple(sources)
        self._mjpeg = mjpeg
        self._seen = dict.fromkeys(self.sources, 0)
        self._heard: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is new until the run or the viewer ends."""
        kind = "multipart/x-mixed-replace; boundary=edgeseg" if self._mjpeg else "application/octet-stream"
        # nginx would collect pictures before it passes them on.
        headers = [(b"content-type", kind.encode()), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body"})
            return
        self._audience.come(self)
        sending = asyncio.ensure_future(self._send_all(send))
        leaving = asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            self._audience.go(self)
        await asyncio.gather(sending, leaving, return_exceptions=True)
        if not sending.cancelled():
            # Whatever went wrong is the server's to log.
            sending.result()

    async def _send_all(self, send: Send) -> None:
        over = False
        if self._mjpeg:
            await self._send(send, MJPEG_BOUNDARY)
        while not over:
            # Before asking what is new, so that nothing comes unseen between the two.
            news, over = self._audience.news, self._audience.over
            if body := b"".join(self._new()):
                await self._send(send, body)
            elif not over:
                await news.wait()
        await send({"type": "http.response.body"})

    async def _send(self, send: Send, body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        # Waits until most of it is on its way: what is chosen next is the newest then, not now.
        await send({"type": "http.response.body", "body": b"", "more_body": True})

    def _new(self) -> Iterable[bytes]:
        told = self._audience.told
        if not self._mjpeg and told is not self._heard:
            self._heard = told
            yield HEAD.pack(FIGURES, 0, len(told)) + told
        for source in self.sources:
            picture = self._audience.gallery.picture(source)
            if picture is not None and picture.number != self._seen[source]:
                self._seen[source] = picture.number
                yield self._part(source, picture)

    def _part(self, source: int, picture: Picture) -> bytes:
        size = len(picture.jpeg)
        if self._mjpeg:
            # The boundary after the picture, or browsers would show it only when the next one begins.
            head = f"Content-Type: image/jpeg\r\nContent-Length: {size}\r\n\r\n"
            return b"".join((head.encode(), picture.jpeg, MJPEG_BOUNDARY))
        return HEAD.pack(PICTURE, source, size) + picture.jpeg


async def left(receive: Receive) -> None:
    """Wait until the client of a request has left."""
    while (await receive())["type"] != "http.disconnect":
        # A body, which nobody asked for.
        pass
