"""How OpenCV's captures are opened and read."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import pytest

from edgeseg.errors import InputError
from edgeseg.vision import opencv
from edgeseg.vision.opencv import quiet_opencv


@pytest.mark.parametrize("moved", [True, False])
def test_the_log_is_found_where_opencv_4_and_5_have_it(monkeypatch: pytest.MonkeyPatch, moved: bool) -> None:
    monkeypatch.setattr(cv2, "utils", SimpleNamespace(logging="log of 5"), raising=False)
    monkeypatch.delattr(cv2, "setLogLevel", raising=False)
    if not moved:
        monkeypatch.setattr(cv2, "setLogLevel", lambda level: None, raising=False)

    assert opencv._log() == ("log of 5" if moved else cv2)


def test_the_log_level_is_put_back() -> None:
    log = opencv._log()
    before = log.getLogLevel()

    def fail() -> None:
        with quiet_opencv():
            raise InputError(log.getLogLevel())

    with pytest.raises(InputError, match=r"^0$"):
        fail()
    assert log.getLogLevel() == before


def test_the_log_level_is_put_back_when_the_last_of_several_is_done() -> None:
    log = opencv._log()
    before = log.getLogLevel()
    first, second = quiet_opencv(), quiet_opencv()

    with first:
        second.__enter__()
    assert log.getLogLevel() == 0
    second.__exit__(None, None, None)
    assert log.getLogLevel() == before
