"""Who may see the page and who may change the run."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from edgeseg.errors import ConfigError
from edgeseg.streaming.controls import Controls
from edgeseg.streaming.web import WebAddress, WebPage

from .viewing import ask, make_shown

if TYPE_CHECKING:
    from .viewing import OpenPage

TOKEN = "corréct horse"
WISH = '{"score_threshold": 0.25}'
PATHS = ["/", "/page.js", "/live", "/pictures/0.mjpg", "/snapshots/0.jpg", "/status.json", "/nothing"]


@pytest.fixture
def guarded(open_page: OpenPage) -> WebPage:
    page = open_page(token=TOKEN)
    page.write(make_shown())
    return page


def cookie_of(page: WebPage) -> str:
    _, headers, _ = ask(page, "POST", "/login", urlencode({"token": TOKEN}))
    return str(headers["Set-Cookie"].partition(";")[0])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9999", "[::1]:80", "127.8.0.1"])
def test_without_a_token_names_of_this_machine_are_answered(page: WebPage, host: str) -> None:
    assert ask(page, "GET", "/", Host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "192.168.1.2:8080", "localhost.evil.example", "[x", ""])
@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_other_names_are_not(page: WebPage, host: str, path: str) -> None:
    status, _, body = ask(page, "GET", path, Host=host)

    assert status == 403
    assert b"--web-token" in body


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Origin": "http://localhost"},
    ],
)
def test_another_site_changes_nothing(page: WebPage, controls: Controls, headers: dict[str, str]) -> None:
    assert ask(page, "POST", "/threshold", WISH, Host="localhost", **headers)[0] == 403
    assert controls.score_threshold == 0.5


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost"},
        {"Origin": "https://localhost", "Sec_Fetch_Site": "same-origin"},
    ],
)
def test_the_page_itself_does(page: WebPage, controls: Controls, headers: dict[str, str]) -> None:
    assert ask(page, "POST", "/threshold", WISH, Host="localhost", **headers)[0] == 200
    assert controls.score_threshold == 0.25


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_seen_without_the_token(guarded: WebPage, path: str) -> None:
    status, headers, body = ask(guarded, "GET", path)

    assert status == 401
    assert headers["WWW-Authenticate"] == "Bearer"
    assert len(body) < 200


def test_nothing_is_changed_without_the_token(guarded: WebPage, controls: Controls) -> None:
    assert ask(guarded, "POST", "/threshold", WISH)[0] == 401
    assert controls.score_threshold == 0.5


def test_a_browser_is_asked_for_it(guarded: WebPage) -> None:
    status, _, body = ask(guarded, "GET", "/", Accept="text/html,*/*")

    assert status == 401
    assert b'name="token"' in body
    assert b"not the token" not in body
    assert ask(guarded, "GET", "/page.css")[0] == 200


def test_typing_it_lets_in(guarded: WebPage) -> None:
    status, headers, _ = ask(guarded, "POST", "/login", urlencode({"token": TOKEN}))

    assert (status, headers["Location"]) == (303, "/")
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert ask(guarded, "GET", "/status.json", Cookie=cookie.partition(";")[0])[0] == 200


def test_typing_another_does_not(guarded: WebPage) -> None:
    status, headers, body = ask(guarded, "POST", "/login", urlencode({"token": "correct horse"}))

    assert status == 401
    assert "Set-Cookie" not in headers
    assert b"not the token" in body


def test_a_token_in_the_address_is_taken_out_of_it(guarded: WebPage) -> None:
    status, headers, _ = ask(guarded, "GET", "/?" + urlencode({"token": TOKEN}))

    assert (status, headers["Location"]) == (303, "/")
    assert ask(guarded, "GET", "/", Cookie=headers["Set-Cookie"].partition(";")[0])[0] == 200


def test_programs_give_it_as_bearer_or_in_the_address(open_page: OpenPage) -> None:
    page = open_page(token="12345678")

    assert ask(page, "GET", "/status.json", Authorization="Bearer 12345678")[0] == 200
    assert ask(page, "GET", "/status.json", Authorization="bearer  12345678")[0] == 200
    assert ask(page, "GET", "/status.json?token=12345678")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer 1234567"},
        {"Authorization": "Bearer 123456789"},
        {"Authorization": "Basic 12345678"},
        {"Authorization": "Bearer"},
        {"Cookie": "edgeseg=12345678"},
    ],
)
def test_wrong_tokens(open_page: OpenPage, headers: dict[str, str]) -> None:
    page = open_page(token="12345678")

    assert ask(page, "GET", "/status.json", **headers)[0] == 401
    assert ask(page, "GET", "/?token=1234567")[0] == 401
    assert ask(page, "GET", "/status.json", Cookie=f"edgeseg-{page.address.port}=12345678")[0] == 401


def test_with_a_token_the_name_of_the_machine_does_not_matter(guarded: WebPage) -> None:
    assert ask(guarded, "GET", "/status.json", Host="jetson.example", Cookie=cookie_of(guarded))[0] == 200


def test_the_cookie_does_not_help_another_site(guarded: WebPage, controls: Controls) -> None:
    headers = {"Cookie": cookie_of(guarded), "Origin": "http://evil.example", "Host": "jetson.local"}

    assert ask(guarded, "POST", "/threshold", WISH, **headers)[0] == 403
    assert controls.score_threshold == 0.5


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "jetson.local"])
def test_another_address_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="give --web-token with at least 8 characters"):
        WebPage(WebAddress(host=host, port=0), Controls())


def test_a_short_token() -> None:
    with pytest.raises(ConfigError, match="at least 8 characters, got 7"):
        WebPage(WebAddress(port=0), Controls(), token="1234567")


def test_headers_of_every_answer(page: WebPage) -> None:
    for path in ("/", "/status.json", "/nothing", "/page.js"):
        headers = ask(page, "GET", path)[1]
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Server" not in headers


def test_the_address_for_people_has_no_token(guarded: WebPage) -> None:
    assert guarded.url == f"http://127.0.0.1:{guarded.address.port}/"
