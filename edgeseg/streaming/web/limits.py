"""What the server puts up with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLimits:
    """How many may come, and how long they may take.

    Attributes:
        connections: At a time; files are what the run itself needs as well, and a process may often have no
            more than 1024 open.
        request_s: For a whole request, head and body, from the moment that the connection is there or the
            answer before is given.
        unread_s: For the next part of an answer to be taken; then its reader is gone, though its connection
            does not say so.
        stuck_s: The same, where another client wants the place.
        check_s: How often these times are looked at.
        wrong_token_delay_s: Delay before a wrong token is answered.
        max_waiting_per_client: Most wrong tokens of one client that wait for their answer; further ones are
            refused at once.
        max_waiting: The same for all clients together.
    """

    connections: int = 192
    request_s: float = 10.0
    unread_s: float = 30.0
    stuck_s: float = 2.0
    check_s: float = 0.25
    wrong_token_delay_s: float = 0.5
    max_waiting_per_client: int = 4
    max_waiting: int = 32


DEFAULT_LIMITS = WebLimits()
