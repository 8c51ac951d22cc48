"""Where the page is served, and what is said when it cannot be."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from edgeseg.errors import ConfigError
from edgeseg.streaming.web.address import WebAddress, is_loopback, listen, parse_address

if TYPE_CHECKING:
    from typing import NoReturn


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "127.0.0.1", 8080),
        ("9000", "127.0.0.1", 9000),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("0.0.0.0", "0.0.0.0", 8080),
        ("jetson.local:0", "jetson.local", 0),
        ("[::1]:8080", "::1", 8080),
        ("[::]", "::", 8080),
        (" 127.0.0.1:1 ", "127.0.0.1", 1),
    ],
)
def test_what_may_be_given(text: str, host: str, port: int) -> None:
    assert parse_address(text) == WebAddress(host=host, port=port)


@pytest.mark.parametrize(
    "text", [":8080", "host:", "host:http", "::1", "::1:8080", "[::1", "http://x:80", "[]:1"]
)
def test_what_may_not(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT or PORT") as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["65536", "host:99999"])
def test_no_such_port(text: str) -> None:
    with pytest.raises(ConfigError, match=r"within 0 and 65535"):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("192.168.1.4", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_loopback(host: str, wanted: bool) -> None:
    assert is_loopback(host) is wanted


def test_urls() -> None:
    assert WebAddress(port=80).url == "http://127.0.0.1:80/"
    assert WebAddress(host="::1", port=81).url == "http://[::1]:81/"
    assert "0.0.0.0" not in WebAddress(host="0.0.0.0", port=82).url


def test_a_free_port_is_chosen() -> None:
    with listen(WebAddress(port=0)) as listener:
        assert listener.getsockname()[1] > 0


def test_a_port_in_use_is_named_with_another() -> None:
    with listen(WebAddress(port=0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is taken .* --web 127.0.0.1:"):
            listen(WebAddress(port=port))


def test_an_address_of_another_machine() -> None:
    with pytest.raises(ConfigError, match=r"address of this machine, got 192\.0\.2\.7"):
        listen(WebAddress(host="192.0.2.7", port=0))


def test_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> NoReturn:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigError, match="'nowhere', which is not known"):
        listen(WebAddress(host="nowhere"))
