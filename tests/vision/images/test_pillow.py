"""What is not to be opened, or not to be decoded, whatever a file is called."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from edgeseg.errors import InputError
from edgeseg.vision.images import pillow
from edgeseg.vision.images.pillow import formats, is_image
from edgeseg.vision.images.reader import read_image

from .broken_images import BOMBS, jpeg, noise, png, restated, tiff

if TYPE_CHECKING:
    from typing import Any

ROW = b"\0" + b"\x80" * 64 * 3
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "all colors": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "gray": {"mode": "L"},
    "gray, progressive": {"mode": "L", "progressive": True},
}
OTHERS = ("DDS", "ICO", "PCX", "SGI", "TGA")
# Reads each file and prints by how much the process has grown at most, in MiB.
PEAK = """
import resource, sys
from pathlib import Path
from edgeseg.errors import InputError
from edgeseg.vision.images.reader import read_image
from edgeseg.vision.images.pillow import is_image
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
idle = peak()
for name in sys.argv[1:]:
    is_image(Path(name))
    try:
        read_image(Path(name))
    except InputError as exc:
        continue
    print("read", name)
print(peak() - idle)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BOMBS[name])

    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read_image(tmp_path / name)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see the peak of memory")
def test_refusing_bombs_takes_little_memory(tmp_path: Path) -> None:
    for name, data in BOMBS.items():
        (tmp_path / name).write_bytes(data)

    command = [sys.executable, "-c", PEAK, *(str(tmp_path / name) for name in BOMBS)]
    grown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert float(grown) < 100


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("square.png", "is refused: its header states far more than the 134217728 pixels"),
        ("twelve thousand.png", r"12000x12000 pixels \(144000000\), and at most 134217728 .* scale it down"),
        ("one row.png", "60000000x1 pixels .* sides of 65535 are decoded"),
        ("strips.tif", "states 200000 strips or tiles, and at most 131072 are read"),
        ("tags.tif", "states 5009 tags, and at most 4096 are read"),
        ("values.tif", r"its tags state 160\d+ bytes of values, and it has"),
        ("tiles.jp2", "states 62500 tiles, and at most 4096 are read"),
        ("few bytes.jpg", r"is incomplete: \d+ bytes cannot hold the 8192x8192 pixels of its header"),
    ],
)
def test_a_refusal_says_why(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(BOMBS[name])

    with pytest.raises(InputError, match=words):
        read_image(tmp_path / name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size_hw", [(640, 640), (80, 64), (64, 96)])
def test_a_jpeg_whose_header_lies_is_incomplete(tmp_path: Path, kind: str, size_hw: tuple[int, int]) -> None:
    path = tmp_path / "lie.jpg"
    path.write_bytes(restated(jpeg(noise(), **KINDS[kind]), size_hw))

    with pytest.raises(InputError, match="is incomplete"):
        read_image(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behind", [b"", b"rubbish" * 99], ids=["whole", "with rubbish behind it"])
def test_a_jpeg_that_ends_in_the_gray_of_missing_data_is_read(
    tmp_path: Path, kind: str, behind: bytes
) -> None:
    image = np.full((700, 900, 3), 128, np.uint8)
    image[:64, :64] = noise()
    path = tmp_path / "gray.jpg"
    path.write_bytes(jpeg(image, **KINDS[kind]) + behind)

    assert (read_image(path)[-300:] == 128).all()


def test_four_colors_that_are_whole_and_not(tmp_path: Path) -> None:
    data = jpeg(np.full((200, 200, 3), 0, np.uint8), "CMYK")
    (tmp_path / "whole.jpg").write_bytes(data)
    (tmp_path / "lie.jpg").write_bytes(restated(data, (208, 200)))

    assert read_image(tmp_path / "whole.jpg").shape == (200, 200, 3)
    with pytest.raises(InputError, match="is incomplete"):
        read_image(tmp_path / "lie.jpg")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.png", png((640, 64), ROW * 64)),
        ("deep.png", png((640, 64), (b"\0" + b"\x80" * 128) * 64, bits=16, colors=0)),
        ("strips.tif", tiff((640, 64), 1, 64)),
    ],
    ids=[
        "PNG",
        "PNG of 16 bits",
        "TIFF",
    ],
)
def test_other_formats_with_too_few_rows_are_incomplete(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)

    with pytest.raises(InputError, match="is incomplete"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("size_hw", [(1, 1), (17, 31), (64, 64)])
@pytest.mark.parametrize("options", [{}, {"bits": 1}])
def test_a_black_png_is_whole(tmp_path: Path, size_hw: tuple[int, int], options: dict[str, Any]) -> None:
    Image.new("P" if options else "RGB", size_hw[::-1]).save(tmp_path / "black.png", **options)

    assert not read_image(tmp_path / "black.png").any()


def test_no_program_is_started_for_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n", encoding="utf-8")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    path = tmp_path / "photo.jpg"
    path.write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", encoding="ascii"
    )

    assert not is_image(path)
    with pytest.raises(InputError, match=r"photo\.jpg is not an image that can be read"):
        read_image(path)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", OTHERS)
def test_only_documented_formats_are_read(tmp_path: Path, kind: str) -> None:
    Image.init()
    Image.fromarray(noise()).save(tmp_path / "photo.png", kind)

    with pytest.raises(InputError, match="is not an image that can be read"):
        read_image(tmp_path / "photo.png")


def test_formats_and_suffixes_say_the_same() -> None:
    Image.init()
    by_suffix = {Image.registered_extensions().get(suffix) for suffix in pillow.IMAGE_SUFFIXES}

    assert by_suffix - {None, "MPO"} == set(formats())


class Faulty(Exception):
    """What no list of exceptions would have."""


@pytest.mark.parametrize("error", [Faulty("odd"), AttributeError("odd"), RecursionError("odd")])
def test_whatever_a_decoder_raises_is_an_error_of_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(Image, "open", fail)
    (tmp_path / "a.jpg").write_bytes(jpeg(noise()))

    assert not is_image(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.jpg is corrupt: odd"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes by name")
def test_what_is_no_file_is_said_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.jpg"))

    for name, kind in (
        ("pipe.jpg", "is a named pipe"),
        ("socket.jpg", "is a socket"),
        (".", "Is a directory"),
    ):
        assert not is_image(tmp_path / name)
        with pytest.raises(InputError, match=kind):
            read_image(tmp_path / name)
    with pytest.raises(InputError, match="it must be a regular file and is a device"):
        read_image(Path("/dev/zero"))
