"""Files whose names C++ does not take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import edgeseg
from edgeseg.demo.show import write_image
from edgeseg.errors import InputError
from edgeseg.files.native import native_path
from edgeseg.streaming.sources.files import open_source
from edgeseg.vision.frames import Frame
from edgeseg.vision.images.reader import read_image
from edgeseg.vision.opencv import open_capture
from tests.runtime.fake_bundle import make_bundle
from tests.streaming.sources.video.clips import write_clip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")

LATIN = os.fsdecode("gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n".encode("latin-1"))
NAMES = [LATIN, "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n", "clip%03d", "http:clip", "concat:a|b"]
# Reads and writes under such names in a locale that is none of theirs.
IN_ANOTHER_LOCALE = """
import sys, os
from pathlib import Path
import edgeseg
from edgeseg.vision.images.reader import read_image
from edgeseg.demo.show import write_image
from edgeseg.streaming.sources.files import open_source
folder = Path(sys.argv[1])
(image,) = folder.glob("*.png")
(clip,) = folder.glob("*.mp4")
(bundle,) = folder.glob("bundle*")
write_image(folder / ("copy-" + image.name), read_image(image))
with edgeseg.load(bundle, threads=1) as model:
    frames = sum(1 for _ in edgeseg.stream(model, str(clip)))
print(frames, read_image(folder / ("copy-" + image.name)).shape)
"""


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_images_and_videos_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_clip(tmp_path / "clip.mp4", 3).rename(tmp_path / f"{name}.mp4")
    picture = np.full((40, 60, 3), 70, np.uint8)
    monkeypatch.chdir(tmp_path)

    write_image(Path(f"{name}.png"), picture)
    frames = list(open_source(f"{name}.mp4"))

    assert np.array_equal(read_image(Path(f"{name}.png")), picture)
    assert len([frame for frame in frames if isinstance(frame, Frame)]) == 3
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".mp4", ".png"]


def test_a_bundle_below_a_folder_of_any_name(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with edgeseg.load(make_bundle(tmp_path / LATIN / "bundle"), threads=1) as model:
        assert len(model(np.zeros((64, 96, 3), np.uint8))) == 3


@pytest.mark.parametrize(
    "locale",
    [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["C", "ASCII"],
)
def test_other_locales(tmp_path: Path, locale: dict[str, str]) -> None:
    pytest.importorskip("onnxruntime")
    write_clip(tmp_path / "clip.mp4", 3).rename(tmp_path / f"{NAMES[1]}.mp4")
    write_image(tmp_path / f"{NAMES[1]}.png", np.full((40, 60, 3), 70, np.uint8))
    make_bundle(tmp_path / f"bundle-{NAMES[1]}")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_LOCALE, str(tmp_path)],
        env={**environment, **locale},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (0, "3 (40, 60, 3)\n"), done.stderr


def test_the_link_is_gone_afterwards(tmp_path: Path) -> None:
    with native_path(tmp_path / f"{LATIN}.mp4") as name:
        assert name.isascii()
        assert name.endswith(".mp4")
        Path(name).write_bytes(b"through the link")
    assert not Path(name).is_symlink()
    assert not Path(name).parent.exists()
    assert (tmp_path / f"{LATIN}.mp4").read_bytes() == b"through the link"


def test_where_no_link_can_be_made_the_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError

    monkeypatch.setattr(Path, "symlink_to", fail)
    with (
        pytest.raises(InputError, match=r"must be UTF-8 .*gr\\udcfcn\.mp4'; rename it"),
        native_path(tmp_path / f"{LATIN}.mp4"),
    ):
        pass


def test_an_address_that_is_no_text_does_not_open() -> None:
    assert open_capture(f"rtsp://camera/{LATIN}", cv2.CAP_FFMPEG) is None
