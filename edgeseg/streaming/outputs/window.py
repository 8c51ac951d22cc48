"""A window that shows each frame on the screen."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import cv2

from edgeseg.errors import ConfigError, DependencyError, EdgeSegError
from edgeseg.records import escape_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeseg.streaming.controls import Controls
    from edgeseg.streaming.results import RenderedFrame

STOP_KEYS = frozenset((ord("q"), ord("Q"), 27))
# The key of a plus says = without shift.
STEP_BY_KEY = {ord("+"): 0.05, ord("="): 0.05, ord("-"): -0.05, ord("_"): -0.05}
# Larger pictures are reduced to it at first; the window can be dragged to any size.
FIRST_SIZE_WH = (1280, 720)
NO_KEY = 255
# Without a screen some builds of OpenCV end the whole process, so a process of its own tries it first.
PROBE_SCRIPT = "import cv2; cv2.namedWindow('edgeseg'); cv2.waitKey(1); cv2.destroyAllWindows()"
PROBE_TIMEOUT_S = 60.0
# What OpenCV says that was built without windows.
NOT_BUILT = "not implemented"


class Window:
    """Shows the newest frame of each source in a window of its own; see `Sink`.

    `q`, Escape or the window's X end the run; `+` and `-` move the score threshold. Keys are read when a
    frame is shown. All calls must come from one thread.

    Args:
        controls: Of the run.
        source_names: In the order of `Frame.source`.

    Raises:
        DependencyError: This OpenCV was built without windows.
        ConfigError: There is no screen.
    """

    def __init__(self, controls: Controls, *, source_names: Sequence[str] = ("camera",)) -> None:
        _check_screen()
        self._controls = controls
        # OpenCV knows windows by name; what a person reads is the title.
        self._names = [
            f"edgeseg {index}: {escape_surrogates(name)}" for index, name in enumerate(source_names)
        ]
        self._open: dict[str, str] = {}

    def write(self, rendered: RenderedFrame) -> None:
        """See `Sink.write`."""
        if self._controls.stopping.is_set():
            return
        name = self._names[rendered.result.frame.source]
        with _mapped_errors():
            if name not in self._open:
                self._open_window(name, rendered)
            elif _is_closed(name):
                self._controls.stopping.set()
                return
            cv2.imshow(name, rendered.image)
            self._update_title(name, rendered)
            self._handle_key(cv2.waitKey(1) & NO_KEY)

    def close(self) -> None:
        """Close the windows; harmless if done before."""
        for name in self._open:
            # The user may have closed it.
            with suppress(cv2.error):
                cv2.destroyWindow(name)
        self._open.clear()

    def _open_window(self, name: str, rendered: RenderedFrame) -> None:
        height, width = rendered.image.shape[:2]
        factor = min(1.0, FIRST_SIZE_WH[0] / width, FIRST_SIZE_WH[1] / height)
        cv2.namedWindow(name, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        cv2.resizeWindow(name, max(1, round(width * factor)), max(1, round(height * factor)))
        self._open[name] = name

    def _update_title(self, name: str, rendered: RenderedFrame) -> None:
        status = rendered.status
        title = f"{name}, {status.fps:.1f} frames/s, threshold {self._controls.score_threshold:.2f}"
        if title != self._open[name]:
            cv2.setWindowTitle(name, title)
            self._open[name] = title

    def _handle_key(self, key: int) -> None:
        if key in STOP_KEYS:
            self._controls.stopping.set()
        elif step := STEP_BY_KEY.get(key):
            moved = round(self._controls.score_threshold + step, 2)
            self._controls.score_threshold = min(1.0, max(0.0, moved))


def _check_screen() -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE_SCRIPT],
            capture_output=True,
            text=True,
            check=False,
            timeout=PROBE_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        msg = f"a window could not be tried: {exc}; show the run in a browser instead: --web"
        raise ConfigError(msg) from exc
    if done.returncode == 0:
        return
    if NOT_BUILT in done.stderr:
        msg = (
            f"OpenCV {cv2.__version__} was built without windows, as opencv-python-headless is; "
            "docs/install.md says how to get one that has them, or show the run in a browser: --web"
        )
        raise DependencyError(msg)
    lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
    # Qt says it at first and then how it could be helped, GTK at the end of a traceback.
    reason = next((line for line in lines if "display" in line), lines[-1]).strip()
    msg = f"no window opens here ({reason}); run it where there is a screen, or show it in a browser: --web"
    raise ConfigError(msg)


@contextmanager
def _mapped_errors() -> Iterator[None]:
    try:
        yield
    except cv2.error as exc:
        msg = f"the window can no longer be shown: {exc.err or exc}"
        raise EdgeSegError(msg) from exc


def _is_closed(name: str) -> bool:
    try:
        return cv2.getWindowProperty(name, cv2.WND_PROP_VISIBLE) < 1
    except cv2.error:
        # How OpenCV 5 says that there is no such window.
        return True
