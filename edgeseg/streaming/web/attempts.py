"""Wrong tokens: how they are held up without holding up anybody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from .viewers import left

if TYPE_CHECKING:
    from starlette.requests import Request

    from .limits import Limits


class Attempts:
    """Those who gave a wrong token and wait to hear it.

    Args:
        limits: How long and how many.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: Counter[str] = Counter()

    async def hold_up(self, request: Request) -> bool:
        """Wait before the answer, at most until the client leaves.

        Returns:
            False where too many wait already; then nothing is waited for.
        """
        limits, client = self._limits, request.client.host if request.client else ""
        if self._waiting[client] >= limits.wrong_clients or self._waiting.total() >= limits.wrong_all:
            # Looking into a counter keeps nothing in it.
            return False
        self._waiting[client] += 1
        try:
            await asyncio.wait_for(left(request.receive), limits.wrong_s)
        except asyncio.TimeoutError:
            return True
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]
        return True
