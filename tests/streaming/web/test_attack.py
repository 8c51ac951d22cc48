"""Clients that want to keep others out: nobody waits for them."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from starlette.requests import Request

from edgeseg.streaming.web.attempts import WrongTokenDelay
from edgeseg.streaming.web.connections import _network_from_client
from edgeseg.streaming.web.limits import WebLimits

from .viewing import Viewer, ask, connect, make_shown, said, send, until

if TYPE_CHECKING:
    from typing import Any

    from .viewing import OpenPage

TOKEN = "corréct horse"
GET = b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n"
WHOLE = GET + b"\r\n"
WRONG = GET + b"Authorization: Bearer wrong\r\n\r\n"
POST = b"POST /threshold HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n"
SOON = WebLimits(request_s=0.25, unread_s=0.25, check_s=0.05)
FOR_EVER_S = 1000.0
BASIC = {"Authorization": "Basic OndlaXJk"}


def is_cut(client: socket.socket) -> bool:
    """Tell without waiting whether the other side has hung up; what it says is thrown away."""
    client.setblocking(False)
    try:
        while client.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True


def is_cut_while_sending(client: socket.socket, data: bytes) -> bool:
    try:
        client.setblocking(True)
        client.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        return True
    return is_cut(client)


@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "token"])
@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nA: ", b"a"),
        (WHOLE, b""),
        (WHOLE + b"GET /", b"a"),
        (WHOLE * 3 + b"GET /", b"a"),
        (POST + b"\r\n", b" "),
        (POST.replace(b"/threshold", b"/login") + b"\r\n", b" "),
        (POST.replace(b"/threshold", b"/nothing") + b"\r\n", b" "),
        (POST + b"Expect: 100-continue\r\n\r\n", b""),
        (POST.replace(b"Content-Length: 99999", b"Transfer-Encoding: chunked") + b"\r\n", b"1\r\na\r\n"),
        (POST.replace(b"POST /threshold", b"GET /live") + b"\r\n", b" "),
        (POST.replace(b"POST /threshold", b"GET /page.css") + b"\r\n", b" "),
    ],
    ids=[
        "silent",
        "head",
        "idle",
        "second",
        "pipelined",
        "body",
        "login",
        "nothing",
        "expect",
        "chunks",
        "viewer",
        "file",
    ],
)
def test_a_request_has_a_time_to_come_in(
    open_page: OpenPage, token: str | None, first: bytes, more: bytes
) -> None:
    """However it is drawn out, and whatever was answered before."""
    page = open_page(token=token, limits=SOON)
    with closing(send(page, first)) as client:

        def is_cut() -> bool:
            time.sleep(0.03)
            return is_cut_while_sending(client, more)

        until(is_cut, "the end")


def test_an_answer_has_a_time_to_be_taken(open_page: OpenPage) -> None:
    page = open_page(limits=SOON)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(0.2)
    client.connect(("127.0.0.1", page.address.port))
    with closing(client):

        def full() -> bool:
            try:
                client.sendall(b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
            except OSError as exc:
                return not isinstance(exc, TimeoutError)
            return False

        until(full, "the end")
    assert ask(page, "GET", "/status.json")[0] == 200


def test_strangers_make_room_for_whoever_knows_the_token(open_page: OpenPage) -> None:
    page = open_page(token=TOKEN, limits=WebLimits(connections=6, request_s=FOR_EVER_S))
    page.write(make_shown())
    with closing(Viewer(page, "/live?token=corr%C3%A9ct%20horse")) as viewer:
        assert viewer.answer.status == 200
        strangers = [send(page, data) for data in (b"", b"GET /", WHOLE, POST + b"\r\n", WRONG) * 3]

        for _ in range(10):
            assert ask(page, "GET", "/status.json?token=corr%C3%A9ct%20horse")[0] == 200
        assert sum(map(is_cut, strangers)) >= 10
        for _ in range(5):
            viewer.next()
    for client in strangers:
        client.close()


def test_who_asks_for_nothing_makes_room_where_there_is_no_token(open_page: OpenPage) -> None:
    page = open_page(limits=WebLimits(connections=5, request_s=FOR_EVER_S))
    clients = [send(page, data) for data in (WHOLE + b"GET", b"", POST + b"\r\n", WHOLE) * 3]

    assert ask(page, "GET", "/status.json")[0] == 200
    assert sum(map(is_cut, clients)) >= 7
    for client in clients:
        client.close()


def test_who_takes_nothing_makes_room(open_page: OpenPage) -> None:
    page = open_page(limits=WebLimits(connections=2, stuck_s=0.1, check_s=0.02))
    clients = []
    for _ in range(2):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", page.address.port))
        client.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        clients.append(client)

    def answered() -> bool:
        page.write(make_shown(1, size_hw=(700, 900), detections=None))
        try:
            return ask(page, "GET", "/status.json")[0] == 200
        except OSError:
            return False

    page._status_json._title = "long" * 100_000
    until(answered)
    for client in clients:
        client.close()


def test_who_is_served_stays(open_page: OpenPage) -> None:
    page = open_page(limits=WebLimits(connections=2))
    with closing(Viewer(page)) as one, closing(Viewer(page)) as other:
        with closing(send(page, WHOLE)) as one_more:
            assert said(one_more) == b""
        assert one.next()
        assert other.next()
    until(lambda: not page._web_server._limiter._connections)
    assert ask(page, "GET", "/status.json")[0] == 200


def test_one_machine_cannot_take_all(open_page: OpenPage) -> None:
    page = open_page(limits=WebLimits(connections=4, request_s=FOR_EVER_S))
    with closing(connect(page, "127.0.0.2")) as early:
        many = [connect(page) for _ in range(20)]

        until(lambda: sum(map(is_cut, many)) == 17)
        assert not is_cut(early)
    for client in many:
        client.close()


@pytest.mark.parametrize(
    ("client", "place"),
    [
        (("10.0.0.1", 5), "10.0.0.1"),
        (("::ffff:10.0.0.1", 5), "10.0.0.1"),
        (("2001:db8::1", 5), str(0x20010DB8 << 32)),
        (("2001:db8::ffff:2", 5), str(0x20010DB8 << 32)),
        (("fe80::1%eth0", 5), str(0xFE80 << 48)),
        (None, ""),
    ],
)
def test_where_a_client_is(client: tuple[str, int] | None, place: str) -> None:
    assert _network_from_client(client) == place


def test_the_right_token_does_not_wait_for_wrong_ones(open_page: OpenPage) -> None:
    """Wrong ones wait for ever here; those that are too many are refused at once."""
    page = open_page(
        token="right token", limits=WebLimits(wrong_token_delay_s=FOR_EVER_S, max_waiting_per_client=3)
    )
    waiting = [send(page, WRONG) for _ in range(3)]
    login = {"Content-Type": "application/x-www-form-urlencoded"}

    def refused() -> bool:
        # Until the three are known to wait, this one would.
        with closing(send(page, WRONG.replace(b"\r\nAuth", b"\r\nX-Forwarded-For: 9.9.9.9\r\nAuth"))) as more:
            more.settimeout(0.1)
            try:
                return more.recv(100).startswith(b"HTTP/1.1 429")
            except TimeoutError:
                return False

    until(refused)
    assert ask(page, "GET", "/?token=wrong")[0] == 429
    assert ask(page, "POST", "/login", "token=wrong", **login)[0] == 429
    assert ask(page, "GET", "/status.json", Authorization="Bearer right token")[0] == 200
    assert ask(page, "GET", "/status.json?token=right%20token")[0] == 200
    assert ask(page, "POST", "/login", "token=right+token", **login)[0] == 303
    # Whoever gives none is told so at once.
    assert ask(page, "GET", "/status.json", **BASIC)[0] == 401
    for client in waiting:
        client.close()


class Asking(Request):
    """A request whose client leaves when it is told to."""

    def __init__(self, host: str) -> None:
        super().__init__({"type": "http", "client": (host, 1), "headers": []}, self.wait)
        self.leaving = asyncio.Event()

    async def wait(self) -> dict[str, Any]:
        await self.leaving.wait()
        return {"type": "http.disconnect"}


def test_attempts_are_bounded_and_leave_with_their_client() -> None:
    async def attempt() -> None:
        attempts = WrongTokenDelay(
            WebLimits(wrong_token_delay_s=FOR_EVER_S, max_waiting_per_client=2, max_waiting=5)
        )
        asking = [Asking(f"10.0.0.{number // 2}") for number in range(5)]
        waiting = [asyncio.ensure_future(attempts.delay(each)) for each in asking]
        await asyncio.sleep(0)

        assert not await attempts.delay(Asking("10.0.0.0"))
        assert not await attempts.delay(Asking("10.0.0.99"))
        assert len(attempts._waiting) == 3
        for each in asking:
            each.leaving.set()
        assert await asyncio.gather(*waiting) == [True] * 5
        assert not attempts._waiting

    asyncio.run(attempt())
