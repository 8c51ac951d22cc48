"""An RTSP server whose pictures carry the time they were made at; run with the system's Python, which has gi.

    /usr/bin/python3 rtsp_server.py --port 8554 --codec h264 --size 320x64

serves rtsp://127.0.0.1:8554/clock and prints `ready` once it does. In each picture the first row of cells,
black or white, are the bits of `time.monotonic()` in milliseconds, a clock that all processes share.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time

import gi
import numpy as np

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - only after the versions are chosen

BITS = 20
CELL = 16
X264 = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 bitrate=4000 threads=1"
ENCODERS = {
    "h264": f"{X264} ! rtph264pay config-interval=1 pt=96",
    "jpeg": "jpegenc quality=90 ! rtpjpegpay pt=26",
}


class Clock(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc]  # gi has no types
    """Draws the time, for all clients together."""

    def __init__(self, size_hw: tuple[int, int], fps: int, encoder: str) -> None:
        super().__init__()
        self.size_hw, self.fps = size_hw, fps
        caps = f"video/x-raw,format=GRAY8,width={size_hw[1]},height={size_hw[0]},framerate={fps}/1"
        self.set_launch(
            f"( appsrc name=clock is-live=true do-timestamp=true format=time caps={caps} ! videoconvert ! "
            f"video/x-raw,format=I420 ! {encoder} name=pay0 )"
        )
        self.set_shared(True)
        self.connect("media-configure", lambda factory, media: self._begin(media))

    def _begin(self, media: GstRtspServer.RTSPMedia) -> None:
        source = media.get_element().get_by_name("clock")
        threading.Thread(target=self._draw, args=(source,), daemon=True).start()

    def _draw(self, source: Gst.Element) -> None:
        image = np.full(self.size_hw, 128, np.uint8)
        due_s = time.monotonic()
        while True:
            number = int(1000 * time.monotonic()) % (1 << BITS)
            for bit in range(BITS):
                image[:CELL, bit * CELL : (bit + 1) * CELL] = 255 * (number >> bit & 1)
            pushed = source.emit("push-buffer", Gst.Buffer.new_wrapped(image.tobytes()))
            if pushed != Gst.FlowReturn.OK:
                return
            due_s += 1 / self.fps
            time.sleep(max(0.0, due_s - time.monotonic()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="8554")
    parser.add_argument("--codec", choices=ENCODERS, default="h264")
    parser.add_argument("--size", default="320x64")
    parser.add_argument("--fps", type=int, default=30)
    settings = parser.parse_args()
    Gst.init(None)
    width, height = map(int, settings.size.split("x"))
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(settings.port)
    factory = Clock((height, width), settings.fps, ENCODERS[settings.codec])
    server.get_mount_points().add_factory("/clock", factory)
    server.attach(None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


main()
