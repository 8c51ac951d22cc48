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

from .auth import ADMITTED

if TYPE_CHECKING:
    from .limits import Limits

# Less than this of an answer taken is nothing taken.
STEP_BYTES = 16 * 1024
# Whoever has one address of IPv6 usually has all with the same upper 64 bits.
NETWORK_BITS = 64


class Worth(IntEnum):
    """Who goes first when a newcomer finds no room."""

    STRANGER = 0
    """Has not shown that it may see the page."""
    IDLE = 1
    """May see it, and has asked for nothing yet."""
    STUCK = 2
    """Takes nothing of its answer."""
    SERVED = 3
    """Is never cut for others."""


class Connection(H11Protocol):
    """A connection that knows since when it is waited for.

    Args:
        crowd: It belongs to.
        settings: As uvicorn gives them.
    """

    def __init__(self, crowd: Crowd, **settings: Any) -> None:
        super().__init__(**settings)
        self.access_log = False
        self.place = ""
        self._crowd = crowd
        self._waited_since_s = self._taken_s = time.monotonic()
        self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it in; see `asyncio.Protocol`."""
        super().connection_made(transport)
        self.place = _place_of(self.client)
        self._crowd.come(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it; see `asyncio.Protocol`."""
        super().connection_lost(exc)
        self._crowd.go(self)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._waited_since_s = time.monotonic()
        super().on_response_complete()

    def resume_writing(self) -> None:
        """Most of what was written has been taken; see `asyncio.Protocol`."""
        self._taken_s, self._unsent = time.monotonic(), self.transport.get_write_buffer_size()
        super().resume_writing()

    def look(self, now_s: float) -> None:
        """Notice what has been taken of the answer since the last look."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent - STEP_BYTES:
            self._taken_s, self._unsent = now_s, unsent
        self._unsent = max(self._unsent, unsent)

    def overdue(self, now_s: float, limits: Limits) -> bool:
        """Tell whether a request, or the taking of an answer, has lasted too long."""
        waited_s = now_s - self._waited_since_s if self._receiving else 0.0
        return waited_s > limits.request_s or now_s - self._taken_s > limits.unread_s

    def worth(self, now_s: float, limits: Limits) -> Worth:
        """What speaks against cutting it for another."""
        if self.scope is None or not self.scope["state"].get(ADMITTED):
            return Worth.STRANGER
        if self._receiving:
            return Worth.IDLE
        return Worth.STUCK if now_s - self._taken_s > limits.stuck_s else Worth.SERVED

    @property
    def _receiving(self) -> bool:
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)


class Crowd:
    """All connections; of the event loop's thread alone.

    Args:
        limits: What each may take.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # A dictionary keeps them in the order in which they came.
        self._connections: dict[Connection, None] = {}

    def come(self, connection: Connection) -> None:
        """Take a connection in; where there are too many, another one goes, or else this one."""
        if len(self._connections) >= self._limits.connections:
            self._cut(self._least_worth() or connection)
        if not connection.transport.is_closing():
            self._connections[connection] = None

    def go(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)

    def clear(self) -> None:
        """Cut all."""
        for connection in list(self._connections):
            self._cut(connection)

    async def watch(self) -> None:
        """Cut whoever takes too long, until cancelled."""
        while True:
            await asyncio.sleep(self._limits.check_s)
            now_s = time.monotonic()
            for connection in list(self._connections):
                connection.look(now_s)
                if connection.overdue(now_s, self._limits):
                    self._cut(connection)

    def _least_worth(self) -> Connection | None:
        """Who goes: of those worth least, the oldest from where most of them are."""
        now_s = time.monotonic()
        worth = {each: each.worth(now_s, self._limits) for each in self._connections}
        least = min(worth.values(), default=Worth.SERVED)
        if least == Worth.SERVED:
            return None
        candidates = [each for each in self._connections if worth[each] == least]
        ((place, _),) = Counter(each.place for each in candidates).most_common(1)
        return next(each for each in candidates if each.place == place)

    def _cut(self, connection: Connection) -> None:
        self.go(connection)
        connection.transport.abort()


def _place_of(client: tuple[str, int] | None) -> str:
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
