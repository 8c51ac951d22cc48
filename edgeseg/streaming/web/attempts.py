"""Wrong tokens: how they are held up without holding up anybody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from .viewers import client_left

if TYPE_CHECKING:
    from starlette.requests import Request

    from .limits import WebLimits


class WrongTokenDelay:
    """Delays the answers to wrong tokens, without delaying other requests.

    Args:
        limits: How long and how many.
    """

    def __init__(self, limits: WebLimits) -> None:
        self._limits = limits
        self._waiting: Counter[str] = Counter()

    async def delay(self, request: Request) -> bool:
        """Wait before the answer, at most until the client leaves.

        Returns:
            False where too many wait already; then nothing is waited for.
        """
        limits, client = self._limits, request.client.host if request.client else ""
        if (
            self._waiting[client] >= limits.max_waiting_per_client
            or self._waiting.total() >= limits.max_waiting
        ):
            # Looking into a counter keeps nothing in it.
            return False
        self._waiting[client] += 1
        try:
            await asyncio.wait_for(client_left(request.receive), limits.wrong_token_delay_s)
        except asyncio.TimeoutError:
            return True
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]
        return True
