"""What the page of a run costs with more and more viewers.

    python scripts/measurements/page.py 0 1 10 100

Frames of the conveyor scene, 1280x720 with about 20 objects each, come 25 times a second; viewers are another
process that reads and throws away. Processor time is that of the process with the page, drawing included.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import statistics
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import click

from edgeseg.demo.conveyor import PART_NAMES, ConveyorFrame, ConveyorScene
from edgeseg.runtime.host.health import Health
from edgeseg.streaming.controls import Controls
from edgeseg.streaming.results import FrameResult, RenderedFrame, Status
from edgeseg.streaming.web import WebAddress, WebPage
from edgeseg.vision.detections import Detections
from edgeseg.vision.frames import Frame
from edgeseg.vision.masks import MaskCrop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIZE_HW = (720, 1280)
FPS = 25
SECONDS = 8
SETTLE_S = 2
REQUEST = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"
STATUS = Status(
    uptime_s=1,
    frames=1,
    fps=FPS,
    stages_ms={},
    age_ms=None,
    dropped={},
    skipped=0,
    reconnects=0,
    score_threshold=0.5,
    instances_by_class={},
    health=Health(),
)


def result_of(frame: ConveyorFrame) -> FrameResult:
    """Take the truth for what was found."""
    crops = []
    for mask, (left, top, right, bottom) in zip(
        frame.masks, frame.boxes_xyxy.astype(int).tolist(), strict=True
    ):
        pixels = mask[top:bottom, left:right].astype("uint8")
        crops.append(MaskCrop(pixels=pixels, left=left, top=top))
    found = Detections(
        boxes_xyxy=frame.boxes_xyxy,
        scores=frame.visible,
        labels=frame.labels.astype("int32"),
        masks=tuple(crops),
        frame_size_hw=SIZE_HW,
        class_names=("__background__", *PART_NAMES),
    )
    image = Frame(image=frame.image, name="belt", image_id=frame.index)
    return FrameResult(frame=image, detections=found, stages_ms={})


def read(port: int, viewers: int) -> None:
    """Read what the page sends to so many viewers, until it ends."""
    selector, buffer = selectors.DefaultSelector(), bytearray(1 << 20)
    for _ in range(viewers):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(REQUEST)
        selector.register(client, selectors.EVENT_READ)
    while selector.get_map():
        for key, _ in selector.select():
            if isinstance(key.fileobj, socket.socket) and not key.fileobj.recv_into(buffer):
                selector.unregister(key.fileobj)


def measure(results: list[FrameResult], viewers: int) -> str:
    """Show the frames for some seconds; gives a line of figures."""
    drawn: list[int] = []

    def draw(result: FrameResult) -> NDArray[np.uint8]:
        drawn.append(1)
        return result.detections.draw(result.frame.image)

    writes_ms: list[float] = []
    with closing(WebPage(WebAddress(port=0), Controls())) as page:
        command = (sys.executable, __file__, "--port", str(page.address.port), str(viewers))
        with subprocess.Popen(command) as readers:
            start_s = next_frame_s = time.monotonic()
            for result in itertools.cycle(results):
                if next_frame_s - start_s >= SETTLE_S and not writes_ms:
                    drawn.clear()
                    used_s, since_s = time.process_time(), time.monotonic()
                if next_frame_s - start_s > SETTLE_S + SECONDS:
                    break
                shown, before = RenderedFrame(result, lambda: STATUS, draw), time.perf_counter()
                page.write(shown)
                if next_frame_s - start_s >= SETTLE_S:
                    writes_ms.append(1000 * (time.perf_counter() - before))
                next_frame_s += 1 / FPS
                time.sleep(max(0, next_frame_s - time.monotonic()))
            took_s = time.monotonic() - since_s
            load = (time.process_time() - used_s) / took_s
            page.close()
            readers.wait()
    p50, p99 = statistics.median(writes_ms), statistics.quantiles(writes_ms, n=100)[-1]
    return (
        f"{viewers:4d} viewers: {len(drawn) / took_s:5.1f} pictures/s, "
        f"write p50 {p50:6.2f} p99 {p99:6.2f} ms, {load:4.0%} of a core"
    )


@click.command()
@click.argument("viewers", type=int, nargs=-1)
@click.option("--port", type=int, hidden=True)
def main(viewers: tuple[int, ...], port: int | None) -> None:
    """Measure with so many viewers."""
    if port is not None:
        return read(port, viewers[0])
    scene = ConveyorScene(seed=4, size_hw=SIZE_HW, speed_px=8)
    results = [result_of(scene.frame(index)) for index in range(40)]
    for count in viewers:
        click.echo(measure(results, count))
    return None


if __name__ == "__main__":
    main()
