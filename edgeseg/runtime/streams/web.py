"""Opening `http://` and `https://`: a camera's JPEG pictures, or whatever FFmpeg reads."""

from __future__ import annotations

import http.client
import urllib.error
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import (
    HTTPBasicAuthHandler,
    HTTPDigestAuthHandler,
    HTTPHandler,
    HTTPPasswordMgrWithDefaultRealm,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from ...errors import InputError
from .credentials import redacted
from .mjpeg import BROKEN, MjpegSource
from .network import open_network

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .capture import CaptureSource

TIMEOUT_S = 8.0
REFUSALS = {
    401: "it wants a user name and password: http://NAME:PASSWORD@HOST/PATH",
    403: "it forbids that to this user",
    404: "it has nothing at this path",
}


def open_http(address: str) -> MjpegSource | CaptureSource:
    """Open a stream over HTTP.

    Raises:
        DependencyError: It is no MJPEG, and OpenCV has no FFmpeg for it.
        InputError: Nothing answers there, it refuses, or what it sends is no stream.
    """
    name = redacted(address)
    sockets: list[socket.socket] = []
    url, opener = _opener(address, sockets)
    try:
        answer = opener.open(url, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as exc:
        exc.close()
        msg = f"{name} answers with error {exc.code}; {REFUSALS.get(exc.code, exc.reason)}"
        raise InputError(msg) from exc
    except BROKEN as exc:
        reason = getattr(exc, "reason", exc)
        reason = getattr(reason, "strerror", None) or reason
        msg = f"nothing answers at {name} ({reason}); check the address and that it is switched on"
        raise InputError(msg) from exc
    kind = answer.headers.get_content_type()
    if kind.startswith("multipart/"):
        return MjpegSource(name, answer, sockets[-1])
    answer.close()
    if kind.startswith(("image/", "text/html")):
        what = "one picture" if kind.startswith("image/") else "a page"
        msg = f"{name} is {what} and no stream; look in the camera's manual for its MJPEG or RTSP address"
        raise InputError(msg)
    return _open_other(address, name)


def _open_other(address: str, name: str) -> CaptureSource:
    source = open_network(address)
    if source.frames:
        source.close()
        what = f"a recorded video of {source.frames} frames"
        msg = f"{name} is {what} and no stream; download it and give the file"
        raise InputError(msg)
    return source


def _opener(address: str, sockets: list[socket.socket]) -> tuple[str, OpenerDirector]:
    """Make what opens an address, without the password in it; each connection's socket is put in the list."""
    parts = urlsplit(address)
    place = parts.netloc.rpartition("@")[2]
    url = parts._replace(netloc=place).geturl()
    passwords = HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        passwords.add_password(None, url, unquote(parts.username), unquote(parts.password or ""))
    return url, build_opener(
        # Cameras are in the local network.
        ProxyHandler({}),
        _http_handler(sockets),
        _https_handler(sockets),
        _Basic(passwords),
        _Digest(passwords),
    )


class _Basic(HTTPBasicAuthHandler):
    def http_error_401(self, req: Request, fp: IO[bytes], *refusal: Any) -> Any:
        return _answer_to_login(super().http_error_401, req, fp, refusal)


class _Digest(HTTPDigestAuthHandler):
    def http_error_401(self, req: Request, fp: IO[bytes], *refusal: Any) -> Any:
        return _answer_to_login(super().http_error_401, req, fp, refusal)


def _answer_to_login(
    log_in: Callable[..., Any], req: Request, fp: IO[bytes], refusal: tuple[Any, ...]
) -> Any:
    """Ask again with the password; urllib leaves the connection of the first answer open."""
    try:
        answer = log_in(req, fp, *refusal)
    except urllib.error.HTTPError:
        fp.close()
        raise
    if answer is not None:
        fp.close()
    return answer


def _http_handler(sockets: list[socket.socket]) -> HTTPHandler:
    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    class Handler(HTTPHandler):
        def http_open(self, req: Request) -> http.client.HTTPResponse:
            return self.do_open(Connection, req)

    return Handler()


def _https_handler(sockets: list[socket.socket]) -> HTTPSHandler:
    class Connection(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    class Handler(HTTPSHandler):
        def https_open(self, req: Request) -> http.client.HTTPResponse:
            return self.do_open(Connection, req)

    return Handler()
