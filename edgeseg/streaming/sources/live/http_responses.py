"""Asking a camera over HTTP: redirects, logins, and what went wrong in words."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from edgeseg.errors import InputError
from edgeseg.streaming.sources.credentials import redacted

from .http_login import WRITE_ESCAPED, Challenge, Login, best_challenge, challenges_from_headers
from .mjpeg import STREAM_ERRORS

if TYPE_CHECKING:
    from urllib.parse import SplitResult

REDIRECTS = frozenset((301, 302, 303, 307, 308))
MAX_REQUESTS = 10
PORT_BY_SCHEME = {"http": 80, "https": 443}
# As urllib has them; the rest of an address is escaped, and what is escaped stays.
UNESCAPED = "%/:=&?~#+!$,;'@()*[]"
LOGIN_REQUIRED = "it wants a user name and password: http://NAME:PASSWORD@HOST/PATH"
REASON_BY_STATUS = {
    403: "it forbids that to this user",
    404: "it has nothing at this path",
    429: "it has been asked too often; wait a minute",
}
SERVER_FAILED = "the camera itself has failed or has too many viewers; try again, or restart it"
# Of OpenSSL, X509_V_ERR_*.
SELF_SIGNED, EXPIRED, NOT_YET, WRONG_NAMES = (18, 19), 10, 9, (62, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraResponse:
    """What a camera answered in the end.

    Attributes:
        response: Open.
        connection: It comes through.
        address: Where it came from, with the login where that may be given there: may hold a password.
    """

    response: HTTPResponse
    connection: socket.socket
    address: str


def request_camera(address: str, timeout_s: float) -> CameraResponse:
    """Ask for an address, follow redirects and log in; the password goes to no other host.

    Raises:
        InputError: It cannot be reached, refuses, or answers something else than HTTP.
    """
    name, parts = redacted(address), _parts(address)
    login = None
    if parts.username is not None:
        login = Login(name=unquote(parts.username), password=unquote(parts.password or ""))
    first = url = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    challenge: Challenge | None = None
    for _ in range(MAX_REQUESTS):
        response, connection = _send_request(
            url, name, login if challenge else None, challenge, timeout_s, address
        )
        if response.status in REDIRECTS and (target := response.headers.get("Location")):
            response.close()
            url, challenge = _redirected(url, target, name), None
        elif response.status == 401:
            response.close()
            if login and not _may_log_in(first, url):
                msg = (
                    f"{name} sends on to {redacted(url)}, which wants a login; the password is not given to "
                    "another host or port: name that address with its own user name and password"
                )
                raise InputError(msg)
            challenge = _next_challenge(response, name, login, challenge)
        elif response.status >= 400:
            response.close()
            advice = REASON_BY_STATUS.get(response.status) or response.reason or "no reason given"
            more = f": {SERVER_FAILED}" if response.status >= 500 else ""
            msg = f"{name} answers with error {response.status}; {advice}{more}"
            raise InputError(msg)
        else:
            userinfo = parts.netloc.rpartition("@")[0]
            with_login = f"://{userinfo}@" if login and _may_log_in(first, url) else "://"
            return CameraResponse(
                response=response, connection=connection, address=url.replace("://", with_login, 1)
            )
    msg = f"{name} sends from one address to the next without end; look in the camera's manual for its stream"
    raise InputError(msg)


def _parts(address: str) -> SplitResult:
    hint = f"; {WRITE_ESCAPED}" if "@" in address else ""
    try:
        parts = urlsplit(address)
        port, host = parts.port, parts.hostname
    except ValueError:
        # What it says may repeat the password.
        msg = f"the port of {redacted(address)} must be a number from 1 to 65535 after the host{hint}"
        raise InputError(msg) from None
    if not host or port == 0:
        msg = f"{redacted(address)} must name a host, and a port from 1 to 65535 if any{hint}"
        raise InputError(msg)
    return parts


def _send_request(
    url: str,
    name: str,
    login: Login | None,
    challenge: Challenge | None,
    timeout_s: float,
    address: str,
) -> tuple[HTTPResponse, socket.socket]:
    sockets: list[socket.socket] = []
    request = Request(quote(url, safe=UNESCAPED))
    if login and challenge:
        parts = urlsplit(request.full_url)
        uri = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request.add_unredirected_header("Authorization", challenge.authorization_header(login, "GET", uri))
    try:
        return _opener(sockets).open(request, timeout=timeout_s), sockets[-1]
    except STREAM_ERRORS as exc:
        for each in sockets:
            each.close()
        parts = urlsplit(address)
        if "@" in parts.path + parts.query + parts.fragment:
            # What looks like its host and port may be a part of the password.
            msg = f"nothing answers at {name}, or its host cannot be told; {WRITE_ESCAPED}"
            raise InputError(msg) from None
        # Not `from exc`, which may repeat the address.
        raise InputError(_reason(exc, url, name)) from None


def _opener(sockets: list[socket.socket]) -> OpenerDirector:
    """Make what asks once, and takes every answer; each connection's socket is put in the list."""
    opener = OpenerDirector()
    # Cameras are in the local network.
    for handler in (ProxyHandler({}), _http_handler(sockets), _https_handler(sockets)):
        opener.add_handler(handler)
    return opener


