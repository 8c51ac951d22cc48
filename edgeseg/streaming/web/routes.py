"""What each address of the page answers."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from edgeseg.errors import EdgeSegError

from .auth import LOGIN_PATH, AuthMiddleware, TokenAuth
from .files import TYPE_BY_NAME, content, login_page
from .frame_store import encode_image
from .viewers import Viewer, Viewers

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from edgeseg.streaming.controls import Controls
    from edgeseg.streaming.results import RenderedFrame

    from .status import StatusJson

MAX_BODY_BYTES = 1024
BODY_TIMEOUT_S = 5.0
TYPE_BY_SUFFIX = {"jpg": "image/jpeg", "png": "image/png"}


def application(auth: TokenAuth, viewers: Viewers, status_json: StatusJson, controls: Controls) -> ASGIApp:
    """Put the page together, guarded."""
    handlers = _Handlers(auth, viewers, status_json, controls)
    routes = [
        Route("/", handlers.page),
        *(Route(f"/{name}", _file(name)) for name in TYPE_BY_NAME),
        Route("/live", handlers.live),
        Route("/pictures/{source}.mjpg", handlers.mjpeg),
        Route("/snapshots/{source}.{suffix}", handlers.snapshot),
        Route("/status.json", handlers.status),
        Route("/threshold", handlers.threshold, methods=["POST"]),
        Route(LOGIN_PATH, handlers.login, methods=["GET", "POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refusal})
    # They would name the host that the request does, whatever it is.
    app.router.redirect_slashes = False
    return AuthMiddleware(app, auth)


class _Handlers:
    def __init__(
        self, auth: TokenAuth, viewers: Viewers, status_json: StatusJson, controls: Controls
    ) -> None:
        self._auth = auth
        self._viewers = viewers
        self._status_json = status_json
        self._controls = controls

    async def page(self, request: Request) -> Response:
        return HTMLResponse(content("page.html"))

    async def live(self, request: Request) -> Viewer:
        return Viewer(self._viewers, range(len(self._status_json.source_names)))

    async def mjpeg(self, request: Request) -> Viewer:
        return Viewer(self._viewers, [self._source(request)], mjpeg=True)

    async def status(self, request: Request) -> Response:
        return Response(self._status_json.json(), media_type="application/json")

    async def snapshot(self, request: Request) -> Response:
        source, suffix = self._source(request), request.path_params["suffix"]
        if suffix not in TYPE_BY_SUFFIX:
            raise HTTPException(404, "A snapshot is .jpg or .png.")
        rendered = self._viewers.frame_store.view(source).rendered
        if rendered is None:
            raise HTTPException(404, "No picture has come yet.")
        loop = asyncio.get_running_loop()
        try:
            data = await loop.run_in_executor(
                self._viewers.frame_store.executor, _encode, rendered, f".{suffix}"
            )
        except EdgeSegError as exc:
            raise HTTPException(500, str(exc)) from exc
        slug = _slug(self._status_json.source_names[source])
        name = f"edgeseg-{slug}-{time.strftime('%Y%m%d-%H%M%S')}.{suffix}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(data, media_type=TYPE_BY_SUFFIX[suffix], headers=headers)

    async def threshold(self, request: Request) -> Response:
        try:
            value = json.loads(await _body(request))["score_threshold"]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(type(value).__name__)
            self._controls.score_threshold = value
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as exc:
            reason = 'the body must be JSON such as {"score_threshold": 0.5}'
            raise HTTPException(400, reason) from exc
        except EdgeSegError as exc:
            raise HTTPException(400, str(exc)) from exc
        self._viewers.broadcast_status()
        return JSONResponse({"score_threshold": self._controls.score_threshold})

    async def login(self, request: Request) -> Response:
        if request.method != "POST" or not self._auth.required:
            return RedirectResponse("/", status_code=303)
        form = parse_qs((await _body(request)).decode(errors="replace"))
        again = HTMLResponse(login_page(wrong=True), status_code=401)
        given = form.get("token", [""])[0]
        return await self._auth.check_token(given, request, again) or self._auth.login_response()

    def _source(self, request: Request) -> int:
        digits, known = request.path_params["source"], len(self._status_json.source_names)
        # Python refuses to read thousands of digits, and a name of others is no number here.
        if not re.fullmatch(r"[0-9]{1,9}", digits) or int(digits) >= known:
            raise HTTPException(404, f"There is no such source; the last is {known - 1}.")
        return int(digits)


def _file(name: str) -> Response:
    return Response(content(name), media_type=TYPE_BY_NAME[name])


async def _body(request: Request) -> bytes:
    """Read a small body that comes soon.

    Raises:
        HTTPException: It is large or slow.
    """
    try:
        return await asyncio.wait_for(_small_body(request), BODY_TIMEOUT_S)
    except asyncio.TimeoutError as exc:
        raise HTTPException(408, "The body did not come.", headers={"Connection": "close"}) from exc


async def _small_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            text = f"The body must have at most {MAX_BODY_BYTES} bytes."
            raise HTTPException(413, text, headers={"Connection": "close"})
    return body


async def _refusal(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    return JSONResponse({"error": exc.detail}, status_code=exc.status_code, headers=exc.headers)


def _encode(rendered: RenderedFrame, suffix: str) -> bytes:
    return encode_image(rendered.image, suffix)


def _slug(name: str) -> str:
    """Make a source's name fit for a file name: of `rtsp://user:secret@host/yard` no password stays."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name.rpartition("@")[2]).strip("-")[-40:] or "source"
