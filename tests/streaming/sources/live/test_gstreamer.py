"""GStreamer pipelines, really run where OpenCV has GStreamer; none from pip has, Debian's does."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import cv2
import pytest

from edgeseg.errors import DependencyError, InputError
from edgeseg.streaming.sources.live import gstreamer, plugins
from edgeseg.streaming.sources.live.plugins import SYSTEM_OPENCV_COMMAND
from edgeseg.streaming.sources.opening import open_frame_reader
from tests.streaming.sources.fake_capture import FakeCapture, picture
from tests.streaming.sources.mjpeg_server import until
from tests.streaming.sources.scripted import QUICK
from tests.vision.found import all_frames, as_frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from edgeseg.errors import EdgeSegError

pytestmark = pytest.mark.usefixtures("no_threads_left")
really = pytest.mark.skipif(not plugins.has_gstreamer(), reason="this OpenCV has no GStreamer")
TEST_PICTURES = "videotestsrc is-live=true pattern=red ! video/x-raw, width=64, height=48, framerate=30/1"


Pipelines: TypeAlias = "list[tuple[str, Sequence[int]]]"


@pytest.fixture
def pipelines(monkeypatch: pytest.MonkeyPatch) -> Pipelines:
    """What OpenCV would be given; nothing is opened."""
    asked: Pipelines = []

    def opened(text: str, backend: int, parameters: Sequence[int]) -> FakeCapture:
        asked.append((text, parameters))
        return FakeCapture([picture()])

    monkeypatch.setattr(gstreamer, "open_capture", opened)
    monkeypatch.setattr(gstreamer, "check_gstreamer", lambda name: None)
    monkeypatch.setattr(gstreamer, "check_elements", lambda pipeline: None)
    return asked


def test_a_pipeline_gets_the_sink_it_lacks(pipelines: Pipelines) -> None:
    gstreamer.open_pipeline("videotestsrc ! videoconvert")
    gstreamer.open_pipeline("videotestsrc ! appsink sync=false")

    assert [text for text, _ in pipelines] == [
        "videotestsrc ! videoconvert ! videoconvert ! video/x-raw, format=BGR ! "
        "appsink drop=true max-buffers=1 sync=false",
        "videotestsrc ! appsink sync=false",
    ]


@pytest.mark.parametrize(
    ("version", "some"), [("4.6.0", False), ("4.9.0", True), ("4.12.1-dev", True), ("5.0.0", True)]
)
def test_time_outs_go_to_an_opencv_that_knows_them(
    monkeypatch: pytest.MonkeyPatch, pipelines: Pipelines, version: str, some: bool
) -> None:
    monkeypatch.setattr(cv2, "__version__", version)

    gstreamer.open_pipeline("videotestsrc ! videoconvert")

    assert bool(pipelines[0][1]) is some


def test_a_csi_camera_keeps_its_short_name(pipelines: Pipelines) -> None:
    source = gstreamer.open_csi("csi://0?flip=2")

    assert source.name == "csi://0?flip=2"
    assert "flip-method=2" in pipelines[0][0]


def test_a_csi_camera_that_is_not_there(monkeypatch: pytest.MonkeyPatch, pipelines: Pipelines) -> None:
    monkeypatch.setattr(gstreamer, "open_capture", lambda *target: None)

    with pytest.raises(InputError, match="csi://0 does not open; check the ribbon cable"):
        gstreamer.open_csi("csi://0")


def test_the_way_to_an_opencv_with_gstreamer_is_told_from_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "has_gstreamer", lambda: False)

    with pytest.raises(DependencyError, match=re.escape(SYSTEM_OPENCV_COMMAND)):
        plugins.check_gstreamer("csi://0")


def test_the_elements_of_a_pipeline() -> None:
    text = "rtspsrc location=rtsp://c/x latency=0 ! application/x-rtp, media=video ! d. ! h264parse ! appsink"

    assert plugins.elements_from_pipeline(text) == ["rtspsrc", "h264parse", "appsink"]


@pytest.mark.parametrize(
    ("element", "package"),
    [
        ("nvarguscamerasrc", "nvidia-l4t-gstreamer"),
        ("nvvidconv", "nvidia-l4t-gstreamer"),
        ("avdec_h264", "gstreamer1.0-libav"),
        ("rtspsrc", "gstreamer1.0-plugins-good"),
        ("rtph264depay", "gstreamer1.0-plugins-good"),
        ("v4l2src", "gstreamer1.0-plugins-good"),
        ("h264parse", "gstreamer1.0-plugins-bad"),
        ("videoconvert", "gstreamer1.0-plugins-base"),
        ("decodebin", "gstreamer1.0-plugins-base"),
        ("wonderfilter", "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav"),
    ],
)
def test_packages_of_elements(element: str, package: str) -> None:
    assert plugins.package_from_element(element) == package


@pytest.mark.skipif(not shutil.which(plugins.INSPECT), reason="needs gst-inspect-1.0")
@pytest.mark.parametrize(
    "element", ["h264parse", "avdec_h264", "rtspsrc", "jpegdec", "videoconvert", "x264enc", "qtdemux"]
)
def test_packages_are_those_that_brought_the_elements(element: str) -> None:
    shown = subprocess.run((plugins.INSPECT, element), capture_output=True, text=True, check=False).stdout
    if not shown:
        pytest.skip(f"{element} is not installed")
    # Debian's packages of GStreamer's plug-ins are named after their source modules.
    named = re.search(r"Source module\s+(\S+)", shown)
    assert named is not None
    module = named[1].replace("gst-", "")

    assert plugins.package_from_element(element) == f"gstreamer1.0-{module}"


@pytest.mark.skipif(not shutil.which(plugins.INSPECT), reason="needs gst-inspect-1.0")
def test_a_missing_element_is_named() -> None:
    with pytest.raises(
        DependencyError, match=r"no element 'nvwonderfilter' here; .*nvidia-l4t-gstreamer, on a Jet"
    ):
        plugins.check_elements("identity ! nvwonderfilter ! fakesink")
    plugins.check_elements("identity ! fakesink")


def test_where_nobody_can_say_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)

    plugins.check_elements("nvwonderfilter")


@really
def test_a_pipeline_gives_its_newest_frame() -> None:
    frame_reader = open_frame_reader([TEST_PICTURES])
    first = as_frame(frame_reader.take(1)[0])
    until(lambda: sum(frame_reader.dropped.values()) > 3)
    later = as_frame(frame_reader.take(1)[0])

    assert first.image.shape == (48, 64, 3)
    # Pure red, in BGR.
    assert first.image[24, 32, 2] > 200 > 60 > first.image[24, 32, 0]
    assert later.image_id > first.image_id + 3
    assert frame_reader.rates_fps == (30.0,)
    frame_reader.close()


@really
def test_a_pipeline_that_ends_is_opened_again() -> None:
    notes: list[str] = []
    frame_reader = open_frame_reader(
        [TEST_PICTURES.replace("is-live", "num-buffers=5 is-live")], note=notes.append, policy=QUICK
    )

    while not frame_reader.reconnects:
        assert frame_reader.take(1)
    assert "gives no more pictures after frame" in notes[0]
    frame_reader.close()


@really
def test_several_pipelines_at_once() -> None:
    frame_reader = open_frame_reader([TEST_PICTURES, TEST_PICTURES.replace("red", "blue")])
    found: dict[int, bool] = {}
    while len(found) < 2:
        found |= {
            frame.source: bool(frame.image[24, 32, 2] > 200) for frame in all_frames(frame_reader.take(2))
        }

    assert found == {0: True, 1: False}
    frame_reader.close()


@really
@pytest.mark.parametrize(
    ("pipeline", "error", "words"),
    [
        ("videotestsrc ! nvwonderfilter", DependencyError, "no element 'nvwonderfilter'"),
        (
            "videotestsrc ! video/x-raw, width=-3 ! videoconvert",
            InputError,
            "does not start; to see why, run: gst-launch-1.0",
        ),
        (
            "csi://0",
            DependencyError,
            "no element 'nvarguscamerasrc' here; .*nvidia-l4t-gstreamer, on a Jetson",
        ),
    ],
)
def test_what_gstreamer_cannot_run(pipeline: str, error: type[EdgeSegError], words: str) -> None:
    with pytest.raises(error, match=words):
        open_frame_reader([pipeline])