def _redirected(url: str, target: str, name: str) -> str:
    try:
        parts = urlsplit(urljoin(url, target))
        usable = parts.scheme in PORT_BY_SCHEME and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        msg = f"{name} sends on to {redacted(target)}, which is no http:// or https:// address"
        raise InputError(msg)
    # A login that another machine chose is none of the user's.
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def _may_log_in(first: str, now: str) -> bool:
    """Tell whether a password for one address may go to another: the same host, and never less protected."""
    (scheme, host, port), (other_scheme, other_host, other_port) = _origin(first), _origin(now)
    upgraded = (scheme, port, other_scheme, other_port) == ("http", 80, "https", 443)
    return host == other_host and (upgraded or (scheme, port) == (other_scheme, other_port))


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or PORT_BY_SCHEME[parts.scheme]


def _next_challenge(
    response: HTTPResponse, name: str, login: Login | None, before: Challenge | None
) -> Challenge:
    offered = challenges_from_headers(response.headers.get_all("WWW-Authenticate") or [])
    best = best_challenge(offered)
    if login is None:
        msg = f"{name} answers with error 401; {LOGIN_REQUIRED}"
        raise InputError(msg)
    if best is None:
        kinds = ", ".join(dict.fromkeys(each.scheme for each in offered)) or "none"
        wants = f"wants a login of a kind that is not known here ({kinds})"
        msg = f"{name} {wants}; set the camera to Digest or Basic"
        raise InputError(msg)
    if before is not None and not (best.stale and not before.stale):
        msg = f"{name} answers with error 401; it refuses this user name and password; {WRITE_ESCAPED}"
        raise InputError(msg)
    return best


def _reason(exc: BaseException, url: str, name: str) -> str:
    """Say why nothing came, and how to mend it."""
    cause = getattr(exc, "reason", exc)
    cause = cause if isinstance(cause, BaseException) else exc
    _, host, port = _origin(url)
    if isinstance(cause, ssl.SSLError):
        return f"{name} cannot be trusted: {_certificate(cause, host, port)}"
    if isinstance(cause, socket.gaierror | UnicodeError):
        return f"nothing answers at {name}: no host is known by that name; check the name"
    if isinstance(cause, ConnectionRefusedError):
        refused = f"(Connection refused): no program listens at port {port}"
        return f"nothing answers at {name} {refused}; check the port"
    if isinstance(cause, TimeoutError):
        return f"nothing answers at {name} (timed out); check the address and that it is switched on"
    if isinstance(cause, http.client.RemoteDisconnected | ConnectionResetError):
        return f"{name} hangs up without an answer; check the port, and whether it wants https://"
    if isinstance(cause, http.client.HTTPException | ValueError | AttributeError):
        return f"{name} answers, but not in HTTP; check the port; RTSP is rtsp://, mostly at port 554"
    what = getattr(cause, "strerror", None) or type(cause).__name__
    return f"nothing answers at {name} ({what}); check the address and that it is switched on"


def _certificate(error: ssl.SSLError, host: str, port: int) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "what it says is no TLS that is spoken here; it may want http://, or newer firmware"
    fetch = f"openssl s_client -connect {host}:{port} </dev/null | openssl x509 > camera.pem"
    name_it = f"if it is yours, fetch it and name it: {fetch}, then SSL_CERT_FILE=camera.pem edgeseg run ..."
    if error.verify_code in SELF_SIGNED:
        return f"its certificate is signed by itself; {name_it}"
    if error.verify_code == EXPIRED:
        return (
            "its certificate has expired; renew it in the camera's settings, and check this machine's clock"
        )
    if error.verify_code == NOT_YET:
        return "its certificate is not valid yet; check the clocks of this machine and of the camera"
    if error.verify_code in WRONG_NAMES:
        return (
            f"its certificate is for another name than {host}; use the name that is in it, or make a new one"
        )
    return f"nobody whom this machine knows has signed its certificate ({error.verify_message}); {name_it}"


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
