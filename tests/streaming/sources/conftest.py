"""Captures that are plugged in, and threads that must be gone."""

from __future__ import annotations

import threading

import cv2
import pytest

from .fake_capture import FakeCapture
from .mjpeg_server import until


@pytest.fixture
def plug_in(monkeypatch):
    def plug(pictures, **facts):
        capture = FakeCapture(list(pictures), **facts)
        monkeypatch.setattr(cv2, "VideoCapture", lambda *target: capture)
        return capture

    return plug


@pytest.fixture
def no_threads_left():
    """Fails a test that leaves threads of the package behind."""
    yield
    until(lambda: not threads())


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("edgeseg")]
