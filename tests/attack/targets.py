"""What is attacked: each kind makes good samples once, and takes a spoilt one as a user's program would."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import socket
import threading
import time
import zipfile
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from PIL import Image

import edgeseg
from edgeseg.streaming.sources.files import open_source
from edgeseg.streaming.sources.live.http import open_http
from edgeseg.vision.images.reader import ImageReader
from tests.runtime.fake_bundle import make_bundle

from .mutations import mutated, mutated_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST_FRAMES = 30
ANSWER_S = 15.0
BIG = 4096


class ServerError(Exception):
    """A page answered that it has failed, or not at all."""


class Target(Protocol):
    """Something that takes what others have made."""

    def attempt(self, rng: random.Random) -> None:
        """Take a spoilt sample; an `EdgeSegError`, or none, is right."""


class Bundles:
    """A bundle with one file spoilt; half of the time the manifest is made to agree with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._good = make_bundle(folder / "good")
        self._names = [path.name for path in self._good.iterdir() if path.is_file()]
        self._frame = np.zeros((64, 96, 3), np.uint8)

    def attempt(self, rng: random.Random) -> None:
        bundle = self._folder / "spoilt"
        shutil.rmtree(bundle, ignore_errors=True)
        shutil.copytree(self._good, bundle)
        name = rng.choice(["model.json", *self._names])
        path = bundle / name
        if name.endswith(".json"):
            text = mutated_json(path.read_text("utf-8"), rng)
            if rng.random() < 0.7:
                text = _without_checksum(text)
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
        else:
            path.write_bytes(mutated(path.read_bytes(), rng))
            _agree(bundle / "model.json", path)
        edgeseg.load(bundle, backend="onnxruntime")(self._frame)


def _without_checksum(text: str) -> str:
    """Leave out what the manifest says of itself, so that what it says besides is looked at."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(data, dict):
        data.pop("sha256", None)
    return json.dumps(data)


def _agree(manifest: Path, path: Path) -> None:
    data = json.loads(manifest.read_text("utf-8"))
    content = path.read_bytes()
    data["files"][path.name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    data.pop("sha256", None)
    manifest.write_text(json.dumps(data), "utf-8")


class Checkpoints:
    """A checkpoint of each form; the members of archives are spoilt one by one as well."""

    def __init__(self, folder: Path) -> None:
        import torch
        from safetensors.torch import save_file

        from edgeseg.exporter.checkpoint.reader import read_checkpoint

        self._read, self._path = read_checkpoint, folder / "spoilt.pth"
        weights = {f"layer{index}.weight": torch.randn(3, 4 + index) for index in range(6)}
        tied = {**weights, "tied": weights["layer0.weight"], "half": torch.zeros(2, dtype=torch.float16)}
        torch.save({"model": tied, "epoch": 3}, folder / "new.pth")
        torch.save({"model": tied, "epoch": 3}, folder / "old.pth", _use_new_zipfile_serialization=False)
        save_file(weights, str(folder / "good.safetensors"))
        self._good = [(folder / name).read_bytes() for name in ("new.pth", "old.pth", "good.safetensors")]

    def attempt(self, rng: random.Random) -> None:
        data = rng.choice(self._good)
        if data.startswith(b"PK") and rng.random() < 0.7:
            data = _with_spoilt_member(data, rng)
        else:
            data = mutated(data, rng)
        self._path.write_bytes(data)
        self._read(self._path)


def _with_spoilt_member(data: bytes, rng: random.Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        # The pickle above all, which is what is run through.
        chosen = next(name for name in names if name.endswith("data.pkl"))
        chosen = chosen if rng.random() < 0.7 else rng.choice(names)
        for name in names:
            content = old.read(name)
            new.writestr(name, mutated(content, rng) if name == chosen else content)
    return out.getvalue()


class Images:
    """Pictures of every format that can be written here."""

    def __init__(self, folder: Path) -> None:
        self._path, self._reader = folder / "spoilt.jpg", ImageReader()
        rng = np.random.default_rng(0)
        colour = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
        deep = Image.fromarray(rng.integers(0, 4095, (24, 32), dtype=np.uint16))
        pictures = [
            (colour, name) for name in ("JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP", "PPM", "JPEG2000")
        ]
        pictures += [(deep, "PNG"), (deep, "TIFF"), (colour.convert("CMYK"), "JPEG")]
        self._good = [_encoded(picture, name) for picture, name in pictures]

    def attempt(self, rng: random.Random) -> None:
        self._path.write_bytes(mutated(rng.choice(self._good), rng))
        self._reader.read(self._path)


def _encoded(picture: Image.Image, name: str) -> bytes:
    out = io.BytesIO()
    picture.save(out, name)
    return out.getvalue()


class Videos:
    """Videos of several containers."""

    def __init__(self, folder: Path) -> None:
        self._path, self._good = folder / "spoilt.mp4", []
        for suffix, code in (("mp4", "mp4v"), ("avi", "MJPG"), ("mkv", "mp4v")):
            path = folder / f"good.{suffix}"
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10, (64, 48))
            for index in range(8):
                writer.write(np.full((48, 64, 3), index * 30, np.uint8))
            writer.release()
            self._good.append(path.read_bytes())

    def attempt(self, rng: random.Random) -> None:
        self._path.write_bytes(mutated(rng.choice(self._good), rng))
        source = open_source(str(self._path), reader=ImageReader())
        try:
            for _, _item in zip(range(MOST_FRAMES), source, strict=False):
                pass
        finally:
            source.close()


class Streams:
    """A camera's answer over HTTP: its head, and pictures in parts."""

    def __init__(self, folder: Path) -> None:
        good, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))
        assert good
        picture = jpeg.tobytes()
        part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
        self._body = part % (len(picture), picture) * 3
        self._head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n"
            b"Connection: close\r\n\r\n"
        )
        self._answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def attempt(self, rng: random.Random) -> None:
        head = mutated(self._head, rng) if rng.random() < 0.3 else self._head
        self._answer = head + mutated(self._body, rng)
        source = open_http(f"http://127.0.0.1:{self._listener.getsockname()[1]}/")
        try:
            for _, _item in zip(range(MOST_FRAMES), source, strict=False):
                pass
        finally:
            source.close()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            try:
                with client:
                    client.recv(BIG)
                    client.sendall(self._answer)
            except OSError:
                # It has seen enough.
                continue


