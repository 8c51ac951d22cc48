"""The server in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp

    from .audience import Audience

# Files are what the run itself needs as well: a process may usually have 1024 open.
MOST_CONNECTIONS = 256
# For whoever connects and asks for nothing.
REQUEST_S = 15.0
# For viewers to take the last picture when the run ends.
FAREWELL_S = 1.0
JOIN_S = 10.0

# Without a handler Python writes warnings to stderr, into the run's progress; whoever configures logging
# gets them.
logging.getLogger("uvicorn").addHandler(logging.NullHandler())


class _Connection(H11Protocol):
    """A connection that is cut when there are too many, or when it says nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.access_log = False
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._impatience = self.loop.call_later(REQUEST_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if hasattr(self, "_impatience"):
            self._impatience.cancel()

    def _give_up(self) -> None:
        if self.cycle is None:
            self.transport.abort()


class Serving:
    """Runs the server until it is stopped.

    Args:
        listener: Where connections come in; closed at the end.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, app: ASGIApp, audience: Audience) -> None:
        """Serve from now on."""
        config = uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=3,
        )
        self._server = uvicorn.Server(config)
        self._audience = audience
        self._thread = threading.Thread(target=self._run, name="edgeseg-web", daemon=True)
        self._thread.start()
        self._ready.wait()

    def wake(self) -> None:
        """Let the audience look for news; any thread may call it."""
        # After the loop's end nobody waits.
        with suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._audience.wake)

    def dismiss(self, client: object) -> None:
        """Cut the connection of a client."""
        for connection in self._connections():
            if connection.client == client:
                connection.transport.abort()

    def stop(self) -> None:
        """Say farewell to the viewers and end the thread."""
        if self._thread is None or self._loop is None:
            return
        # It may have ended before.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._part)
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
        ticking = asyncio.ensure_future(self._audience.tick())
        self._ready.set()
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            ticking.cancel()

    def _part(self) -> None:
        # The loop itself keeps no hold of a task.
        self._parting = asyncio.ensure_future(self._farewell())

    async def _farewell(self) -> None:
        assert self._server is not None
        self._audience.end()
        # Takes no more connections, and waits for those there are.
        self._server.should_exit = True
        await asyncio.sleep(FAREWELL_S)
        for connection in self._connections():
            connection.transport.abort()

    def _connections(self) -> list[_Connection]:
        return [] if self._server is None else list(self._server.server_state.connections)  # type: ignore[arg-type]
