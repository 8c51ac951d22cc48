"""What `--source` opens: images in every state, folders, patterns, and what must be refused in words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from edgeseg.errors import InputError
from edgeseg.streaming.sources.files import image_ids_from_paths, open_source
from edgeseg.vision.frames import Frame, Skipped, SourceKind
from tests.data import shared
from tests.vision.found import all_frames, as_skipped

if TYPE_CHECKING:
    from collections.abc import Iterable

BAD = ("OPEN-FAILS", "LOAD-FAILS")


def save(path: Path, size_wh: tuple[int, int] = (5, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size_wh, (10, 20, 30)).save(path)
    return path


def frames_of(source: Iterable[Frame | Skipped]) -> list[Frame]:
    return [item for item in source if isinstance(item, Frame)]


def skipped_of(source: Iterable[Frame | Skipped]) -> list[Skipped]:
    return [item for item in source if isinstance(item, Skipped)]


def checked_rows() -> list[list[str]]:
    lines = shared("data", "odd_images", "CHECK.tsv").read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines]


def test_one_image_is_read_in_bgr(tmp_path: Path) -> None:
    source = open_source(str(save(tmp_path / "one.png")))

    (frame,) = all_frames(source)
    assert source.kind is SourceKind.IMAGES
    assert source.total == 1
    assert (frame.name, frame.image_id, frame.time_s) == ("one.png", 1, None)
    assert frame.image.shape == (4, 5, 3)
    assert frame.image[0, 0].tolist() == [30, 20, 10]


def test_a_folder_is_searched_with_its_subfolders_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.png", "a/B.JPG", ".hidden.png"):
        save(tmp_path / name)
    save(tmp_path / "plain.png").rename(tmp_path / "no_suffix")
    (tmp_path / "README.md").write_text("no image")

    names = [frame.name for frame in frames_of(open_source(str(tmp_path)))]

    assert [name for name in names if not name.startswith(".git/")] == [
        "a/B.JPG",
        "a/z.png",
        "b.png",
        "no_suffix",
    ]


def test_every_odd_image_is_read_or_named() -> None:
    rows = checked_rows()
    source = open_source(str(shared("data", "odd_images")))

    read, skipped = {}, {}
    for item in source:
        if isinstance(item, Frame):
            assert item.image.dtype == np.uint8
            read[item.name] = item.image.shape
        else:
            skipped[item.name] = item.reason

    bad = {name for name, _, state in rows if any(word in state for word in BAD)}
    if ".avif" not in Image.registered_extensions():
        # Pillow reads AVIF from 11.3 on.
        bad |= {name for name, _, _ in rows if name.endswith(".avif")}
    assert set(skipped) == bad
    assert set(read) == {name for name, _, _ in rows} - bad
    assert all(shape[2] == 3 for shape in read.values())
    assert all(reason.strip() for reason in skipped.values())


def test_orientation_is_applied() -> None:
    # 375x500 as stored, a quarter turn in the metadata.
    (frame,) = all_frames(open_source(str(shared("data", "odd_images", "derived", "exif_orientation_6.jpg"))))

    (upright,) = all_frames(open_source(str(shared("data", "odd_images", "derived", "base.jpg"))))
    assert frame.image.shape == upright.image.shape
    assert np.abs(frame.image.astype(int) - upright.image).mean() < 5


def test_a_bomb_is_refused_by_name() -> None:
    (item,) = open_source(str(shared("data", "odd_images", "pillow", "decompression_bomb.gif")))
    skipped = as_skipped(item)

    assert skipped.name == "decompression_bomb.gif"
    assert "is refused: its header states far more" in skipped.reason


def test_a_pattern_gives_what_it_matches(tmp_path: Path) -> None:
    for name in ("x/1.png", "x/2.png", "y/3.png", "y/4.bmp"):
        save(tmp_path / name)

    assert [frame.name for frame in open_source(f"{tmp_path}/x/*.png")] == ["1.png", "2.png"]
    assert [frame.name for frame in open_source(f"{tmp_path}/*/*.png")] == ["x/1.png", "x/2.png", "y/3.png"]
    assert [frame.name for frame in open_source(f"{tmp_path}/**/*.bmp")] == ["4.bmp"]


def test_a_relative_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("1.png", "2.png"):
        save(tmp_path / name)
    monkeypatch.chdir(tmp_path)

    assert [frame.name for frame in open_source("*.png")] == ["1.png", "2.png"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    path = save(tmp_path / "shot[1].png")

    assert [frame.name for frame in open_source(str(path))] == ["shot[1].png"]


def test_what_is_no_image_is_named_with_the_reason(tmp_path: Path) -> None:
    save(tmp_path / "good.png")
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "phone.HEIC").write_bytes(b"heic")
    (tmp_path / "clip.mp4").write_bytes(b"mp4")

    skipped = {item.name: item.reason for item in skipped_of(open_source(str(tmp_path)))}

    assert "is not an image that can be read (5 bytes)" in skipped["text.jpg"]
    assert "convert it to JPEG" in skipped["phone.HEIC"]
    assert "name it as the source by itself" in skipped["clip.mp4"]
    assert len(skipped) == 3


def test_an_image_that_vanishes_meanwhile_is_skipped(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    source = open_source(str(tmp_path))
    (tmp_path / "a.png").unlink()

    assert [item.reason for item in skipped_of(source)] == [
        f"cannot read {tmp_path}/a.png: No such file or directory"
    ]


def test_results_of_this_run_are_not_its_input(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "overlays" / "a.png")
    (tmp_path / "overlay.mp4").write_bytes(b"mp4")

    source = open_source(str(tmp_path), exclude=[tmp_path / "overlays", tmp_path / "overlay.mp4"])

    assert [item.name for item in source] == ["a.png"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the source must be a path and is empty"),
        ("{folder}/absent.jpg", "no file or folder is at {folder}/absent.jpg"),
        ("{folder}/*.jpg", "no file or folder matches the pattern {folder}/*.jpg"),
        ("{folder}", "no images in {folder}; looked for .avif"),
        ("rtsp://10.0.0.7/live", "rtsp://10.0.0.7/live is a stream"),
        ("{folder}/notes.txt", "{folder}/notes.txt is neither an image nor a video that can be read"),
    ],
)
def test_what_cannot_be_a_source_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    words = words.format(folder=tmp_path)

    with pytest.raises(InputError, match=re.escape(words)):
        open_source(text.format(folder=tmp_path))


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["000000000139.jpg", "000000000285.jpg"], [139, 285]),
        (["a/1.jpg", "b/1.jpg"], [1, 2]),
        (["7.jpg", "x.jpg"], [1, 2]),
        (["²7.jpg", "9.jpg"], [1, 2]),
        (["007.jpg", "7.png"], [1, 2]),
    ],
)
def test_image_ids(names: list[str], ids: list[int]) -> None:
    assert image_ids_from_paths([Path(name) for name in names]) == ids


def test_a_name_in_no_encoding_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.png"
    try:
        save(path)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes UTF-8 names only")

    (frame,) = open_source(str(tmp_path))
    assert frame.name == "caf\udce9.png"
