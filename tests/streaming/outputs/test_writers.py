"""Result files that are whole after each frame, whatever stops the run."""

from __future__ import annotations

import json
import resource
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pycocotools import mask as rle

from edgeseg.errors import EdgeSegError
from edgeseg.files.records import write_atomically, write_json
from edgeseg.streaming.outputs.writers import CocoResultsWriter, JsonLines, RecordFile, partial_path
from edgeseg.streaming.results import LineCount, Scene
from tests.vision.found import make_detections, make_frame, make_shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeseg.streaming.results import Sink

FULL_DEVICE = Path("/dev/full")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the kernel refuse what makes a file larger; a record is then written in part, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_lines_relate_ids_names_and_detections(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "lines.jsonl", ["source"])
    sink.write(make_shown(make_frame("b/ü.png", image_id=7), make_detections(2)))
    sink.write(make_shown(make_frame("clip.mp4", image_id=8, time_s=1 / 3), make_detections(0)))
    sink.close()

    first, second = (json.loads(line) for line in (tmp_path / "lines.jsonl").read_text("utf-8").splitlines())
    assert (first["image_id"], first["file_name"], first["time_s"]) == (7, "b/ü.png", None)
    assert (first["width"], first["height"]) == (60, 40)
    assert [found["class"] for found in first["detections"]] == ["bolt", "nut"]
    assert first["detections"][0]["box_xyxy"] == [0, 3, 10, 13]
    assert (second["time_s"], second["detections"]) == (0.3333, [])


def test_a_line_of_a_live_source_tells_when_and_how_old(tmp_path: Path) -> None:
    scene = Scene(
        entered=3, left=1, lines=(LineCount(name="gate", start_xy=(0, 0), end_xy=(0, 9), forward=2),)
    )
    frame = make_frame("camera 1", source=1, captured_s=time.monotonic())
    sink = JsonLines(tmp_path / "lines.jsonl", ["camera 0", "camera 1"])
    sink.write(make_shown(frame, make_detections(1), age_ms=123.44, scene=scene))
    sink.close()

    line = json.loads((tmp_path / "lines.jsonl").read_text("utf-8"))
    captured = datetime.fromisoformat(line["captured_at"])
    assert abs((datetime.now(timezone.utc) - captured).total_seconds()) < 60
    assert (line["source"], line["age_ms"]) == ("camera 1", 123.4)
    assert line["stages_ms"] == {"read": 1.0, "prepare": 2.0, "infer": 90.0, "finish": 3.0}
    assert line["scene"]["lines"] == {"gate": {"forward": 2, "backward": 0}}
    assert (line["scene"]["entered"], line["scene"]["left"]) == (3, 1)
    assert line["health"]["cpu_percent"] == 50


def test_a_line_is_on_the_disk_before_the_next_frame(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "lines.jsonl", ["source"])
    sink.write(make_shown(make_frame(), make_detections()))

    assert len((tmp_path / "lines.jsonl").read_text("utf-8").splitlines()) == 1
    sink.close()


# pycocotools 2.0 predates NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_results_are_cocos(tmp_path: Path) -> None:
    sink = CocoResultsWriter(tmp_path / "results.json")
    sink.write(make_shown(make_frame(image_id=7), make_detections(2)))
    sink.write(make_shown(make_frame(image_id=8), make_detections(0)))
    sink.write(make_shown(make_frame(image_id=9), make_detections(1)))
    sink.close()

    results = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert [(found["image_id"], found["category_id"]) for found in results] == [(7, 1), (7, 2), (9, 1)]
    assert results[1]["bbox"] == [12, 3, 10, 10]
    mask = rle.decode(results[1]["segmentation"])
    assert mask.shape == (40, 60)
    assert mask.sum() == 100 == mask[3:13, 12:22].sum()
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_results_without_any_instance_are_an_empty_list(tmp_path: Path) -> None:
    sink = CocoResultsWriter(tmp_path / "results.json")
    sink.write(make_shown(make_frame(), make_detections(0)))
    sink.close()

    assert json.loads((tmp_path / "results.json").read_text("utf-8")) == []


def test_results_of_a_run_that_is_killed_are_valid_json(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    sink = CocoResultsWriter(path)
    counts = [len(json.loads(partial_path(path).read_text("utf-8")))]
    for image_id in (1, 2):
        sink.write(make_shown(make_frame(image_id=image_id), make_detections(2)))
        counts.append(len(json.loads(partial_path(path).read_text("utf-8"))))

    assert counts == [0, 2, 4]
    assert not path.exists()
    sink.close()


@pytest.mark.parametrize(
    "make", [lambda path: JsonLines(path, ["source"]), CocoResultsWriter], ids=["lines", "results"]
)
def test_a_record_that_does_not_fit_is_taken_back(tmp_path: Path, make: Callable[[Path], Sink]) -> None:
    path = tmp_path / "file.json"
    sink = make(path)
    for image_id in (1, 2):
        sink.write(make_shown(make_frame(image_id=image_id), make_detections(1)))
    growing = next(tmp_path.iterdir())
    before = growing.read_bytes()

    with files_of_at_most(len(before) + 50):
        with pytest.raises(EdgeSegError, match=r"cannot write .*file\.json.*: File too large; name another"):
            sink.write(make_shown(make_frame(image_id=3), make_detections(4)))
        assert growing.read_bytes() == before
        sink.close()
    assert path.read_bytes() == before


def test_a_file_goes_on_after_room_was_made(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "list", head=b"[", tail=b"]")
    file.append("1")
    with files_of_at_most(5), pytest.raises(EdgeSegError, match="File too large"):
        file.append(",22222")
    file.append(",3")
    file.close()

    assert (tmp_path / "list").read_text("utf-8") == "[1,3]"


def test_an_interruption_in_the_middle_of_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RecordFile(tmp_path / "lines")
    file.append("one\n")
    write = RecordFile._write

    def interrupted(self: RecordFile, data: bytes) -> None:
        if data:
            write(self, data[:2])
            raise KeyboardInterrupt

    monkeypatch.setattr(RecordFile, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        file.append("two\n")
    file.close()

    assert (tmp_path / "lines").read_text("utf-8") == "one\n"


@pytest.mark.skipif(not FULL_DEVICE.exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_is_said_in_words() -> None:
    file = RecordFile(FULL_DEVICE)

    with pytest.raises(
        EdgeSegError,
        match="cannot write /dev/full: No space left on device; make room or name another folder",
    ):
        file.append("one\n")
    file.close()


def test_a_name_in_no_encoding_comes_back_as_it_was(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "lines.jsonl", ["source"])
    sink.write(make_shown(make_frame("caf\udce9.png"), make_detections(0)))
    sink.close()
    write_json(tmp_path / "one.json", {"name": "caf\udce9.png"})

    for name, key in (("lines.jsonl", "file_name"), ("one.json", "name")):
        assert json.loads((tmp_path / name).read_text("utf-8"))[key] == "caf\udce9.png"


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(EdgeSegError, match=r"cannot write .*absent/lines\.jsonl: No such file"):
        JsonLines(tmp_path / "absent" / "lines.jsonl", ["source"])
    (tmp_path / "file").touch()
    with pytest.raises(EdgeSegError, match=r"Not a directory|File exists"):
        write_atomically(tmp_path / "file" / "x.json", b"x")


def test_a_whole_file_replaces_the_old_one_or_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    write_atomically(path, b"old")

    with files_of_at_most(10), pytest.raises(EdgeSegError, match="File too large"):
        write_atomically(path, bytes(100))

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
