"""A network camera of the standard library: JPEG pictures over HTTP, each with its number in its pixels."""

from __future__ import annotations

import base64
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedIOBase

BITS = 20
CELL = 16
SIZE_HW = (2 * CELL, BITS * CELL)
LAST_WAIT_S = 20.0


def picture_of(number: int, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    """A picture whose upper left cells, black or white, are the bits of a number."""
    image = np.full((*size_hw, 3), 128, np.uint8)
    for bit in range(BITS):
        image[:CELL, bit * CELL : (bit + 1) * CELL] = 255 * (number >> bit & 1)
    return image


def number_of(image: np.ndarray) -> int:
    cells = image[CELL // 2, CELL // 2 : BITS * CELL : CELL].mean(axis=-1) > 127
    return int(sum(1 << bit for bit, white in enumerate(cells) if white))


class MjpegServer:
    """Serves pictures at `http://127.0.0.1:PORT/`, to each client the one after what it got.

    Args:
        fps: Pictures a second.
        port: 0 takes a free one.
        draw: Gives the picture of a number.
        password: What clients must log in with, as `name:password`.
    """

    def __init__(
        self,
        *,
        fps: float = 30.0,
        port: int = 0,
        draw: Callable[[int], np.ndarray] = picture_of,
        password: str | None = None,
    ) -> None:
        self.sent: list[int] = []
        self.draw, self.fps = draw, fps
        self.stopping, self.silent = threading.Event(), threading.Event()
        self.header = password and "Basic " + base64.b64encode(password.encode()).decode()
        self._http = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if server.header and self.headers["Authorization"] != server.header:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    server._send(self.wfile)
                except OSError:
                    return

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    def _send(self, file: BufferedIOBase) -> None:
        number = 0
        while not self.stopping.is_set():
            if not self.silent.is_set():
                data = cv2.imencode(".jpg", self.draw(number))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                file.write(head.encode() + data + b"\r\n")
                self.sent.append(number)
                number += 1
            self.stopping.wait(1 / self.fps)

    def close(self) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextmanager
def mute_server() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def until(condition: Callable[[], object], *, within_s: float = LAST_WAIT_S) -> None:
    """Wait for something that must come true."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)
