"""Requests that are none, or hardly: an answer, and never that something broke."""

from __future__ import annotations

import random
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edgeseg.streaming.web.limits import WebLimits

from .viewing import ask, make_shown, said, send

if TYPE_CHECKING:
    from .viewing import OpenPage

TOKEN = "corréct horse"
SEEDS = range(8)
ODD_PATHS = [
    b"/pictures/" + b"9" * 5000 + b".mjpg",
    b"/snapshots/" + b"9" * 9000 + b".png",
    b"/snapshots/-1.jpg",
    b"/snapshots/%D9%A1.jpg",
    b"/snapshots/0.jpg%00",
    b"/snapshots/%00.jpg",
    b"/snapshots/0.",
    b"/snapshots/1e3.jpg",
    b"/%ED%A0%80",
    b"/%FF%FE?token=%ED%A0%80&token=%00",
    b"//evil.example/",
    b"//evil.example/..",
    b"/page.css/",
    b"/live/",
    b"/login?token=" + b"a" * 9000,
    b"/?" + b"token=&" * 1500,
    b"http://[x/",
    b"http://evil.example/status.json",
    b"*",
    b"/?token=%",
]
ODD_HEADERS = [
    b"Host: [x",
    b"Host: [::1",
    b"Host: a:b:c",
    b"Host: \xff\xfe",
    b"Host: localhost:99999999999",
    b"Host: ",
    b"Host: a/../b?c#d",
    b"Host: localhost\r\nCookie: " + b"a=b; " * 2000,
    b"Host: localhost\r\nCookie: edgeseg-\xff=\xed\xa0\x80; =; ;;\r\nCookie: x",
    b"Host: localhost\r\nAuthorization: Bearer \xff\x80",
    b"Host: localhost\r\nAuthorization: \r\nAuthorization: Bearer",
    b"Host: localhost\r\nOrigin: \xff\r\nSec-Fetch-Site: \xff",
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade",
    b"Host: localhost\r\nConnection: \xff, close, upgrade\r\nUpgrade: h2c",
    b"Host: localhost\r\nContent-Length: 10000000000",
    b"Host: localhost\r\nContent-Length: " + b"9" * 5000,
    b"Host: localhost\r\nContent-Length: 1\r\nContent-Length: 2",
    b"Host: localhost\r\nTransfer-Encoding: chunked, chunked",
    b"Host: localhost\r\nContent-Type: multipart/form-data; boundary=" + b"x" * 500,
    b"Host: localhost\r\nRange: bytes=9-1\r\nAccept: \xff",
]
ODD_BODIES = [
    b"",
    b"token=%ED%A0%80",
    b"\xff" * 50,
    b"5\r\nabcde\r\n0\r\n\r\n",
    b"\x00",
    b"token=" + b"a" * 2000,
]
METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"DELETE", b"CONNECT", b"TRACE", b"X-ODD"]


def odd_requests(seed: int, count: int = 60) -> list[bytes]:
    """Requests put together by chance: right lines, odd ones, and bytes that were changed."""
    chance = random.Random(seed)
    requests = []
    for _ in range(count):
        path = chance.choice([b"/", b"/live", b"/login", b"/threshold", b"/snapshots/0.jpg", *ODD_PATHS])
        head = chance.choice([b"Host: localhost", *ODD_HEADERS])
        version = chance.choice([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9"])
        line = b" ".join((chance.choice(METHODS), path, version))
        whole = bytearray(line + b"\r\n" + head + b"\r\n\r\n" + chance.choice(ODD_BODIES))
        for _ in range(chance.choice([0, 0, 1, 3])):
            whole[chance.randrange(len(whole))] = chance.randrange(256)
        requests.append(bytes(whole))
    return requests


@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "token"])
@pytest.mark.parametrize("path", ODD_PATHS, ids=range(len(ODD_PATHS)))
def test_odd_paths(open_page: OpenPage, token: str | None, path: bytes) -> None:
    page = open_page(token=token, limits=WebLimits(wrong_token_delay_s=0.01))
    page.write(make_shown())
    with closing(
        send(page, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    ) as client:
        assert said(client, 10)[9:10] in (b"2", b"3", b"4")


@pytest.mark.parametrize("seed", SEEDS)
def test_odd_requests_break_nothing(open_page: OpenPage, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    page = open_page(
        token=TOKEN if seed % 2 else None,
        limits=WebLimits(wrong_token_delay_s=0.01, request_s=0.3, check_s=0.05),
    )
    page.write(make_shown())
    for request in odd_requests(seed):
        with closing(send(page, request)) as client:
            client.shutdown(socket.SHUT_WR)
            assert said(client, 10)[9:10] in (b"", b"2", b"3", b"4"), request
    assert "Traceback" not in caplog.text
    assert ask(page, "GET", "/page.css")[0] in (200, 403)
