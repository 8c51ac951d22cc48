"""The connections to the page: which are cut, and which makes room when there are too many."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from enum import IntEnum
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .auth import AUTHENTICATED

if TYPE_CHECKING:
    from .limits import WebLimits

# Less than this of an answer taken is nothing taken.
MIN_PROGRESS_BYTES = 16 * 1024
# Whoever has one address of IPv6 usually has all with the same upper 64 bits.
NETWORK_BITS = 64


class Priority(IntEnum):
    """Which connections are closed first when there is no room for a new one."""

    UNAUTHENTICATED = 0
    """Has not shown that it may see the page."""
    IDLE = 1
    """May see it, and has asked for nothing yet."""
    STALLED = 2
    """Takes nothing of its answer."""
    ACTIVE = 3
    """Is never cut for others."""


class WebConnection(H11Protocol):
    """A connection that knows since when it is waited for.

    Args:
        limiter: It belongs to.
        settings: As uvicorn gives them.
    """

    def __init__(self, limiter: ConnectionLimiter, **settings: Any) -> None:
        super().__init__(**settings)
        self.access_log = False
        self.network = ""
        self._limiter = limiter
        self._waited_since_s = self._progress_s = time.monotonic()
        self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it in; see `asyncio.Protocol`."""
        super().connection_made(transport)
        self.network = _network_from_client(self.client)
        self._limiter.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it; see `asyncio.Protocol`."""
        super().connection_lost(exc)
        self._limiter.remove(self)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._waited_since_s = time.monotonic()
        super().on_response_complete()

    def resume_writing(self) -> None:
        """Most of what was written has been taken; see `asyncio.Protocol`."""
        self._progress_s, self._unsent = time.monotonic(), self.transport.get_write_buffer_size()
        super().resume_writing()

    def note_progress(self, now_s: float) -> None:
        """Notice what has been taken of the answer since the last look."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent - MIN_PROGRESS_BYTES:
            self._progress_s, self._unsent = now_s, unsent
        self._unsent = max(self._unsent, unsent)

    def is_overdue(self, now_s: float, limits: WebLimits) -> bool:
        """Tell whether a request, or the taking of an answer, has lasted too long."""
        waited_s = now_s - self._waited_since_s if self._receiving else 0.0
        return waited_s > limits.request_s or now_s - self._progress_s > limits.unread_s

    def priority(self, now_s: float, limits: WebLimits) -> Priority:
        """Rank it against other connections when one must be closed."""
        if self.scope is None or not self.scope["state"].get(AUTHENTICATED):
            return Priority.UNAUTHENTICATED
        if self._receiving:
            return Priority.IDLE
        return Priority.STALLED if now_s - self._progress_s > limits.stuck_s else Priority.ACTIVE

    @property
    def _receiving(self) -> bool:
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)


class ConnectionLimiter:
    """Limits the number and duration of connections; used only by the event loop's thread.

    Args:
        limits: What each may take.
    """

    def __init__(self, limits: WebLimits) -> None:
        self._limits = limits
        # A dictionary keeps them in the order in which they came.
        self._connections: dict[WebConnection, None] = {}

    def add(self, connection: WebConnection) -> None:
        """Take a connection in; where there are too many, another one goes, or else this one."""
        if len(self._connections) >= self._limits.connections:
            self._abort(self._least_important() or connection)
        if not connection.transport.is_closing():
            self._connections[connection] = None

    def remove(self, connection: WebConnection) -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)

    def abort_all(self) -> None:
        """Cut all."""
        for connection in list(self._connections):
            self._abort(connection)

    async def enforce_limits(self) -> None:
        """Close connections that take too long, until cancelled."""
        while True:
            await asyncio.sleep(self._limits.check_s)
            now_s = time.monotonic()
            for connection in list(self._connections):
                connection.note_progress(now_s)
                if connection.is_overdue(now_s, self._limits):
                    self._abort(connection)

    def _least_important(self) -> WebConnection | None:
        """Who goes: of those worth least, the oldest from where most of them are."""
        now_s = time.monotonic()
        priority = {each: each.priority(now_s, self._limits) for each in self._connections}
        least = min(priority.values(), default=Priority.ACTIVE)
        if least == Priority.ACTIVE:
            return None
        candidates = [each for each in self._connections if priority[each] == least]
        ((network, _),) = Counter(each.network for each in candidates).most_common(1)
        return next(each for each in candidates if each.network == network)

    def _abort(self, connection: WebConnection) -> None:
        self.remove(connection)
        connection.transport.abort()


def _network_from_client(client: tuple[str, int] | None) -> str:
    """Name where a client is; the addresses that one machine can give itself are one place."""
    host = client[0] if client else ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(int(address) >> (address.max_prefixlen - NETWORK_BITS))
    return str(address)
