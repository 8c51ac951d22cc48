"""RTSP from GStreamer's own server on this machine, whose pictures tell when they were made."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from edgeseg.errors import InputError
from edgeseg.streaming.sources.live import network
from edgeseg.streaming.sources.live.reconnector import ReconnectPolicy
from edgeseg.streaming.sources.opening import open_frame_reader
from edgeseg.vision.opencv import has_ffmpeg
from tests.streaming.sources.mjpeg_server import BITS, number_of, until
from tests.vision.found import all_frames, capture_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeseg.vision.frames import Frame

SCRIPT = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"
NEEDED = (
    "import gi, numpy; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
)
QUICK = ReconnectPolicy(silent_s=2.0, pause_s=0.05, longest_pause_s=0.2)

pytestmark = [
    pytest.mark.usefixtures("no_threads_left"),
    pytest.mark.skipif(not has_ffmpeg(), reason="this OpenCV has no FFmpeg"),
]


@pytest.fixture(scope="module", autouse=True)
def _needs_a_server() -> None:
    if not shutil.which(SYSTEM_PYTHON):
        pytest.skip("needs /usr/bin/python3 with gi")
    if subprocess.run((SYSTEM_PYTHON, "-c", NEEDED), capture_output=True, check=False).returncode:
        pytest.skip("needs gir1.2-gst-rtsp-server-1.0 and python3-gi from Debian or Ubuntu")


@pytest.fixture
def quick_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "OPEN_TIMEOUT_MS", 3000)
    monkeypatch.setattr(network, "READ_TIMEOUT_MS", 1000)


class Server:
    def __init__(self, port: int, *settings: str) -> None:
        command = (SYSTEM_PYTHON, str(SCRIPT), "--port", str(port), *settings)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"
        self.url = f"rtsp://127.0.0.1:{port}/clock"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


class Serve(Protocol):
    """Starts a server; port 0 takes a free one."""

    def __call__(self, *settings: str, port: int = 0) -> Server: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(*settings: str, port: int = 0) -> Server:
        servers.append(Server(port or free_port(), *settings))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.returncode is None:
            server.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def age_s(frame: Frame) -> float:
    """Time from the drawing of a picture to its capture."""
    return ((int(1000 * capture_of(frame)) - number_of(frame.image)) % (1 << BITS)) / 1000


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_a_slow_reader_always_gets_the_newest_picture(serve: Serve, codec: str) -> None:
    frame_reader = open_frame_reader([serve("--codec", codec).url])
    frames = []
    begun_s = time.monotonic()
    for _ in range(12):
        frames += all_frames(frame_reader.take(1))
        time.sleep(0.2)

    # Were pictures queued, the last would be nearly as old as all of this took.
    assert age_s(frames[-1]) < (time.monotonic() - begun_s) / 2
    (dropped,) = frame_reader.dropped.values()
    assert dropped >= frames[-1].image_id + 1 - len(frames) > 0
    assert [frame.image_id for frame in frames] == sorted({frame.image_id for frame in frames})
    assert frames[-1].image.shape == (64, 320, 3)
    frame_reader.close()


def test_the_server_is_killed_and_restarted(serve: Serve, quick_timeouts: None) -> None:
    server = serve()
    notes: list[str] = []
    frame_reader = open_frame_reader([server.url], note=notes.append, policy=QUICK)
    ids = [frame.image_id for frame in all_frames(frame_reader.take(1))]
    server.kill()
    until(lambda: notes)
    serve(port=int(server.url.split(":")[2].split("/")[0]))

    while not frame_reader.reconnects:
        ids += [frame.image_id for frame in all_frames(frame_reader.take(1))]
    ids += [frame.image_id for frame in all_frames(frame_reader.take(1))]
    assert ids == sorted(set(ids))
    assert len(notes) == 2
    frame_reader.close()


def test_a_server_that_falls_silent_comes_back(serve: Serve, quick_timeouts: None) -> None:
    server = serve()
    notes: list[str] = []
    frame_reader = open_frame_reader([server.url], note=notes.append, policy=replace(QUICK, silent_s=1.0))
    frame_reader.take(1)
    os.kill(server.process.pid, signal.SIGSTOP)
    until(lambda: notes)
    os.kill(server.process.pid, signal.SIGCONT)

    until(lambda: frame_reader.reconnects == 1, within_s=60.0)
    assert frame_reader.take(1)
    frame_reader.close()


def test_a_path_that_is_not_there(serve: Serve) -> None:
    url = serve().url.replace("clock", "nothing")

    with pytest.raises(InputError, match=r"answers, but sends no video; check the path"):
        open_frame_reader([url])


def test_two_streams_and_their_threads(serve: Serve) -> None:
    before = threading.active_count()
    frame_reader = open_frame_reader([serve().url, serve("--size", "640x64").url])
    widths: dict[int, int] = {}
    while len(widths) < 2:
        widths |= {frame.source: frame.image.shape[1] for frame in all_frames(frame_reader.take(2))}

    assert widths == {0: 320, 1: 640}
    frame_reader.close()
    until(lambda: threading.active_count() == before)
