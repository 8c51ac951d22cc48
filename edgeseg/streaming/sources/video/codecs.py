"""Codecs by their four letters, and the size of the pictures that a coded one announces."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from edgeseg.vision.images.jpeg import header_from_jpeg

if TYPE_CHECKING:
    from collections.abc import Iterator


class Codec(str, Enum):
    """What people call a codec."""

    AV1 = "AV1"
    H264 = "H.264"
    HEVC = "HEVC (H.265)"
    MPEG2 = "MPEG-2"
    MPEG4 = "MPEG-4"
    MJPEG = "Motion JPEG"
    PRORES = "Apple ProRes"
    THEORA = "Theora"
    VP8 = "VP8"
    VP9 = "VP9"
    VVC = "VVC (H.266)"


FOURCCS = {
    Codec.AV1: "av01",
    Codec.H264: "h264 avc1 avc3 x264",
    Codec.HEVC: "hevc hvc1 hev1 h265 x265",
    Codec.MPEG2: "mpg2 mpeg mp2v hdv1 hdv2 hdv3",
    Codec.MPEG4: "mp4v fmp4 xvid divx dx50",
    Codec.MJPEG: "mjpg jpeg mjpa",
    Codec.PRORES: "apch apcn apcs apco ap4h ap4x",
    Codec.THEORA: "theo",
    Codec.VP8: "vp80 vp08",
    Codec.VP9: "vp90 vp09",
    Codec.VVC: "vvc1 vvi1 h266",
}
CODEC_BY_FOURCC = {fourcc: codec for codec, fourccs in FOURCCS.items() for fourcc in fourccs.split()}
# Where the head of a coded picture ends at the latest.
HEAD_BYTES = 4096
START_CODE = b"\0\0\1"
H264_PARAMETERS, HEVC_PARAMETERS, MPEG2_SEQUENCE = 7, 33, 0xB3
# Profiles of H.264 with more than 8 bits or other colours than 4:2:0, whose parameters say so.
HIGH_PROFILES = frozenset((44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 144, 244))
VP8_KEY_CODE, VP9_KEY_CODE = b"\x9d\x01\x2a", 0x498342
VP9_SRGB = 7


def fourcc_text(value: float) -> str:
    """Spell out the four letters that OpenCV gives as a number; empty where they are none."""
    try:
        text = int(value).to_bytes(4, "little").decode("ascii")
    except (OverflowError, ValueError):
        return ""
    return text.strip() if text.isprintable() else ""


def codec_from_fourcc(fourcc: str) -> Codec | None:
    """Find the codec of four letters."""
    return CODEC_BY_FOURCC.get(fourcc.lower())


def codec_name(fourcc: str) -> str:
    """Name a codec for people; its four letters where they are all that is known."""
    codec = codec_from_fourcc(fourcc)
    return codec.value if codec else fourcc or "unknown"


def is_shown(codec: Codec, packet: bytes) -> bool:
    """Whether a coded picture is for the eye, and not only for others to refer to."""
    return codec is not Codec.VP8 or not packet or bool(packet[0] & 0x10)


def picture_size(codec: Codec, packet: bytes) -> tuple[int, int] | None:
    """Read the size that a coded picture announces for itself and those after it.

    Args:
        codec: Of the stream.
        packet: The coded picture, with start codes where the codec has any.

    Returns:
        Height and width of what is shown; None where it announces none, as most pictures do.
    """
    reader = SIZE_READERS.get(codec)
    try:
        size = reader(packet[:HEAD_BYTES]) if reader else None
    except IndexError:
        return None
    return size if size and min(size) > 0 else None


class _Bits:
    """Bits from the highest on, and the numbers of H.264 and HEVC that have no fixed length."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def take(self, count: int) -> int:
        value = 0
        for position in range(self._position, self._position + count):
            value = value << 1 | self._data[position >> 3] >> (7 - (position & 7)) & 1
        self._position += count
        return value

    def unsigned(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        value = self.unsigned()
        return (value + 1) // 2 if value & 1 else -(value // 2)


def _units(packet: bytes) -> Iterator[bytes]:
    """What lies between start codes, without the bytes that keep others from appearing."""
    for unit in packet.split(START_CODE)[1:]:
        yield unit.replace(b"\0\0\3", b"\0\0")


def _h264_size(packet: bytes) -> tuple[int, int] | None:
    for unit in _units(packet):
        if unit and unit[0] & 31 == H264_PARAMETERS:
            return _h264_parameters(unit[1:])
    return None


def _h264_parameters(data: bytes) -> tuple[int, int]:
    """See ITU-T H.264, 7.3.2.1.1."""
    bits = _Bits(data)
    profile = bits.take(8)
    bits.take(16)
    bits.unsigned()
    chroma = 1
    if profile in HIGH_PROFILES:
        chroma = _skip_h264_colours(bits)
    bits.unsigned()
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.take(1)
        for _ in range(2):
            bits.signed()
        for _ in range(bits.unsigned()):
            bits.signed()
    bits.unsigned()
    bits.take(1)
    columns, rows = bits.unsigned() + 1, bits.unsigned() + 1
    fields = 2 - bits.take(1)
    if fields == 2:
        bits.take(1)
    bits.take(1)
    left, right, top, bottom = (bits.unsigned() for _ in range(4)) if bits.take(1) else (0, 0, 0, 0)
    across, down = (2 if chroma in (1, 2) else 1), (2 if chroma == 1 else 1) * fields
    return 16 * rows * fields - down * (top + bottom), 16 * columns - across * (left + right)


def _skip_h264_colours(bits: _Bits) -> int:
    """Go over depth and scaling lists; gives the colours' format: 1 is 4:2:0."""
    chroma = bits.unsigned()
    if chroma == 3:
        bits.take(1)
    bits.unsigned()
    bits.unsigned()
    bits.take(1)
    if bits.take(1):
        for index in range(12 if chroma == 3 else 8):
            if bits.take(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma


def _skip_scaling_list(bits: _Bits, length: int) -> None:
    last = following = 8
    for _ in range(length):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _hevc_size(packet: bytes) -> tuple[int, int] | None:
    for unit in _units(packet):
        if unit and unit[0] >> 1 & 63 == HEVC_PARAMETERS:
            return _hevc_parameters(unit[2:])
    return None


def _hevc_parameters(data: bytes) -> tuple[int, int]:
    """See ITU-T H.265, 7.3.2.2.1."""
    bits = _Bits(data)
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 88 + 8)
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for profile, level in present:
        bits.take(88 * profile + 8 * level)
    bits.unsigned()
    chroma = bits.unsigned()
    if chroma == 3:
        bits.take(1)
    width, height = bits.unsigned(), bits.unsigned()
    left, right, top, bottom = (bits.unsigned() for _ in range(4)) if bits.take(1) else (0, 0, 0, 0)
    across, down = (2 if chroma in (1, 2) else 1), (2 if chroma == 1 else 1)
    return height - down * (top + bottom), width - across * (left + right)


def _mpeg2_size(packet: bytes) -> tuple[int, int] | None:
    for unit in packet.split(START_CODE)[1:]:
        if unit and unit[0] == MPEG2_SEQUENCE:
            bits = _Bits(unit[1:])
            width, height = bits.take(12), bits.take(12)
            return height, width
    return None


def _vp8_size(packet: bytes) -> tuple[int, int] | None:
    """See RFC 6386, 9.1."""
    if len(packet) < 10 or packet[0] & 1 or packet[3:6] != VP8_KEY_CODE:
        return None
    width, height = (int.from_bytes(packet[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return height, width


def _vp9_size(packet: bytes) -> tuple[int, int] | None:
    """See the VP9 bitstream specification, 6.2."""
    bits = _Bits(packet)
    if bits.take(2) != 2:
        return None
    profile = bits.take(1) + 2 * bits.take(1)
    if profile == 3:
        bits.take(1)
    another, inter = bits.take(1), bits.take(1)
    bits.take(2)
    if another or inter or bits.take(24) != VP9_KEY_CODE:
        return None
    if profile >= 2:
        bits.take(1)
    if bits.take(3) == VP9_SRGB:
        bits.take(1 if profile in (1, 3) else 0)
    else:
        bits.take(4 if profile in (1, 3) else 1)
    width, height = bits.take(16) + 1, bits.take(16) + 1
    return height, width


def _mjpeg_size(packet: bytes) -> tuple[int, int] | None:
    header = header_from_jpeg(packet)
    return header.size_hw if header else None


SIZE_READERS = {
    Codec.MJPEG: _mjpeg_size,
    Codec.H264: _h264_size,
    Codec.HEVC: _hevc_size,
    Codec.MPEG2: _mpeg2_size,
    Codec.VP8: _vp8_size,
    Codec.VP9: _vp9_size,
}