class Requests:
    """A run's page, asked in ways that no browser knows; it must answer, and never that it has failed."""

    REQUESTS = (
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /status.json?source=0 HTTP/1.1\r\nHost: localhost\r\nCookie: a=b; c\r\n\r\n",
        b"GET /picture/0.jpg HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\n\r\n",
        b"GET /stream/0.mjpg HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"POST /score-threshold HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 24\r\n\r\n{"score_threshold": 0.5}',
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\ntoken=x",
        b"HEAD /page.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )

    def __init__(self, folder: Path) -> None:
        from tests.streaming.web.viewing import make_page, make_shown

        self._page = make_page()
        self._page.write(make_shown(1))
        self._port = self._page.address.port

    def attempt(self, rng: random.Random) -> None:
        self._ask(mutated(rng.choice(self.REQUESTS), rng))
        answer = self._ask(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            msg = f"a good request after a bad one got {answer[:80]!r}"
            raise ServerError(msg)

    def _ask(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_S) as client:
            try:
                client.sendall(request)
                # Or a request that is not whole would be waited for.
                client.shutdown(socket.SHUT_WR)
                answer = client.recv(BIG)
            except ConnectionError:
                # Cut off, which is an answer too.
                return b""
        if answer.startswith(b"HTTP/1.") and answer[9:10] == b"5":
            msg = f"{request[:80]!r} got {answer[:80]!r}"
            raise ServerError(msg)
        return answer


class Planted:
    """Faults of each kind, to see that they are seen: the first three cases fail, each in its own way."""

    def __init__(self, folder: Path) -> None:
        self._ways: dict[int, Callable[[], object]] = {
            0: self._raise,
            1: os.abort,
            2: partial(time.sleep, 60),
        }

    def attempt(self, rng: random.Random) -> None:
        drawn = rng.random()
        number = next(n for n in range(4) if random.Random(f"1 planted {n}").random() == drawn)
        self._ways.get(number, int)()

    def _raise(self) -> None:
        msg = "planted"
        raise KeyError(msg)


TARGETS: dict[str, Any] = {
    "planted": Planted,
    "bundles": Bundles,
    "checkpoints": Checkpoints,
    "images": Images,
    "videos": Videos,
    "streams": Streams,
    "requests": Requests,
}
