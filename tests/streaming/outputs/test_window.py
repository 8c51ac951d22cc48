"""The window, with an OpenCV that records what it is told."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edgeseg.errors import ConfigError, DependencyError, EdgeSegError
from edgeseg.streaming.controls import Controls
from edgeseg.streaming.outputs import window
from edgeseg.streaming.outputs.window import Window
from tests.streaming.web.viewing import make_shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


class FakeScreen:
    """What OpenCV's windows would show; keys are pressed in advance."""

    def __init__(self) -> None:
        self.shown: dict[str, np.ndarray | None] = {}
        self.titles: dict[str, str] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self.keys: list[int] = []
        self.closed: set[str] = set()
        self.broken = False

    def namedWindow(self, name: str, flags: int) -> None:
        self.shown[name] = None

    def resizeWindow(self, name: str, width: int, height: int) -> None:
        self.sizes[name] = (width, height)

    def imshow(self, name: str, picture: np.ndarray) -> None:
        if self.broken:
            msg = "lost the display"
            raise cv2.error(msg)
        self.shown[name] = picture

    def setWindowTitle(self, name: str, title: str) -> None:
        self.titles[name] = title

    def waitKey(self, delay_ms: int) -> int:
        return self.keys.pop(0) if self.keys else -1

    def getWindowProperty(self, name: str, which: int) -> float:
        if name in self.closed:
            msg = "NULL window"
            raise cv2.error(msg)
        return 1.0

    def destroyWindow(self, name: str) -> None:
        if name in self.closed:
            msg = "NULL window"
            raise cv2.error(msg)
        del self.shown[name]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> FakeScreen:
    made = FakeScreen()
    names = "namedWindow resizeWindow imshow setWindowTitle waitKey getWindowProperty destroyWindow"
    for name in names.split():
        monkeypatch.setattr(cv2, name, getattr(made, name))
    monkeypatch.setattr(window, "_check_screen", lambda: None)
    return made


def test_each_source_has_a_window(screen: FakeScreen) -> None:
    sink = Window(Controls(), source_names=("left", "right"))
    sink.write(make_shown(10))
    sink.write(make_shown(20, source=1))
    sink.write(make_shown(30))

    levels = {
        name: int(np.unique(picture).item()) for name, picture in screen.shown.items() if picture is not None
    }
    assert levels == {"edgeseg 0: left": 30, "edgeseg 1: right": 20}
    assert screen.titles["edgeseg 0: left"] == "edgeseg 0: left, 25.0 frames/s, threshold 0.50"
    sink.close()
    assert screen.shown == {}
    sink.close()


@pytest.mark.parametrize("key", [*b"qQ", 27])
def test_keys_that_end_the_run(screen: FakeScreen, key: int) -> None:
    controls = Controls()
    drawn: list[int] = []
    sink = Window(controls)
    screen.keys = [key]
    sink.write(make_shown(1, drawn=drawn))
    assert controls.stopping.is_set()

    sink.write(make_shown(2, drawn=drawn))
    assert drawn == [1]


@pytest.mark.parametrize("key", [-1, ord("x"), 0])
def test_other_keys_do_nothing(screen: FakeScreen, key: int) -> None:
    controls = Controls(0.5)
    screen.keys = [key]
    Window(controls).write(make_shown())

    assert not controls.stopping.is_set()
    assert controls.score_threshold == 0.5


@pytest.mark.parametrize(
    ("keys", "wanted"), [("++", 0.6), ("=", 0.55), ("-", 0.45), ("+" * 30, 1.0), ("-" * 30, 0.0), ("+-", 0.5)]
)
def test_keys_that_move_the_threshold(screen: FakeScreen, keys: str, wanted: float) -> None:
    controls = Controls(0.5)
    sink = Window(controls)
    for key in keys:
        # Some builds put the state of shift and lock into the upper bits.
        screen.keys = [0x100000 | ord(key)]
        sink.write(make_shown())

    assert controls.score_threshold == wanted


def test_closing_the_window_ends_the_run(screen: FakeScreen) -> None:
    controls = Controls()
    sink = Window(controls)
    sink.write(make_shown())
    screen.closed.add("edgeseg 0: camera")
    sink.write(make_shown())

    assert controls.stopping.is_set()
    sink.close()


@pytest.mark.parametrize(
    ("size_hw", "wanted_wh"),
    [((480, 640), (640, 480)), ((1080, 1920), (1280, 720)), ((4000, 400), (72, 720))],
)
def test_a_window_fits_the_screen(
    screen: FakeScreen, size_hw: tuple[int, int], wanted_wh: tuple[int, int]
) -> None:
    Window(Controls()).write(make_shown(size_hw=size_hw))

    assert screen.sizes == {"edgeseg 0: camera": wanted_wh}


def test_a_screen_that_goes_away(screen: FakeScreen) -> None:
    sink = Window(Controls())
    sink.write(make_shown())
    screen.broken = True

    with pytest.raises(EdgeSegError, match=r"can no longer be shown: .*lost the display"):
        sink.write(make_shown())


def answer(monkeypatch: pytest.MonkeyPatch, code: int, stderr: str) -> None:
    done = subprocess.CompletedProcess[str]([], code, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *args, **settings: done)


def test_an_opencv_without_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, 1, "cv2.error: (-2) The function is not implemented. Rebuild the library ...\n")

    with pytest.raises(DependencyError, match=r"built without windows.*docs/install\.md.*--web"):
        Window(Controls())


def test_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    # As opencv-python does: Qt ends the process.
    answer(monkeypatch, -6, "qt.qpa.xcb: could not connect to display \n\nAvailable platform plugins: xcb\n")

    with pytest.raises(ConfigError, match=r"could not connect to display\); .*--web"):
        Window(Controls())


def test_a_process_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, -11, "")

    with pytest.raises(ConfigError, match="ended with -11"):
        Window(Controls())


def test_a_screen_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: Sequence[str], **settings: object) -> NoReturn:
        raise subprocess.TimeoutExpired(command, window.PROBE_TIMEOUT_S)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(ConfigError, match="could not be tried"):
        Window(Controls())


def test_what_is_installed_here_says_it_in_a_sentence() -> None:
    """With opencv-python-headless, or with windows but no screen."""
    try:
        Window(Controls())
    except EdgeSegError as exc:
        assert "--web" in str(exc)  # noqa: PT017 - where there is a screen, it opens
