"""The sink that shows each frame in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseg.errors import ConfigError
from edgeseg.optional import require_extra

from .address import WebAddress, listen
from .frame_store import FrameStore
from .limits import DEFAULT_LIMITS, WebLimits
from .status import StatusJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeseg.streaming.controls import Controls
    from edgeseg.streaming.results import RenderedFrame

MIN_TOKEN_CHARS = 8


class WebPage:
    """Serves a page from the moment it is made until it is closed; see `Sink`.

    `write` hands the newest frame over; it draws it only while somebody looks, and never waits for a viewer.

    Args:
        address: Where; with port 0 `address` tells afterwards which one it became.
        controls: Of the run; the page moves the threshold.
        token: What a viewer must know; None only for an address that no other machine reaches.
        source_names: In the order of `Frame.source`.
        title: What the page is headed with.
        limits: What it puts up with.

    Raises:
        ConfigError: The address cannot be used, or the token is missing or too short.
        DependencyError: starlette or uvicorn is not installed.
    """

    def __init__(
        self,
        address: WebAddress,
        controls: Controls,
        *,
        token: str | None = None,
        source_names: Sequence[str] = ("camera",),
        title: str = "edgeseg",
        limits: WebLimits = DEFAULT_LIMITS,
    ) -> None:
        _check_token(address, token)
        require_extra("web", purpose="show the run on a page")
        from .attempts import WrongTokenDelay
        from .auth import TokenAuth
        from .routes import application
        from .server import WebServer
        from .viewers import Viewers

        listener = listen(address)
        self.address = WebAddress(host=address.host, port=listener.getsockname()[1])
        self._web_server = WebServer(listener, limits)
        self._frame_store = FrameStore(len(source_names), self._web_server.wake)
        self._status_json = StatusJson(self._frame_store, controls, source_names=source_names, title=title)
        viewers = Viewers(self._frame_store, self._status_json)
        auth = TokenAuth(token, self.address.port, WrongTokenDelay(limits))
        self._web_server.start(application(auth, viewers, self._status_json, controls), viewers)

    @property
    def url(self) -> str:
        """What to type into a browser; a token is not in it."""
        return self.address.url

    def write(self, rendered: RenderedFrame) -> None:
        """See `Sink.write`."""
        self._frame_store.put(rendered)

    def close(self) -> None:
        """Tell viewers that the run has ended, and stop serving; harmless if done before."""
        self._status_json.ended = True
        self._frame_store.close()
        self._web_server.stop()


def _check_token(address: WebAddress, token: str | None) -> None:
    if token is None:
        if not address.loopback:
            msg = (
                f"anyone who reaches {address.host} would see the pictures; "
                f"give --web-token with at least {MIN_TOKEN_CHARS} characters, "
                f"or serve to this machine alone: --web 127.0.0.1:{address.port}"
            )
            raise ConfigError(msg)
    elif len(token) < MIN_TOKEN_CHARS:
        msg = f"the token of the page must have at least {MIN_TOKEN_CHARS} characters, got {len(token)}"
        raise ConfigError(msg)
