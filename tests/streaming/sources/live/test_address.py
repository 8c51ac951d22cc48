"""What is live and what is a file; passwords that nobody sees; CSI cameras in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from edgeseg.errors import ConfigError, InputError
from edgeseg.streaming.sources.credentials import redacted
from edgeseg.streaming.sources.live.address import Address, Route, address_from_source
from edgeseg.streaming.sources.live.csi import csi_from_address

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("source", "route", "name"),
    [
        (0, Route.CAMERA, "camera 0"),
        ("/dev/null", Route.CAMERA, "/dev/null"),
        ("rtsp://10.0.0.7/live", Route.NETWORK, "rtsp://10.0.0.7/live"),
        ("RTSP://10.0.0.7/live", Route.NETWORK, "RTSP://10.0.0.7/live"),
        ("udp://@:5000", Route.NETWORK, "udp://@:5000"),
        ("http://u:p@10.0.0.7/mjpg", Route.HTTP, "http://***@10.0.0.7/mjpg"),
        ("csi://1?fps=30", Route.CSI, "csi://1?fps=30"),
        ("videotestsrc ! videoconvert", Route.PIPELINE, "videotestsrc ! videoconvert"),
        ("rtspsrc location=rtsp://u:p@h ! y", Route.PIPELINE, "rtspsrc location=rtsp://***@h ! y"),
    ],
)
def test_live_sources(source: int | str, route: Route, name: str) -> None:
    assert address_from_source(source) == Address(name=name, target=source, route=route)


@pytest.mark.parametrize("source", ["photos", "a/*.jpg", "clip.mp4", "wow!.mp4", ""])
def test_files_are_no_addresses(source: str) -> None:
    assert address_from_source(source) is None


def test_a_file_may_be_named_like_a_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "this ! that.mp4").write_bytes(b"")

    assert address_from_source("this ! that.mp4") is None


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfigError, match="a camera's number must be 0 or more, got -1"):
        address_from_source(-1)
    with pytest.raises(InputError, match=r"ftp://\*\*\*@h/x is not an address that can be read; .*rtsp://"):
        address_from_source("ftp://u:secret@h/x")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:s3cret@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("rtsp://admin:p@ss:word@cam/live", "rtsp://***@cam/live"),
        ("rtsp://admin@cam/live", "rtsp://***@cam/live"),
        ("http://cam/v?user=x&pwd=s3cret&fps=5", "http://cam/v?user=***&pwd=***&fps=5"),
        ("rtspsrc location=rtsp://c user-pw=s3cret ! x", "rtspsrc location=rtsp://c user-pw=*** ! x"),
        ("http://cam/path:with@odd", "http://***@odd"),
    ],
)
def test_passwords_are_hidden(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_a_csi_camera_becomes_a_pipeline() -> None:
    pipeline = csi_from_address("csi://1?width=1280&height=720&fps=60&flip=2").pipeline

    assert pipeline == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM), format=NV12, width=1280, height=720, "
        "framerate=60/1 ! nvvidconv flip-method=2 ! video/x-raw, format=BGRx ! videoconvert ! "
        "video/x-raw, format=BGR ! appsink drop=true max-buffers=1 sync=false"
    )
    assert "sensor-id=0" in csi_from_address("csi://").pipeline


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("csi://0?hight=720", "unknown option 'hight'; the options are width, height, fps, flip"),
        ("csi://0?width=wide", "must have whole numbers, as csi://0?width=1280&height=720, got width='wide'"),
        ("csi://front", "got sensor='front'"),
        ("csi://0?flip=9", "flip from 0 to 7, got width=1920, height=1080, fps=30, flip=9"),
        ("csi://0?fps=0", "fps of 1 or more"),
    ],
)
def test_a_csi_address_that_cannot_work(address: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        csi_from_address(address)
