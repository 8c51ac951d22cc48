"""Viewers: fast, slow, stuck, many, and what they get."""

from __future__ import annotations

import json
import resource
import threading
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edgeseg.streaming.web.limits import WebLimits

from .viewing import (
    FIGURES,
    PATIENCE_S,
    PICTURE,
    Viewer,
    ask,
    decoded,
    idle_viewer,
    make_shown,
    status_of,
    until,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from edgeseg.streaming.results import RenderedFrame
    from edgeseg.streaming.web.page import WebPage

    from .viewing import OpenPage

VIEWERS = 100


def level_of(jpeg: bytes) -> int:
    return int(decoded(jpeg)[0, 0, 1])


def is_past(viewer: Viewer, frames: int) -> Callable[[], bool]:
    """Whether the next figures that a viewer gets tell of more frames."""
    return lambda: bool(json.loads(viewer.next_of(FIGURES))["frames"] > frames)


def noise(number: int) -> RenderedFrame:
    """A frame whose picture hardly compresses: half a megabyte."""
    shown = make_shown(number, size_hw=(720, 1280))
    shown.image = np.random.default_rng(number).integers(0, 255, (720, 1280, 3), np.uint8)
    return shown


def read_all(client: socket.socket) -> None:
    while client.recv(1 << 16):
        pass


@pytest.fixture
def running(page: WebPage) -> Iterator[list[int]]:
    """Frames come 100 times a second until the test ends; the newest number is in the list."""
    stop, numbers = threading.Event(), [0]

    def run() -> None:
        while not stop.wait(0.01):
            numbers[0] += 1
            page.write(make_shown(numbers[0]))

    thread = threading.Thread(target=run)
    thread.start()
    yield numbers
    stop.set()
    thread.join()


def test_a_viewer_gets_pictures_and_figures(page: WebPage, running: list[int]) -> None:
    with closing(Viewer(page)) as viewer:
        first = level_of(viewer.next_of(PICTURE))
        until(lambda: level_of(viewer.next_of(PICTURE)) != first, "another picture")
        told = json.loads(viewer.next_of(FIGURES))

    assert told["state"] == "running"
    assert told["sources"][0]["objects"]


def test_a_viewer_of_a_stalled_stream_gets_the_last_picture(page: WebPage) -> None:
    page.write(make_shown(123))
    with closing(Viewer(page)) as viewer:
        assert level_of(viewer.next_of(PICTURE)) == 123


def test_the_last_picture_before_a_stall_is_seen(page: WebPage) -> None:
    """It came while the one before it was being compressed, and none comes after it."""
    with closing(Viewer(page)) as viewer:
        viewer.next_of(FIGURES)
        for number in range(1, 100):
            page.write(make_shown(number))

        until(lambda: level_of(viewer.next_of(PICTURE)) == 99, "the last picture")


def test_another_viewer_sees_the_threshold_move(page: WebPage) -> None:
    with closing(Viewer(page)) as viewer:
        assert json.loads(viewer.next_of(FIGURES))["score_threshold"] == 0.5
        ask(page, "POST", "/threshold", '{"score_threshold": 0.75}')
        until(lambda: json.loads(viewer.next_of(FIGURES))["score_threshold"] == 0.75)


def test_pictures_of_several_sources(open_page: OpenPage) -> None:
    page = open_page(source_names=("a", "b"))
    page.write(make_shown(50, source=0))
    page.write(make_shown(150, source=1))

    with closing(Viewer(page)) as viewer:
        found: dict[int, int] = {}
        while len(found) < 2:
            message = viewer.next()
            assert message is not None
            kind, source, body = message
            if kind == PICTURE:
                found[source] = level_of(body)
    assert found == {0: 50, 1: 150}


def test_mjpeg_for_other_programs(page: WebPage, running: list[int]) -> None:
    capture = cv2.VideoCapture(f"{page.url}pictures/0.mjpg")
    with closing(Viewer(page, "/pictures/0.mjpg")) as viewer:
        assert viewer.answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=edgeseg"
        answer = viewer.answer
        assert [answer.readline(), answer.readline()] == [b"\r\n", b"--edgeseg\r\n"]
        for _ in range(2):
            assert answer.readline() == b"Content-Type: image/jpeg\r\n"
            size = int(answer.readline().removeprefix(b"Content-Length: "))
            assert answer.readline() == b"\r\n"
            assert decoded(answer.read(size)).shape == (40, 60, 3)
            assert [answer.readline(), answer.readline()] == [b"\r\n", b"--edgeseg\r\n"]
    good, picture = capture.read()
    capture.release()
    assert good
    assert picture.shape == (40, 60, 3)


def test_nobody_is_drawn_for_after_all_have_left(page: WebPage) -> None:
    viewer = Viewer(page)
    page.write(make_shown(1))
    viewer.next_of(PICTURE)
    viewer.close()
    until(lambda: page._frame_store._states[0].viewers == 0, "leaving")

    drawn: list[int] = []
    page.write(make_shown(2, drawn=drawn))
    assert drawn == []


def test_a_viewer_that_does_not_read_holds_nobody_up(page: WebPage) -> None:
    """Hundreds of megabytes would be waiting for it, were they kept."""
    with closing(idle_viewer(page)), closing(Viewer(page)) as other:
        until(lambda: page._frame_store._states[0].viewers == 2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(60):
            page.write(noise(number))
            other.next_of(PICTURE)
        grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    assert grown_mib < 100


def test_a_viewer_that_takes_nothing_for_long_is_let_go(open_page: OpenPage) -> None:
    page = open_page(limits=WebLimits(unread_s=0.3, check_s=0.05))
    with closing(idle_viewer(page)):
        until(lambda: page._frame_store._states[0].viewers == 1)

        def gone() -> bool:
            page.write(noise(1))
            return page._frame_store._states[0].viewers == 0

        until(gone, "letting go")


def test_a_slow_viewer_gets_new_pictures(page: WebPage, running: list[int]) -> None:
    """What it reads after a pause is not what was new when the pause began."""
    with closing(Viewer(page)) as viewer:
        viewer.next_of(PICTURE)
        seen = running[0]
        until(lambda: running[0] > seen + 100)
        # Small pictures fit into the system's buffers: those come first, then the newest.
        until(lambda: json.loads(viewer.next_of(FIGURES))["frames"] > seen + 100, "news")


def test_a_hundred_viewers(page: WebPage, running: list[int]) -> None:
    with ExitStack() as stack:
        viewers = [stack.enter_context(closing(Viewer(page))) for _ in range(VIEWERS)]
        assert all(level_of(viewer.next_of(PICTURE)) >= 0 for viewer in viewers)
        seen = running[0]
        # The run goes on, and all get what is new since all are there.
        until(lambda: running[0] > seen + 50)
        for viewer in viewers:
            until(is_past(viewer, seen + 50))
            viewer.next_of(PICTURE)
    until(lambda: page._frame_store._states[0].viewers == 0, "leaving")


def test_the_end_is_told_with_the_last_picture(open_page: OpenPage) -> None:
    page = open_page()
    with closing(Viewer(page)) as viewer:
        viewer.next_of(FIGURES)
        for number in range(1, 100):
            page.write(make_shown(number))
        page.close()

        last, messages = {}, 0
        while message := viewer.next():
            last[message[0]] = message[2]
            messages += 1
    assert json.loads(last[FIGURES])["state"] == "ended"
    assert level_of(last[PICTURE]) == 99


def test_closing_does_not_wait_for_those_who_do_not_read(open_page: OpenPage) -> None:
    page = open_page()
    with closing(idle_viewer(page)) as stuck, closing(idle_viewer(page, "/pictures/0.mjpg")):
        until(lambda: page._frame_store._states[0].viewers == 2)
        for number in range(8):
            page.write(noise(number))
            until(lambda: not page._frame_store._states[0].busy)
        closer = threading.Thread(target=page.close, daemon=True)
        closer.start()
        closer.join(PATIENCE_S)

        assert not closer.is_alive()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("edgeseg-")]
        read_all(stuck)


def test_figures_keep_coming_when_frames_do_not(page: WebPage) -> None:
    page.write(make_shown())
    with closing(Viewer(page)) as viewer:
        told = [json.loads(viewer.next_of(FIGURES)) for _ in range(4)]

    assert told[3]["sources"][0]["since_s"] > told[0]["sources"][0]["since_s"]
    assert status_of(page)["frames"] == 1
