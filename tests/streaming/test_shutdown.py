"""Programs that end while something is open: in child processes, as what is tried is the end of one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edgeseg.streaming import shutdown
from tests.runtime.fake_bundle import make_bundle

from .sources.mjpeg_server import MjpegServer, picture_of
from .sources.video.clips import write_clip

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

pytest.importorskip("onnxruntime")

BEGIN = """
import gc, sys, threading, time
import edgeseg
model = edgeseg.load(sys.argv[1], threads=1)
stream = edgeseg.stream(model, sys.argv[2], realtime=len(sys.argv) > 3)
"""
ENDS = {
    "never iterated": ("", 0),
    "never iterated and dropped": ("del stream; gc.collect()", 0),
    "ends in the middle": ("frames = iter(stream); next(frames)", 0),
    "raises": ("frames = iter(stream); next(frames); raise ValueError('mine')", 1),
    "exits": ("frames = iter(stream); next(frames); sys.exit(7)", 7),
    "is interrupted": ("frames = iter(stream); next(frames); raise KeyboardInterrupt", -2),
    "in a circle": ("frames = iter(stream); next(frames); held = [stream, frames]; held.append(held)", 0),
    "in a thread": ("threading.Thread(target=list, args=(stream,), daemon=True).start(); time.sleep(0.1)", 0),
}
ENOUGH_S = 30.0


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("exits")
    clip = write_clip(folder / "clip.mp4", 400, size_hw=(240, 320))
    return make_bundle(folder / "bundle"), clip


def ended(code: str, *args: object) -> tuple[int, str]:
    command = [sys.executable, "-c", BEGIN + code, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ENOUGH_S)
    return done.returncode, done.stderr


@pytest.mark.parametrize("end", ENDS)
def test_a_program_may_end_while_a_video_is_read(places: tuple[Path, Path], end: str) -> None:
    code, status = ENDS[end]

    returned, told = ended(code, *places)

    # Whoever is interrupted dies of the signal, where the system has those.
    assert returned == status, told
    assert "terminate called" not in told
    assert ("Traceback" in told) == (end in ("raises", "is interrupted"))


@pytest.mark.parametrize("end", ["ends in the middle", "raises", "never iterated"])
def test_a_program_may_end_while_a_video_plays(places: tuple[Path, Path], end: str) -> None:
    code, status = ENDS[end]

    assert ended(code, *places, "realtime")[0] == status


@pytest.mark.parametrize("last", [10**9, 5], ids=["sending", "silent"])
def test_a_program_may_end_while_a_camera_sends_or_is_silent(places: tuple[Path, Path], last: int) -> None:
    server = MjpegServer(fps=100.0)

    def draw(number: int) -> np.ndarray:
        if number == last:
            server.silent.set()
        return picture_of(number)

    server.draw = draw
    try:
        returned, told = ended(
            "frames = iter(stream); next(frames); time.sleep(0.3); sys.exit(7)", places[0], server.url
        )
    finally:
        server.close()

    assert returned == 7, told
    assert "terminate called" not in told


def test_what_was_closed_is_forgotten() -> None:
    class Thing(shutdown.Closable):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    first, second = Thing(), Thing()
    shutdown.close_at_exit(first)
    shutdown.close_at_exit(second)
    shutdown.forget_at_exit(first)
    shutdown._close_all()

    assert (first.closed, second.closed) == (0, 1)
    shutdown._close_all()
    assert second.closed == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_closes_nothing_of_its_parent(places: tuple[Path, Path]) -> None:
    code = """
import os
frames = iter(stream); next(frames)
child = os.fork()
if not child:
    from edgeseg.streaming import shutdown
    os._exit(len(shutdown._open))
assert os.waitpid(child, 0)[1] == 0
next(frames)
stream.close()
"""
    assert ended(code, *places)[0] == 0
