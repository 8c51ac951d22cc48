"""Files that end before their container says."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from edgeseg.streaming.sources.files import open_source
from edgeseg.streaming.sources.video.completeness import is_cut_off
from edgeseg.vision.frames import Skipped

from .clips import write_clip

if TYPE_CHECKING:
    from pathlib import Path

STATED = {"avi": "MJPG", "flv": "FLV1", "mkv": "MJPG", "webm": "VP80", "wmv": "WMV2", "mp4": "mp4v"}


@pytest.mark.parametrize("suffix", STATED)
def test_a_whole_file_is_whole(tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / f"clip.{suffix}", 30, codec=STATED[suffix])

    assert not is_cut_off(path)
    assert not [item for item in open_source(str(path)) if isinstance(item, Skipped)]


@pytest.mark.parametrize("share", [0.6, 0.9])
@pytest.mark.parametrize("suffix", STATED)
def test_a_file_that_is_cut_off_is_found_out(tmp_path: Path, suffix: str, share: float) -> None:
    path = write_clip(tmp_path / f"clip.{suffix}", 30, codec=STATED[suffix])
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])

    assert is_cut_off(path)
    if suffix != "mp4":
        # An MP4's index is its end: without it nothing can be read.
        *_, last = open_source(str(path))
        assert isinstance(last, Skipped)
        assert "before the end that its header states: truncated" in last.reason


@pytest.mark.parametrize(
    ("data", "cut"),
    [
        (b"RIFF" + struct.pack("<I", 4) + b"AVI ", False),
        (b"RIFF" + struct.pack("<I", 0) + b"AVI ", False),
        (b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"AVI ", False),
        (b"RIFF" + struct.pack("<I", 4) + b"AVI RIFF" + struct.pack("<I", 90) + b"AVIX", True),
        (bytes.fromhex("1a45dfa380 18538067 01ffffffffffffff") + b"live", False),
        (bytes.fromhex("1a45dfa380 18538067 84") + b"done", False),
        (bytes.fromhex("1a45dfa380 18538067 85") + b"done", True),
        (bytes.fromhex("1a45dfa3"), False),
        (b"GIF89a...;", False),
        (b"GIF89a...", True),
        (b"FLV", False),
        (struct.pack(">I4s", 8, b"ftyp") + struct.pack(">I4s", 0, b"mdat") + b"to the end", False),
        (struct.pack(">I4s", 8, b"ftyp") + struct.pack(">I4s", 90, b"mdat") + b"cut", True),
        (b"G" + bytes(187), False),
        (b"", False),
    ],
    ids=lambda value: value[:16].hex() if isinstance(value, bytes) else None,
)
def test_what_containers_state(tmp_path: Path, data: bytes, cut: bool) -> None:
    (tmp_path / "clip").write_bytes(data)

    assert is_cut_off(tmp_path / "clip") is cut


def test_a_broadcast_has_no_size(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.wmv", 3, codec="WMV2")
    data = bytearray(path.read_bytes())
    place = data.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")) + 40
    assert struct.unpack_from("<Q", data, place)[0] == len(data)
    struct.pack_into("<Q", data, place, 0)
    path.write_bytes(data)

    assert not is_cut_off(path)
