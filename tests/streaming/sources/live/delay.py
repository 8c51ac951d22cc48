"""How old a frame is when it arrives: `python -m tests.streaming.sources.live.delay`, about a minute.

Servers on this machine write the time into each picture; `rtsp_server.py` needs the system's Python with gi.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from edgeseg.streaming.sources.opening import open_frame_reader
from tests.streaming.sources.mjpeg_server import BITS, MjpegServer, number_of, picture_of
from tests.vision.found import all_frames

from .test_rtsp import Server, free_port

SIZE_HW = (720, 1280)
SECONDS = 15.0
# The pictures of the time it took to open come first, all at once.
WARM_UP_S = 1.0


def clock(time_s: float) -> int:
    return int(1000 * time_s) % (1 << BITS)


def measure(url: str, pause_s: float) -> str:
    """Take frames for a while, with a pause after each as a slow model makes it."""
    frame_reader = open_frame_reader([url])
    begun_s = time.monotonic()
    ages_ms = []
    while time.monotonic() < begun_s + SECONDS:
        frames = all_frames(frame_reader.take(1))
        if time.monotonic() > begun_s + WARM_UP_S:
            ages_ms += [(clock(time.monotonic()) - number_of(frame.image)) % (1 << BITS) for frame in frames]
        time.sleep(pause_s)
    dropped = sum(frame_reader.dropped.values())
    frame_reader.close()
    half = len(ages_ms) // 2
    return (
        f"median {np.median(ages_ms):.0f} ms, 95 % {np.percentile(ages_ms, 95):.0f}, halves "
        f"{np.median(ages_ms[:half]):.0f} and {np.median(ages_ms[half:]):.0f}, {dropped} dropped"
    )


def main() -> None:
    for codec in ("h264", "jpeg"):
        server = Server(free_port(), "--codec", codec, "--size", f"{SIZE_HW[1]}x{SIZE_HW[0]}")
        for pause_s in (0.0, 0.5):
            sys.stdout.write(f"RTSP {codec}, pause {pause_s:g} s: {measure(server.url, pause_s)}\n")
        server.kill()
    web = MjpegServer(draw=lambda number: picture_of(clock(time.monotonic()), SIZE_HW))
    for pause_s in (0.0, 0.5):
        sys.stdout.write(f"HTTP jpeg, pause {pause_s:g} s: {measure(web.url, pause_s)}\n")
    web.close()


if __name__ == "__main__":
    main()
