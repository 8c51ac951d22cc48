"""Who may see the page: whoever has the token, or without one this machine alone."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from .address import is_loopback
from .files import login_page

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .attempts import WrongTokenDelay

LOGIN_PATH = "/login"
# What the page that asks for the token is made of.
PUBLIC_PATHS = frozenset((LOGIN_PATH, "/page.css", "/icon.svg"))
# What the page needs and nothing else; it may neither be framed nor have its pictures shown by another site.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# Set in the state of a request that may see the page.
AUTHENTICATED = "edgeseg admitted"


class TokenAuth:
    """Checks the token.

    Args:
        token: None where everybody who can reach the page may see it.
        port: Browsers send cookies to all ports of a host, so the name of the cookie has it.
        attempts: Hold up whoever gives a wrong one.
    """

    def __init__(self, token: str | None, port: int, attempts: WrongTokenDelay) -> None:
        self._required_token = token
        self.cookie_name = f"edgeseg-{port}"
        self._attempts = attempts

    @property
    def required(self) -> bool:
        """Whether a token is needed."""
        return self._required_token is not None

    @property
    def cookie(self) -> str:
        """Value of the cookie: made from the token, and no way back."""
        return hmac.new((self._required_token or "").encode(), b"edgeseg cookie", hashlib.sha256).hexdigest()

    async def refusal(self, request: Request) -> Response | None:
        """Answer a request without the token; None where it has it, as cookie, bearer or `?token=`."""
        if not self.required or _equal(request.cookies.get(self.cookie_name, ""), self.cookie):
            return None
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        token = bearer.strip() if scheme.lower() == "bearer" else request.query_params.get("token")
        if token is None:
            return _refusal(request)
        return await self.check_token(token, request, _refusal(request))

    async def check_token(self, token: str, request: Request, refusal: Response) -> Response | None:
        """Answer a wrong token, which takes a while; the right one never has to wait.

        Args:
            token: A token that somebody gave; it is compared in a time that does not tell how much is right.
            request: In which it was given.
            refusal: Is the answer, unless too many wait for theirs already.
        """
        if _equal(token, self._required_token or ""):
            return None
        return refusal if await self._attempts.delay(request) else _too_many()

    def login_response(self) -> Response:
        """Redirect a browser to the page, with the cookie that authenticates it."""
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(self.cookie_name, self.cookie, httponly=True, samesite="strict")
        return response


class AuthMiddleware:
    """Rejects requests that are not allowed, and adds security headers to every response.

    Args:
        app: What it guards.
        auth: Of the token.
    """

    def __init__(self, app: ASGIApp, auth: TokenAuth) -> None:
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = await self._answer(Request(scope, receive)) or self._app
        await answer(scope, receive, send_with_headers)

    async def _answer(self, request: Request) -> Response | None:
        if not self._auth.required and not is_loopback(_host_of(request)):
            # A name of another site that was made to point here would let that site's scripts read the page.
            text = "Without a token this page answers only to localhost; start the run with --web-token.\n"
            return PlainTextResponse(text, status_code=403)
        if request.method not in ("GET", "HEAD") and _is_foreign(request):
            return PlainTextResponse("Another site may not change this run.\n", status_code=403)
        # Not of `request.url`, which cannot be made where the header Host is none.
        path: str = request.scope["path"]
        if path in PUBLIC_PATHS:
            return None
        if refusal := await self._auth.refusal(request):
            return refusal
        request.scope["state"][AUTHENTICATED] = True
        if self._auth.required and path == "/" and "token" in request.query_params:
            # Out of the address bar, where it would be read and shared.
            return self._auth.login_response()
        return None


def _refusal(request: Request) -> Response:
    challenge = {"WWW-Authenticate": "Bearer"}
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(login_page(), status_code=401, headers=challenge)
    text = "A token is needed: Authorization: Bearer TOKEN\n"
    return PlainTextResponse(text, status_code=401, headers=challenge)


def _too_many() -> Response:
    text = "Too many wrong tokens come at once; wait a second.\n"
    return PlainTextResponse(text, status_code=429, headers={"Retry-After": "1", "Connection": "close"})


def _host_of(request: Request) -> str:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _is_foreign(request: Request) -> bool:
    """Tell whether a page of another site sends this; browsers say so, other programs say nothing."""
    if site := request.headers.get("sec-fetch-site"):
        return site != "same-origin"
    origin = request.headers.get("origin")
    return (
        origin is not None and origin.partition("://")[2].lower() != request.headers.get("host", "").lower()
    )


def _equal(token: str, wanted: str) -> bool:
    return hmac.compare_digest(token.encode(errors="replace"), wanted.encode())
