"""The server in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from .connections import Connection, Crowd

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp

    from .limits import Limits
    from .viewers import Audience

# Between two looks at the connections there are: each is a file more than the limit says.
ACCEPTED_AT_ONCE = 16
# In the kernel. Whoever finds no place there tries again only after a second.
WAITING_CONNECTIONS = 1024
# For viewers to take the last picture when the run ends.
FAREWELL_S = 1.0
JOIN_S = 10.0

# Without a handler Python writes warnings to stderr, into the run's progress; whoever configures logging
# gets them.
logging.getLogger("uvicorn").addHandler(logging.NullHandler())


class _Server(uvicorn.Server):
    """Accepts few connections at a time, and lets many wait."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for listener in sockets or []:
            # asyncio takes one number for both.
            listener.listen(WAITING_CONNECTIONS)


class Serving:
    """Runs the server until it is stopped.

    Args:
        listener: Where connections come in; closed at the end.
        limits: What it puts up with.
    """

    def __init__(self, listener: socket.socket, limits: Limits) -> None:
        self._listener = listener
        self._crowd = Crowd(limits)
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, app: ASGIApp, audience: Audience) -> None:
        """Serve from now on."""
        config = uvicorn.Config(
            app,
            http=partial(Connection, self._crowd),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            backlog=ACCEPTED_AT_ONCE,
            timeout_graceful_shutdown=3,
        )
        self._server = _Server(config)
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
        watching = [asyncio.ensure_future(each) for each in (self._audience.tick(), self._crowd.watch())]
        self._ready.set()
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            for each in watching:
                each.cancel()

    def _part(self) -> None:
        # The loop itself keeps no hold of a task.
        self._parting = asyncio.ensure_future(self._farewell())

    async def _farewell(self) -> None:
        assert self._server is not None
        self._audience.end()
        # Takes no more connections, and waits for those there are.
        self._server.should_exit = True
        await asyncio.sleep(FAREWELL_S)
        self._crowd.clear()
