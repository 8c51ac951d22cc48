"""Network cameras over HTTP, from a server made of the standard library."""

from __future__ import annotations

import gc
import http.client
import re
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import cv2
import pytest

from edgeseg.errors import InputError
from edgeseg.streaming.sources.live import http as web
from edgeseg.streaming.sources.live.http import open_http
from edgeseg.streaming.sources.live.mjpeg import MjpegSource
from edgeseg.vision.frames import Frame
from edgeseg.vision.images.jpeg import header_from_jpeg
from tests.streaming.sources.mjpeg_server import SIZE_HW, MjpegServer, mute_server, number_of, picture_of
from tests.vision.found import all_frames, as_frame, as_skipped
from tests.vision.images.broken_images import BOMBS, noise, restated
from tests.vision.images.broken_images import jpeg as jpeg_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Any

    import numpy as np

    from edgeseg.vision.frames import Skipped


@contextmanager
def answering(content_type: str, body: bytes, status: int = 200) -> Iterator[str]:
    """Serves one body at every path, then closes the connection."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving(**settings: Any) -> Iterator[MjpegServer]:
    server = MjpegServer(**settings)
    try:
        yield server
    finally:
        server.close()


def read_until_lost(items: Iterable[Frame | Skipped], lost: threading.Event) -> None:
    try:
        list(items)
    except InputError:
        lost.set()


def jpeg(number: int) -> bytes:
    return cv2.imencode(".jpg", picture_of(number))[1].tobytes()


def items_of(url: str) -> list[Frame | Skipped]:
    """Read until the source is lost, as it must be in the end."""
    items: list[Frame | Skipped] = []
    source = open_http(url)
    try:
        for item in source:
            items.append(item)
    except InputError:
        return items
    finally:
        source.close()
    pytest.fail("it ended without a word")


def test_pictures_arrive_in_order_and_whole() -> None:
    with serving(fps=200.0) as server:
        source = open_http(server.url)
        frames = [as_frame(item) for item, _ in zip(source, range(10), strict=False)]
        source.cancel()
        source.close()

    assert [number_of(frame.image) for frame in frames] == list(range(10))
    assert {frame.image.shape for frame in frames} == {(*SIZE_HW, 3)}


def test_the_size_may_change_meanwhile() -> None:
    sizes = [SIZE_HW, (96, 640), (24, 330)]
    with serving(fps=200.0, draw=lambda number: picture_of(number, sizes[number % 3])) as server:
        source = open_http(server.url)
        frames = [as_frame(item) for item, _ in zip(source, range(6), strict=False)]
        source.close()

    assert [frame.image.shape[:2] for frame in frames] == sizes * 2
    assert [number_of(frame.image) for frame in frames] == list(range(6))


def test_a_password_is_used_and_not_shown() -> None:
    with serving(fps=200.0, password="admin:s3 cret") as server:
        address = server.url.replace("http://", "http://admin:s3%20cret@")
        source = open_http(address)
        first = as_frame(next(iter(source)))
        source.close()
        with pytest.raises(
            InputError, match=r"http://\*\*\*@127.* error 401; it refuses this user name"
        ) as told:
            open_http(address.replace("s3", "s4"))

    assert number_of(first.image) == 0
    assert source.name == address.replace("admin:s3%20cret", "***")
    assert "s4" not in str(told.value)
    # Connections that were left open are complained of when they are collected.
    gc.collect()


def test_a_camera_is_not_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with mute_server() as port, serving(fps=200.0) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setattr(web, "TIMEOUT_S", 5.0)
        source = open_http(server.url)
        source.close()

    assert source.name == server.url


@pytest.mark.parametrize("boundary", ["frame", "--frame"])
def test_parts_without_a_length(boundary: str) -> None:
    part = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n"
    body = b"\r\n".join([part + jpeg(5), part + jpeg(6), part + jpeg(7), b"--frame--\r\n"])
    with answering(f"multipart/x-mixed-replace; boundary={boundary}", body) as url:
        items = items_of(url)

    assert [number_of(frame.image) for frame in all_frames(items)] == [5, 6, 7]


def test_a_spoilt_picture_is_skipped() -> None:
    parts = [jpeg(1), b"no picture", jpeg(2)]
    head = "--frame\r\nContent-Length: {}\r\n\r\n"
    body = b"".join(head.format(len(part)).encode() + part + b"\r\n" for part in parts)
    with answering("multipart/x-mixed-replace; boundary=frame", body) as url:
        first, skipped, last = items_of(url)

    assert [number_of(as_frame(item).image) for item in (first, last)] == [1, 2]
    assert as_skipped(skipped).reason == "1 frame after frame 1 did not come"


@pytest.mark.parametrize("length", [b"x", b"-5", b"99999999999"])
def test_a_length_that_is_none_does_not_fill_the_memory(length: bytes) -> None:
    body = b"--frame\r\nContent-Length: " + length + b"\r\n\r\n" + jpeg(1)
    with answering("multipart/x-mixed-replace; boundary=frame", body) as url:
        assert items_of(url) == []


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("text/html", 200, "is a page and no stream; look in the camera's manual"),
        ("image/jpeg", 200, "is one picture and no stream"),
        ("text/html", 404, "answers with error 404; it has nothing at this path"),
        ("text/html", 503, "answers with error 503; Service Unavailable"),
    ],
)
def test_what_is_no_stream_is_refused(kind: str, status: int, words: str) -> None:
    with answering(kind, b"<html>", status) as url, pytest.raises(InputError, match=re.escape(words)):
        open_http(url)


def test_a_recorded_video_is_no_stream(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for _ in range(7):
        writer.write(picture_of(0, (48, 64)))
    writer.release()
    body = (tmp_path / "clip.avi").read_bytes()
    with (
        answering("video/x-msvideo", body) as url,
        pytest.raises(InputError, match="is a recorded video of 7 frames and no stream; download it"),
    ):
        open_http(url)


def test_nobody_there_and_nobody_answering(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=rf"nothing answers at .*:{port}/ \(Connection refused\)"):
        open_http(f"http://127.0.0.1:{port}/")
    monkeypatch.setattr(web, "TIMEOUT_S", 0.2)
    with mute_server() as port, pytest.raises(InputError, match=r"nothing answers at .*timed out"):
        open_http(f"http://127.0.0.1:{port}/")


def test_a_blocked_read_ends_when_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TIMEOUT_S", 100.0)
    with serving(fps=200.0) as server:
        source = open_http(server.url)
        items = iter(source)
        next(items)
        server.silent.set()
        lost = threading.Event()
        reader = threading.Thread(target=read_until_lost, args=(items, lost))
        reader.start()
        source.cancel()
        reader.join(timeout=20)

        assert lost.is_set()
        source.close()
        source.cancel()


def test_an_answer_that_breaks_off_is_no_picture() -> None:
    class Broken(http.client.HTTPResponse):
        def __init__(self) -> None:
            self.headers = http.client.HTTPMessage()

        def readline(self, limit: int | None = -1) -> bytes:
            raise OSError

        def close(self) -> None:
            """There is no connection behind it."""

    left, right = socket.socketpair()
    with left, right, pytest.raises(InputError, match="camera opens but gives no picture"):
        next(iter(MjpegSource("camera", Broken(), left)))


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(restated(jpeg_of(noise()), (32000, 32000)), id="bomb"),
        pytest.param(restated(jpeg_of(noise()), (8193, 8192)) + bytes(4 << 20), id="bomb with enough data"),
        pytest.param(restated(jpeg_of(noise()), (640, 640)), id="header lies"),
        pytest.param(restated(jpeg_of(noise(), progressive=True), (96, 64)), id="progressive, header lies"),
        pytest.param(BOMBS["twelve thousand.png"], id="PNG"),
        pytest.param(BOMBS["size.tif"], id="TIFF"),
    ],
)
def test_a_picture_that_is_not_to_be_decoded_is_skipped(
    monkeypatch: pytest.MonkeyPatch, spoilt: bytes
) -> None:
    decoded: list[int] = []
    decode = cv2.imdecode

    def decode_noted(data: np.ndarray, flags: int) -> object:
        decoded.append(data.size)
        return decode(data, flags)

    monkeypatch.setattr(cv2, "imdecode", decode_noted)
    parts = [jpeg(1), spoilt, jpeg(2)]
    head = "--frame\r\nContent-Length: {}\r\n\r\n"
    body = b"".join(head.format(len(part)).encode() + part + b"\r\n" for part in parts)
    with answering("multipart/x-mixed-replace; boundary=frame", body) as url:
        first, skipped, last = items_of(url)

    assert [number_of(as_frame(item).image) for item in (first, last)] == [1, 2]
    assert as_skipped(skipped).reason == "1 frame after frame 1 did not come"
    header = header_from_jpeg(spoilt)
    if header is None or header.size_hw[0] > 640:
        assert len(spoilt) not in decoded


def test_a_part_of_a_million_lines_is_read_whole() -> None:
    lines = b"\r\n" * 100_000
    part = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n"
    body = b"\r\n".join([part + lines, part + jpeg(6), b"--frame--\r\n"])
    with answering("multipart/x-mixed-replace; boundary=frame", body) as url:
        items = items_of(url)

    assert [number_of(item.image) for item in items if isinstance(item, Frame)] == [6]
