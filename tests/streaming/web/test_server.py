"""The server's thread: ports, clients that misbehave, the end, and silence on stderr."""

from __future__ import annotations

import importlib
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edgeseg.errors import ConfigError, DependencyError
from edgeseg.streaming.controls import Controls
from edgeseg.streaming.web import WebAddress, WebPage, routes
from edgeseg.streaming.web.limits import WebLimits

from .viewing import Viewer, ask, connect, make_page, make_shown, said, status_of

if TYPE_CHECKING:
    from types import ModuleType

    from .viewing import OpenPage


def test_a_port_in_use_is_told_before_anything_runs(page: WebPage) -> None:
    with pytest.raises(ConfigError, match=f"port {page.address.port} of 127.0.0.1 is taken"):
        WebPage(WebAddress(port=page.address.port), Controls())


def test_the_port_is_free_again_at_once() -> None:
    """The system still remembers the connection that the first one cut."""
    first = make_page()
    with closing(Viewer(first)):
        first.close()
        second = WebPage(first.address, Controls())
        assert ask(second, "GET", "/")[0] == 200
        second.close()


def test_closing_ends_threads_and_connections(page: WebPage) -> None:
    page.write(make_shown())
    with closing(connect(page)) as client:
        page.close()

        assert not [thread for thread in threading.enumerate() if thread.name.startswith("edgeseg-")]
        assert said(client) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(page)
    page.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTQ/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 100_000,
        b"POST /threshold HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /threshold HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\n\n\n\n",
    ],
    ids=["tls", "no host", "version", "long", "length", "chunk", "empty"],
)
def test_what_is_no_request_is_refused(page: WebPage, request_bytes: bytes) -> None:
    with closing(connect(page)) as client:
        client.sendall(request_bytes)
        client.shutdown(socket.SHUT_WR)
        answer = said(client)

    assert answer[:12] in (b"", b"HTTP/1.1 400"), answer[:80]
    assert status_of(page)["state"] == "waiting"


def test_a_body_nobody_reads(open_page: OpenPage) -> None:
    """Neither kept nor waited for."""
    page = open_page(limits=WebLimits(request_s=0.2, check_s=0.05))
    with closing(connect(page)) as client:
        client.sendall(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\nabc")

        assert said(client).startswith(b"HTTP/1.1 404")
    assert status_of(page)["state"] == "waiting"


def test_a_body_that_does_not_come(page: WebPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "BODY_TIMEOUT_S", 0.2)
    with closing(connect(page)) as client:
        client.sendall(b"POST /threshold HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")

        assert said(client).startswith(b"HTTP/1.1 408")


def test_a_client_that_asks_for_nothing(open_page: OpenPage) -> None:
    page = open_page(limits=WebLimits(request_s=0.2, check_s=0.05))
    with closing(connect(page)) as client, closing(connect(page)) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHo")

        assert said(client) == said(slow) == b""


def test_nothing_is_said_on_stderr_and_signals_stay() -> None:
    script = """
import logging, signal, socket
from edgeseg.streaming.controls import Controls
from edgeseg.streaming.web import WebAddress, WebPage
before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
page = WebPage(WebAddress(port=0), Controls())
with socket.create_connection(("127.0.0.1", page.address.port)) as client:
    client.sendall(b"nonsense\\r\\n\\r\\n")
    while client.recv(1000):
        pass
assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
page.close()
assert not logging.getLogger().handlers
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_program_that_forgets_to_close_can_end() -> None:
    script = """
from edgeseg.streaming.controls import Controls
from edgeseg.streaming.web import WebAddress, WebPage
page = WebPage(WebAddress(port=0), Controls())
print("up", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode in (0, -signal.SIGINT)
    assert done.stdout == "up\n"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def absent(module: str) -> ModuleType:
        if module == "uvicorn":
            msg = "No module named 'uvicorn'"
            raise ModuleNotFoundError(msg, name="uvicorn")
        return real(module)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(DependencyError, match=re.escape("pip install 'edgeseg[web]'")):
        make_page()
