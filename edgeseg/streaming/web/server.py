"""The server in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from .connections import ConnectionLimiter, WebConnection

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp

    from .limits import WebLimits
    from .viewers import Viewers

# Between two looks at the connections there are: each is a file more than the limit says.
ACCEPTED_AT_ONCE = 16
# In the kernel. Whoever finds no place there tries again only after a second.
BACKLOG = 1024
# For viewers to take the last picture when the run ends.
CLOSING_S = 1.0
JOIN_S = 10.0

# Without a handler Python writes warnings to stderr, into the run's progress; whoever configures logging
# gets them.
logging.getLogger("uvicorn").addHandler(logging.NullHandler())


class _UvicornServer(uvicorn.Server):
    """Accepts few connections at a time, and lets many wait."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for listener in sockets or []:
            # asyncio takes one number for both.
            listener.listen(BACKLOG)


class WebServer:
    """Runs the server until it is stopped.

    Args:
        listener: Where connections come in; closed at the end.
        limits: What it puts up with.
    """

    def __init__(self, listener: socket.socket, limits: WebLimits) -> None:
        self._listener = listener
        self._limiter = ConnectionLimiter(limits)
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, app: ASGIApp, viewers: Viewers) -> None:
        """Serve from now on."""
        config = uvicorn.Config(
            app,
            http=partial(WebConnection, self._limiter),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            backlog=ACCEPTED_AT_ONCE,
            timeout_graceful_shutdown=3,
        )
        self._server = _UvicornServer(config)
        self._viewers = viewers
        self._thread = threading.Thread(target=self._run, name="edgeseg-web", daemon=True)
        self._thread.start()
        self._ready.wait()

    def wake(self) -> None:
        """Let the viewers look for updates; any thread may call it."""
        # After the loop's end nobody waits.
        with suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._viewers.wake)

    def stop(self) -> None:
        """Send the viewers the last status and end the thread."""
        if self._thread is None or self._loop is None:
            return
        # It may have ended before.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._schedule_close)
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._ready.set()
            self._listener.close()

    async def _serve(self) -> None:
        assert self._server is not None
        self._loop = asyncio.get_running_loop()
        background = [
            asyncio.ensure_future(each) for each in (self._viewers.tick(), self._limiter.enforce_limits())
        ]
        self._ready.set()
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            for each in background:
                each.cancel()

    def _schedule_close(self) -> None:
        # The loop itself keeps no hold of a task.
        self._closing = asyncio.ensure_future(self._close_gracefully())

    async def _close_gracefully(self) -> None:
        assert self._server is not None
        self._viewers.end()
        # Takes no more connections, and waits for those there are.
        self._server.should_exit = True
        await asyncio.sleep(CLOSING_S)
        self._limiter.abort_all()
