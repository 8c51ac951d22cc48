"""A page with frames made by hand, and viewers of it."""

from __future__ import annotations

import json
import socket
import struct
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from edgeseg.runtime.host.health import Health
from edgeseg.streaming.controls import Controls
from edgeseg.streaming.results import FrameResult, RenderedFrame, Scene, Status
from edgeseg.streaming.web import WebAddress, WebPage
from tests.vision.found import make_detections, make_frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPMessage
    from typing import Any

    from numpy.typing import NDArray

    from edgeseg.vision.detections import Detections

PATIENCE_S = 20.0
FIGURES, PICTURE = 0, 1


class OpenPage(Protocol):
    """Makes pages with settings of their own, as `make_page`."""

    def __call__(self, **settings: Any) -> WebPage: ...


def until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait for a condition with a generous time-out."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, f"{what} did not come about"
        time.sleep(0.01)


def make_status(frames: int = 1, **facts: Any) -> Status:
    known: dict[str, Any] = {
        "uptime_s": 1.5,
        "frames": frames,
        "fps": 25.0,
        "stages_ms": {"read": 1.0, "infer": 30.0},
        "age_ms": 40.0,
        "dropped": {"camera": 3},
        "skipped": 0,
        "reconnects": 1,
        "score_threshold": 0.5,
        "instances_by_class": {"bolt": 1, "nut": 1},
        "health": Health(cpu_percent=12.5),
    }
    return Status(**{**known, **facts})


def make_shown(
    number: int = 1,
    *,
    detections: Detections | None = None,
    size_hw: tuple[int, int] = (40, 60),
    source: int = 0,
    status: Status | None = None,
    scene: Scene | None = None,
    drawn: list[int] | None = None,
) -> RenderedFrame:
    """A frame whose picture has the grey level `number`; `drawn` hears which were drawn."""
    found = make_detections(2, size_hw) if detections is None else detections
    frame = make_frame("camera", size_hw, image_id=number, time_s=number / 25, source=source)

    def draw(result: FrameResult) -> NDArray[np.uint8]:
        if drawn is not None:
            drawn.append(number)
        return np.full((*size_hw, 3), number % 256, np.uint8)

    result = FrameResult(frame=frame, detections=found, stages_ms={}, age_ms=40.0, scene=scene)
    return RenderedFrame(result, lambda: status or make_status(number), draw)


def make_page(controls: Controls | None = None, **settings: Any) -> WebPage:
    return WebPage(WebAddress(port=0), controls or Controls(), **settings)


def ask(
    page: WebPage, method: str, path: str, body: bytes | str | None = None, **headers: str
) -> tuple[int, HTTPMessage, bytes]:
    """Make a request of its own; gives status, headers and body."""
    connection = HTTPConnection("127.0.0.1", page.address.port, timeout=PATIENCE_S)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def status_of(page: WebPage) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(ask(page, "GET", "/status.json")[2])
    return status


def decoded(picture: bytes) -> NDArray[np.uint8]:
    """Pixels of a JPEG or PNG, `uint8[H, W, 3]`, BGR."""
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(pixels, np.uint8)


class Viewer:
    """A browser's connection to `/live`, message by message."""

    def __init__(self, page: WebPage, path: str = "/live") -> None:
        self.connection = HTTPConnection("127.0.0.1", page.address.port, timeout=PATIENCE_S)
        self.connection.request("GET", path)
        self.answer = self.connection.getresponse()

    def next(self) -> tuple[int, int, bytes] | None:
        """Kind, source and content of the next message; None at the end."""
        head = self.answer.read(6)
        if not head:
            return None
        kind, source, size = struct.unpack(">BBI", head)
        return kind, source, self.answer.read(size)

    def next_of(self, kind: int) -> bytes:
        end_s = time.monotonic() + PATIENCE_S
        while True:
            message = self.next()
            assert message is not None, "the stream has ended"
            assert time.monotonic() < end_s, f"no message of kind {kind} came"
            if message[0] == kind:
                return message[2]

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


def idle_viewer(page: WebPage, path: str = "/live") -> socket.socket:
    """A viewer that asks for pictures and takes none."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(PATIENCE_S)
    client.connect(("127.0.0.1", page.address.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


def connect(page: WebPage, host: str = "127.0.0.1") -> socket.socket:
    where = ("127.0.0.1", page.address.port)
    return socket.create_connection(where, timeout=PATIENCE_S, source_address=(host, 0))


def send(page: WebPage, data: bytes, host: str = "127.0.0.1") -> socket.socket:
    client = connect(page, host)
    client.sendall(data)
    return client


def said(client: socket.socket, size: int | None = None) -> bytes:
    """So many bytes, or all that come until the other side hangs up."""
    data = b""
    try:
        while (size is None or len(data) < size) and (chunk := client.recv(1 << 16)):
            data += chunk
    except ConnectionResetError:
        pass
    return data
