"""Captures that are plugged in, and threads that must be gone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import cv2
import pytest

from .fake_capture import FakeCapture
from .mjpeg_server import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np

    from .fake_capture import PlugIn


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> PlugIn:
    def plug(pictures: Iterable[np.ndarray | None], *, opens: bool = True) -> FakeCapture:
        capture = FakeCapture(list(pictures), opens=opens)
        monkeypatch.setattr(cv2, "VideoCapture", lambda *target: capture)
        return capture

    return plug


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    """Fails a test that leaves threads of the package behind."""
    yield
    until(lambda: not threads())


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("edgeseg")]
