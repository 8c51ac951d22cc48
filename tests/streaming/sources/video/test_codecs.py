"""Names of codecs, and the sizes that coded pictures announce."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeseg.streaming.sources.video.codecs import (
    Codec,
    codec_from_fourcc,
    codec_name,
    fourcc_text,
    is_shown,
    picture_size,
)
from edgeseg.streaming.sources.video.packets import PacketReader
from tests.data import shared

from .clips import write_clip

if TYPE_CHECKING:
    from pathlib import Path

# Parameters as x264 and x265 write them.
PARAMETERS = {
    "H.264, baseline": (Codec.H264, "6742c00dd90141fa1000000300100000030320f142a480", (240, 320)),
    "H.264, cropped": (Codec.H264, "67640028acd940780227e584000003000400000300c83c60c658", (1080, 1920)),
    "H.264, interlaced": (Codec.H264, "67640028acd94078044fdc20000003002000000643e2c5b2c0", (1080, 1920)),
    "H.264, odd, 4:4:4": (
        Codec.H264,
        "67f4000d919b282a10f08421080000030008000003019078a14cb0",
        (241, 321),
    ),
    "H.264, 4:2:2, 10 bits": (
        Codec.H264,
        "677a001eb6cd940a02ff8984000003000400000300c83c58b658",
        (360, 640),
    ),
    "HEVC, cropped": (
        Codec.HEVC,
        "420101016000000300900000030000030078a003c08010e596566924cae68080000003008000000c84",
        (1080, 1920),
    ),
    "HEVC, 10 bits": (
        Codec.HEVC,
        "42010102200000030090000003000003003ca00a480f9c92365959a4932b9a020000030002000003003210",
        (242, 322),
    ),
    "HEVC, 4:4:4": (
        Codec.HEVC,
        "4201010408000003009e0800000300003f9000a0402d2cb2b349265734040000030004000003006420",
        (360, 640),
    ),
    "VP9": (Codec.VP9, "824983420027f01df608", (480, 640)),
    "VP8": (Codec.VP8, "5053009d012a8002e001", (480, 640)),
    "MPEG-2": (Codec.MPEG2, "b31400f0", (240, 320)),
}


@pytest.mark.parametrize(("codec", "text", "size_hw"), PARAMETERS.values(), ids=PARAMETERS)
def test_the_size_of_a_coded_picture(codec: Codec, text: str, size_hw: tuple[int, int]) -> None:
    data = bytes.fromhex(text)
    starts = codec in (Codec.H264, Codec.HEVC, Codec.MPEG2)

    assert picture_size(codec, b"\0\0\0\1" + data if starts else data) == size_hw


@pytest.mark.parametrize(("codec", "text", "size_hw"), PARAMETERS.values(), ids=PARAMETERS)
def test_a_picture_that_is_cut_off_announces_nothing_wrong(
    codec: Codec, text: str, size_hw: tuple[int, int]
) -> None:
    data = bytes.fromhex(text)
    for length in range(len(data)):
        assert picture_size(codec, b"\0\0\1" + data[:length]) in (None, size_hw)
        assert picture_size(codec, data[:length]) in (None, size_hw)


@pytest.mark.parametrize("codec", [codec for codec, _, _ in PARAMETERS.values()])
def test_most_pictures_announce_nothing(codec: Codec) -> None:
    assert picture_size(codec, b"") is None
    assert picture_size(codec, bytes(40)) is None
    assert picture_size(codec, b"\0\0\1\x41" + b"\xff" * 40) is None


def test_a_codec_without_sizes_announces_nothing() -> None:
    assert picture_size(Codec.MJPEG, b"\xff\xd8") is None


@pytest.mark.parametrize(
    ("name", "size_hw"),
    [("bottle-detection.mp4", (360, 640)), ("car-detection.mp4", (432, 768))],
)
def test_real_clips(name: str, size_hw: tuple[int, int]) -> None:
    packets = PacketReader(shared("data", "videos", name), Codec.H264)
    first = next(iter(packets))
    packets.close()

    assert first.size_hw == size_hw


@pytest.mark.parametrize(("suffix", "fourcc"), [("ivf", "VP80"), ("webm", "VP90"), ("ts", "MPG2")])
def test_what_opencv_has_written(tmp_path: Path, suffix: str, fourcc: str) -> None:
    path = write_clip(tmp_path / f"clip.{suffix}", 6, codec=fourcc, size_hw=(50, 70))
    codec = codec_from_fourcc(fourcc)
    assert codec
    packets = PacketReader(path, codec)
    found = list(packets)
    packets.close()

    assert [packet.size_hw for packet in found] == [(50, 70)] * 6
    assert found[0].announced
    assert sorted(round(packet.time_s, 2) for packet in found[1:]) == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_picture_that_others_refer_to_is_not_seen() -> None:
    assert is_shown(Codec.VP8, b"\x10")
    assert not is_shown(Codec.VP8, b"\x00")
    assert is_shown(Codec.H264, b"\x00")


@pytest.mark.parametrize(
    ("number", "text", "name"),
    [
        (float(int.from_bytes(b"AV01", "little")), "AV01", "AV1"),
        (float(int.from_bytes(b"avc1", "little")), "avc1", "H.264"),
        (float(int.from_bytes(b"gif ", "little")), "gif", "gif"),
        (0.0, "", "unknown"),
        (-1.0, "", "unknown"),
        (float("nan"), "", "unknown"),
        (float("inf"), "", "unknown"),
    ],
)
def test_names_of_codecs(number: float, text: str, name: str) -> None:
    assert fourcc_text(number) == text
    assert codec_name(text) == name
