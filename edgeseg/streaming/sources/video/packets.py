"""Coded pictures of a video file: where their size changes, and how those of one size are decoded.

OpenCV scales what comes after a change to the first size, or breaks. So each stretch of one size is put into
a temporary file and opened by itself.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from edgeseg.vision.images.limits import MAX_VIDEO_PIXELS, check_image_size
from edgeseg.vision.opencv import open_video_capture

from .codecs import SIZE_READERS, Codec, is_shown, picture_size

if TYPE_CHECKING:
    from collections.abc import Iterator

# FFmpeg looks at a few seconds of a file before it says a size; it may be that of any picture among them.
PROBED_PACKETS = 250
# At a picture that can be decoded without others a new stretch begins when the file has so many bytes.
SEGMENT_BYTES = 64 << 20
SUFFIXES = {
    Codec.H264: ".h264",
    Codec.HEVC: ".hevc",
    Codec.MJPEG: ".mjpeg",
    Codec.MPEG2: ".m2v",
    Codec.VP8: ".ivf",
    Codec.VP9: ".ivf",
}
IVF_FOURCCS = {Codec.VP8: b"VP80", Codec.VP9: b"VP90"}
IVF_HEAD, IVF_PICTURE = "<4sHH4sHHIIII", "<IQ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A coded picture.

    Attributes:
        data: With start codes, where the codec has any.
        time_s: When it is shown; always 0 where the file, or OpenCV before 4.10, does not say.
        size_hw: In force for it.
        announced: Whether the size is said here, so that decoding may begin with it.
        shown: Whether it is seen.
    """

    data: bytes
    time_s: float
    size_hw: tuple[int, int]
    announced: bool
    shown: bool


class PacketReader:
    """The coded pictures of a file in the order of decoding, from the first that announces its size.

    Args:
        path: The file.
        codec: One of `SIZE_READERS`.
    """

    def __init__(self, path: Path, codec: Codec) -> None:
        self.codec = codec
        self._capture: Any = open_video_capture(path)
        # Off, or the bytes of a packet are turned around like a picture's.
        raw = self._capture and self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        self._ready = bool(raw and self._capture.set(cv2.CAP_PROP_FORMAT, -1))

    def __iter__(self) -> Iterator[Packet]:
        """Read on."""
        size_hw: tuple[int, int] | None = None
        while data := self._read():
            announced = picture_size(self.codec, data)
            size_hw = announced or size_hw
            if size_hw is None:
                continue
            yield Packet(
                data=data,
                time_s=self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000,
                size_hw=size_hw,
                announced=announced is not None,
                shown=is_shown(self.codec, data),
            )

    def close(self) -> None:
        """Release the file; harmless if done before."""
        if self._capture:
            self._capture.release()

    def _read(self) -> bytes:
        if not self._ready:
            return b""
        try:
            good, data = self._capture.read()
        except cv2.error:
            return b""
        return data.tobytes() if good and data is not None else b""


class SizeChangeDetector:
    """Follows a file picture by picture and says where the size is another than the decoder's.

    Args:
        packets: From `detect_size_changes`; closed with this.
        size_hw: What the decoder gives.
    """

    def __init__(self, packets: PacketReader, size_hw: tuple[int, int]) -> None:
        self._packets, self._size_hw = packets, size_hw
        self._iterator = iter(packets)
        self._seen = 0
        self._changed: Packet | None = None

    def changes_at(self, index: int) -> int | None:
        """Read as far as a picture.

        Returns:
            The number of the first picture of another size, if there is one up to `index`.
        """
        # FFmpeg's decoder of MPEG-2 loses the last picture before a change.
        last = index + (self._packets.codec is Codec.MPEG2)
        while self._changed is None and self._seen <= last:
            packet = next(self._iterator, None)
            if packet is None:
                return None
            if packet.size_hw != self._size_hw:
                self._changed = packet
            else:
                self._seen += packet.shown
        return self._seen if self._changed is not None else None

    def segments(self, folder: Path) -> Iterator[FixedSizeSegment]:
        """Write what comes from the change on into files, one after the other.

        Args:
            folder: For the files; each is there until the next one is asked for.
        """
        packet, number = self._changed, 0
        while packet is not None:
            number += 1
            path = folder / f"{number}{SUFFIXES[self._packets.codec]}"
            segment = FixedSizeSegment(path=path, size_hw=packet.size_hw, times_s=[])
            packet = self._fill(segment, packet)
            yield replace(segment, times_s=_in_order(segment.times_s))
            path.unlink()

    def close(self) -> None:
        """Release the file; harmless if done before."""
        self._packets.close()

    def _fill(self, segment: FixedSizeSegment, packet: Packet) -> Packet | None:
        """Write packets of one size; gives the first that belongs to the next stretch."""
        fourcc = IVF_FOURCCS.get(self._packets.codec)
        next_packet: Packet | None = packet
        with segment.path.open("wb") as file:
            if fourcc:
                height, width = segment.size_hw
                file.write(struct.pack(IVF_HEAD, b"DKIF", 0, 32, fourcc, width, height, 1000, 1, 0, 0))
            while next_packet is not None and next_packet.size_hw == segment.size_hw:
                if next_packet.announced and segment.times_s and file.tell() > SEGMENT_BYTES:
                    break
                if fourcc:
                    file.write(struct.pack(IVF_PICTURE, len(next_packet.data), len(segment.times_s)))
                file.write(next_packet.data)
                if next_packet.shown:
                    segment.times_s.append(next_packet.time_s)
                next_packet = next(self._iterator, None)
        return next_packet


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedSizeSegment:
    """Pictures of one size in a file of their own.

    Attributes:
        path: The file.
        size_hw: Of the pictures.
        times_s: When each is shown, in order; not a number where nobody knows.
    """

    path: Path
    size_hw: tuple[int, int]
    times_s: list[float]


def _in_order(times_s: list[float]) -> list[float]:
    """Sort times of decoding into times of showing."""
    if len(times_s) > 1 and min(times_s) == max(times_s):
        return [math.nan] * len(times_s)
    return sorted(times_s)


def detect_size_changes(
    path: Path, codec: Codec | None, size_hw: tuple[int, int]
) -> SizeChangeDetector | None:
    """Follow the sizes of a file's pictures, where they can be read.

    Args:
        path: The file.
        codec: Of its pictures.
        size_hw: What OpenCV says; must be that of one of the first pictures, or they are not understood.

    Raises:
        InputError: They are not understood, and state too large a size.
    """
    if codec not in SIZE_READERS:
        return None
    packets = PacketReader(path, codec)
    sizes_hw = {packet.size_hw for packet in islice(packets, PROBED_PACKETS)}
    packets.close()
    if size_hw in sizes_hw:
        return SizeChangeDetector(PacketReader(path, codec), size_hw)
    for stated_hw in sizes_hw:
        # Nothing keeps these from being decoded.
        check_image_size(stated_hw, path, MAX_VIDEO_PIXELS)
    return None
