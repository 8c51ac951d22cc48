"""Boxes of MP4 files, and an index with a time for each frame."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from edgeseg.streaming.sources.files import open_source
from edgeseg.streaming.sources.video.mp4 import (
    boxes,
    frame_count,
    is_mp4,
    read_index,
    top_boxes,
    video_track,
    write_durations,
)
from edgeseg.vision.frames import Skipped

from .clips import length_s, mp4_head, read_clip, shown_at, write_clip

if TYPE_CHECKING:
    from pathlib import Path


def test_each_frame_lasts_for_its_own_time(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 5)

    assert write_durations(path, [0.04, 1.0, 0.0333, 2.5, 0.04])

    assert shown_at(path) == pytest.approx([0, 0.04, 1.04, 1.0733, 3.5733], abs=1e-4)
    assert length_s(path) == pytest.approx(3.6133, abs=1e-4)
    assert [round(float(frame.mean()) / 20) for frame in read_clip(path)] == [0, 1, 2, 3, 4]


def test_a_video_of_two_days_has_its_length(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 48)

    assert write_durations(path, [3600.0] * 48)

    assert length_s(path) == 2 * 24 * 3600
    assert shown_at(path)[-1] == pytest.approx(47 * 3600)


def test_roundings_do_not_add_up(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 200)

    write_durations(path, [1 / 29.83] * 200)

    assert length_s(path) == pytest.approx(200 / 29.83, abs=1e-5)


def test_durations_may_be_written_again(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 3)

    assert write_durations(path, [1.0, 1.0, 1.0])
    index = read_index(path)
    assert index
    assert shown_at(path) == [0, 1, 2]


def test_what_interrupts_it_leaves_a_file_that_plays(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 3)
    before = path.read_bytes()
    write_durations(path, [1.0, 1.0, 1.0])

    after = path.read_bytes()
    changed = [index for index, (old, new) in enumerate(zip(before, after, strict=False)) if old != new]
    # All but the old index's name is written behind it.
    assert before[changed[0] : changed[-1] + 1] == b"moov"
    assert after[changed[0] : changed[-1] + 1] == b"free"


@pytest.mark.parametrize("count", [0, 2, 4])
def test_another_number_of_frames_changes_nothing(tmp_path: Path, count: int) -> None:
    path = write_clip(tmp_path / "clip.mp4", 3)
    before = path.read_bytes()

    assert not write_durations(path, [1.0] * count)
    assert path.read_bytes() == before


def test_a_file_without_an_index_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no index")

    assert not write_durations(path, [1.0])
    assert path.read_bytes() == b"no index"


def with_edit(path: Path, shown_s: float) -> Path:
    """Say that only so much is shown, as a phone does when a clip is trimmed."""
    data = bytearray(path.read_bytes())
    place = data.find(b"elst")
    struct.pack_into(">I", data, place + 12, int(1000 * shown_s))
    path.write_bytes(data)
    return path


def test_an_index_counts_its_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 20)
    assert frame_count(read_index(path)) == 20
    assert frame_count(read_index(with_edit(path, 1.98))) == 20


def test_a_trimmed_clip_and_one_in_fragments_have_no_count(tmp_path: Path) -> None:
    trimmed = with_edit(write_clip(tmp_path / "trimmed.mp4", 20), 0.5)
    (tmp_path / "fragments.mp4").write_bytes(mp4_head(0))

    assert frame_count(read_index(trimmed)) is None
    assert [item for item in open_source(str(trimmed)) if isinstance(item, Skipped)] == []
    assert frame_count(read_index(tmp_path / "fragments.mp4")) is None
    assert frame_count(b"") is None


def test_what_a_file_begins_with(tmp_path: Path) -> None:
    assert is_mp4(write_clip(tmp_path / "clip.mp4", 1))
    assert is_mp4(write_clip(tmp_path / "clip.mov", 1))
    assert not is_mp4(write_clip(tmp_path / "clip.mkv", 1))


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        (b"", []),
        (
            struct.pack(">I4s", 8, b"free") + struct.pack(">I4sQ", 1, b"mdat", 20) + b"1234",
            [b"free", b"mdat"],
        ),
        (struct.pack(">I4s", 0, b"mdat") + b"to the end", [b"mdat"]),
        (struct.pack(">I4s", 7, b"free"), []),
        (struct.pack(">I4s", 90, b"free") + b"cut", []),
    ],
    ids=["empty", "sizes of 64 bits", "open end", "too small", "cut off"],
)
def test_boxes_of_every_kind(data: bytes, kinds: list[bytes]) -> None:
    assert [kind for kind, _ in boxes(data)] == kinds


def test_the_last_box_may_state_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(struct.pack(">I4s", 8, b"ftyp") + struct.pack(">I4s", 100, b"mdat") + b"cut")

    with path.open("rb") as file:
        assert list(top_boxes(file)) == [(b"ftyp", 0, 8), (b"mdat", 8, 108)]
    assert read_index(path) == b""
    assert video_track(b"") == b""
