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
# On many keyboards + is Shift and =, and _ is Shift and -, so both characters of each key are accepted.
STEP_BY_KEY = {ord("+"): 0.05, ord("="): 0.05, ord("-"): -0.05, ord("_"): -0.05}
# Maximum initial size of a window, in pixels; the user can resize it.
FIRST_SIZE_WH = (1280, 720)
NO_KEY = 255
# Without a screen, some builds of OpenCV abort the process, so a separate process tries it first.
PROBE_SCRIPT = "import cv2; cv2.namedWindow('edgeseg'); cv2.waitKey(1); cv2.destroyAllWindows()"
PROBE_TIMEOUT_S = 60.0
# Part of the error message of an OpenCV that was built without window support.
NOT_BUILT = "not implemented"


class Window:
    """A `Sink` that shows the newest frame of each source in its own window.

    `q`, Escape or closing a window ends the run; `+` and `-` change the score threshold. Keys are read when a
    frame is shown. All calls must come from one thread.

    Args:
        controls: Controls of the run.
        source_names: Names of the sources, indexed by `Frame.source`.

    Raises:
        DependencyError: This OpenCV was built without window support.
        ConfigError: There is no screen.
    """

    def __init__(self, controls: Controls, *, source_names: Sequence[str] = ("camera",)) -> None:
        _check_screen()
        self._controls = controls
        # OpenCV identifies windows by these names; the titles that users see are set separately.
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
        """Close the windows; may be called more than once."""
        for name in self._open:
            # The user may have closed the window already.
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
    # Qt names the missing display in its first lines, followed by advice; GTK at the end of a traceback.
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
        # OpenCV 5 raises this if the window does not exist.
        return True
