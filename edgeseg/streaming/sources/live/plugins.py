"""Which parts of OpenCV and GStreamer are missing, and how to get them."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache

import cv2

from edgeseg.errors import DependencyError
from edgeseg.runtime.host.machine import SYSTEM_VENV_COMMAND
from edgeseg.vision.opencv import has_ffmpeg

# Ubuntu's and JetPack's OpenCV are compiled against NumPy 1; pip's wheel would hide them.
SYSTEM_OPENCV_COMMAND = (
    f"sudo apt install python3-opencv && {SYSTEM_VENV_COMMAND} && .venv/bin/pip install edgeseg 'numpy<2' "
    "&& .venv/bin/pip uninstall -y opencv-python-headless"
)
INSPECT = "gst-inspect-1.0"
INSPECT_TIMEOUT_S = 20
JETSON_PACKAGE = "nvidia-l4t-gstreamer"
# Debian's and Ubuntu's package of an element; the first pattern that matches its name counts.
PACKAGES = (
    (r"nv.*", JETSON_PACKAGE),
    (r"av(dec|enc|demux|mux)_.*", "gstreamer1.0-libav"),
    (r"libcamerasrc", "gstreamer1.0-libcamera"),
    (r"x264enc|mpeg2dec|asfdemux", "gstreamer1.0-plugins-ugly"),
    (r"h26[45]parse|x265enc|srt.*|rtmp.*|hls.*|v4l2(codecs|sl).*|va.*", "gstreamer1.0-plugins-bad"),
    (r"rt(sp|p).*|udp.*|v4l2.*|jpeg.*|souphttpsrc|multipart.*", "gstreamer1.0-plugins-good"),
    (r"(qt|matroska|avi)(de)?mux|vp[89].*", "gstreamer1.0-plugins-good"),
    (r"video.*|(uri)?decodebin.*|playbin.*|app(src|sink)|tcp.*", "gstreamer1.0-plugins-base"),
)
ANY_PACKAGE = "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav"


def has_gstreamer() -> bool:
    """Whether this OpenCV reads GStreamer pipelines."""
    return bool(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER))


def check_gstreamer(name: str) -> None:
    """Refuse what needs GStreamer where OpenCV has none.

    Raises:
        DependencyError: It has none; the message says how to get one that has.
    """
    if not has_gstreamer():
        msg = (
            f"{name} is read through GStreamer, and OpenCV {cv2.__version__} here is built without it, as "
            f"every OpenCV from pip is; take the system's: {SYSTEM_OPENCV_COMMAND}"
        )
        raise DependencyError(msg)


def check_ffmpeg(name: str) -> None:
    """Refuse what needs FFmpeg where OpenCV has none.

    Raises:
        DependencyError: It has none; the message says how to get one that has.
    """
    if not has_ffmpeg():
        msg = (
            f"{name} is read through FFmpeg, and OpenCV {cv2.__version__} here is built without it; "
            "take one that has it: pip install opencv-python-headless"
        )
        raise DependencyError(msg)


def check_elements(pipeline: str) -> None:
    """Look for the elements of a pipeline, where GStreamer's tools are there to tell.

    Raises:
        DependencyError: One is not installed; the message names its package.
    """
    if not shutil.which(INSPECT):
        return
    for element in elements_from_pipeline(pipeline):
        if _is_installed(element):
            continue
        package = package_from_element(element)
        where = ", on a Jetson" if package == JETSON_PACKAGE else ""
        msg = f"GStreamer has no element {element!r} here; it comes with: sudo apt install {package}{where}"
        raise DependencyError(msg)


def elements_from_pipeline(pipeline: str) -> list[str]:
    """List the elements of a pipeline; caps, names and properties are none."""
    first_words = (piece.split()[0] for piece in re.split(r"\s!\s", pipeline) if piece.split())
    return [word for word in dict.fromkeys(first_words) if re.fullmatch(r"[A-Za-z][\w-]*", word)]


def package_from_element(element: str) -> str:
    """Name the package of an element, as Debian, Ubuntu and JetPack call it."""
    packages = (package for pattern, package in PACKAGES if re.fullmatch(pattern, element))
    return next(packages, ANY_PACKAGE)


@cache
def _is_installed(element: str) -> bool:
    try:
        done = subprocess.run(
            (INSPECT, "--exists", element), capture_output=True, check=False, timeout=INSPECT_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        # Nobody can say; the pipeline's own failure is told then.
        return True
    return done.returncode == 0
