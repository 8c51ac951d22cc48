"""What is written is there whole or not at all: links, mount points, masks, names, two writers at once."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from edgeseg.bundle.manifest import MANIFEST, check_bundle_folder, open_bundle, staged
from edgeseg.errors import ConfigError, EdgeSegError
from edgeseg.files import placement
from edgeseg.files.draft import AtomicFile
from edgeseg.files.locks import FolderLock, locked
from edgeseg.files.pairs import exclusive_publishing, publish_pair
from edgeseg.files.records import check_file, check_folder, write_atomically, write_json
from edgeseg.files.temporary import new_file, new_folder, scratch_folder, sweep, temporary_folder
from tests.bundle.test_manifest import fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = "x" * 240
WRITERS, WRITES = 4, 25

WRITER = """
import sys
from pathlib import Path
import edgeseg.files.records
# As in two containers.
edgeseg.files.records.os.getpid = lambda: 1
for number in range({writes}):
    edgeseg.files.records.write_json(Path(sys.argv[1]), {{"who": sys.argv[2], "filler": [number] * 2000}})
"""


@pytest.fixture(params=[0o077, 0o022, 0o002], ids="{:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_two_writers_of_one_file_never_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_json(path, {})
    script = WRITER.format(writes=WRITES)
    command = [sys.executable, "-c", script, str(path)]
    writers = [subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE) for number in range(WRITERS)]
    torn = 0
    while any(writer.poll() is None for writer in writers):
        try:
            json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            torn += 1
    errors = [writer.communicate(timeout=30)[1] for writer in writers]

    assert (torn, errors) == (0, [b""] * WRITERS)
    assert names(tmp_path) == ["report.json"]


def replace_often(target: Path, faults: list[Exception]) -> None:
    try:
        for number in range(30):
            with staged(target, force=True) as folder:
                fill(folder, str(number).encode() * 999)
    except Exception as exc:  # noqa: BLE001
        faults.append(exc)


@pytest.mark.parametrize("can_exchange", [True, False], ids=["exchange", "two-renames"])
def test_a_bundle_that_is_replaced_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(placement, "exchange", lambda one, other: False)
    target, faults = tmp_path / "model", list[Exception]()
    with staged(target, force=False) as folder:
        fill(folder)
    writers = [threading.Thread(target=replace_often, args=(target, faults)) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        open_bundle(target)
    for writer in writers:
        writer.join()

    assert faults == []
    assert names(tmp_path) == ["model"]


def test_a_link_to_a_file_stays(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_bytes(b"old")
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    dangling = tmp_path / "dangling.json"
    dangling.symlink_to("deeper/new.json")

    write_atomically(link, b"new")
    write_atomically(dangling, b"new")

    assert link.is_symlink()
    assert dangling.is_symlink()
    assert (tmp_path / "real.json").read_bytes() == (tmp_path / "deeper" / "new.json").read_bytes() == b"new"


def test_a_link_to_a_bundle_stays(tmp_path: Path) -> None:
    with staged(tmp_path / "real", force=False) as folder:
        fill(folder)
    (tmp_path / "link").symlink_to("real")

    with staged(tmp_path / "link", force=True) as folder:
        fill(folder, b"other")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "portable.onnx").read_bytes().startswith(b"other")


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(EdgeSegError, match=r"cannot write .*pipe: No such device"):
        write_atomically(pipe, b"nobody reads")

    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, b"read")

    assert os.read(reader, 10) == b"read"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_mask_is_kept_to(tmp_path: Path, umask: int) -> None:
    write_atomically(tmp_path / "deeper" / "one.json", b"x")
    with staged(tmp_path / "model", force=False) as folder:
        fill(folder)

    assert mode(tmp_path / "deeper" / "one.json") == mode(tmp_path / "model" / MANIFEST) == 0o666 & ~umask
    assert mode(tmp_path / "deeper") == mode(tmp_path / "model") == 0o777 & ~umask


def test_a_draft_is_of_what_a_link_points_to(tmp_path: Path) -> None:
    """As a video is written, by a library and under a name of its own."""
    (tmp_path / "link.mp4").symlink_to("real.mp4")
    draft = AtomicFile(tmp_path / "link.mp4", ".mp4")
    draft.path.write_bytes(b"video")

    draft.commit()

    assert (tmp_path / "link.mp4").is_symlink()
    assert (tmp_path / "real.mp4").read_bytes() == b"video"
    assert names(tmp_path) == ["link.mp4", "real.mp4"]


@pytest.mark.parametrize(
    "name", [pytest.param(LONG, id="long"), pytest.param("é" * 120, id="long in UTF-8"), "a\nb", " ", "-x"]
)
def test_unusual_names_are_written(tmp_path: Path, name: str) -> None:
    check_file(tmp_path / name)
    write_atomically(tmp_path / name, b"x")
    with staged(tmp_path / "models" / name, force=False) as folder:
        fill(folder)

    assert open_bundle(tmp_path / "models" / name)
    assert names(tmp_path) == sorted(["models", name])


@pytest.mark.parametrize("name", ["y" * 256, f"{'y' * 256}/deeper"], ids=["file", "folder"])
def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    for check in (check_file, check_folder, lambda path: check_bundle_folder(path, force=False)):
        with pytest.raises(EdgeSegError, match="File name too long"):
            check(tmp_path / name)


def test_a_folder_that_is_not_utf8_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be UTF-8"):
        check_bundle_folder(tmp_path / "\udcff", force=False)


def test_where_the_folder_cannot_be_renamed_its_content_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "_is_mount", lambda target: target.name == "volume")
    target = tmp_path / "volume"
    (target / "lost+found").mkdir(parents=True)
    before = target.stat().st_ino
    with staged(target, force=False) as folder:
        assert folder.parent == target
        fill(folder)
    (target / "engines").mkdir()

    with staged(target, force=True) as folder:
        fill(folder, b"other")

    assert target.stat().st_ino == before
    assert (target / "portable.onnx").read_bytes().startswith(b"other")
    assert "lost+found" in names(target)
    assert "engines" not in names(target)
    assert not [name for name in names(target) if name.startswith(".")]
    assert open_bundle(target)


@pytest.mark.parametrize("kept", ["first", "all-moved", "new-arrived"])
def test_a_content_that_was_half_replaced_is_put_back(tmp_path: Path, kept: str) -> None:
    target = tmp_path / "volume"
    target.mkdir()
    fill(target)
    (target / "engines").mkdir()
    old = target / ".edgeseg-0123456789abcdef.content.old"
    old.mkdir()
    (target / MANIFEST).rename(old / MANIFEST)
    if kept != "first":
        for path in placement.visible_entries(target):
            path.rename(old / path.name)
        (old / placement.ALL_MOVED_MARKER).touch()
    if kept == "new-arrived":
        (target / "portable.onnx").write_bytes(b"new")
        (target / "further.onnx").write_bytes(b"new")

    assert open_bundle(target)
    assert names(target) == sorted([MANIFEST, "engines", *open_bundle(target).files])


def test_a_bundle_that_was_moved_away_is_put_back(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with staged(target, force=False) as folder:
        fill(folder)
    target.rename(target.with_name(placement._backup_name("0123456789abcdef", target)))

    assert open_bundle(target)
    assert names(tmp_path) == ["model"]


def test_a_bundle_of_somebody_else_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "model"

    def two() -> None:
        with staged(target, force=False) as folder:
            fill(folder)
            with staged(target, force=False) as other:
                fill(other, b"other")

    with pytest.raises(ConfigError, match="written by another program meanwhile; pass --force"):
        two()
    assert (target / "portable.onnx").read_bytes().startswith(b"other")
    assert names(tmp_path) == ["model"]


def test_only_what_is_dead_and_ours_is_swept_up(tmp_path: Path) -> None:
    (alive, file_lock), (folder, folder_lock) = new_file(tmp_path), new_folder(tmp_path)
    for name in (".edgeseg-0123456789abcdef.partial", ".edgeseg-0123456789abcde0.partial.mp4"):
        (tmp_path / name).write_bytes(b"dead")
    (tmp_path / ".edgeseg-0123456789abcde1.partial").mkdir()
    others = (
        ".edgeseg-x.partial",
        "results.json.partial",
        ".other.partial",
        "edgeseg-0123456789abcdef.partial",
    )
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".edgeseg-0123456789abcde2.partial").symlink_to(tmp_path / "results.json.partial")

    sweep(tmp_path)

    kept = {alive.name, folder.name, ".edgeseg-0123456789abcde2.partial", *others}
    assert set(names(tmp_path)) == kept
    for lock in (file_lock, folder_lock):
        assert lock is not None
        os.close(lock)
    sweep(tmp_path)
    assert alive.name not in names(tmp_path)
    assert folder.name not in names(tmp_path)


def test_a_scratch_folder_of_a_killed_program_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = (
        "import os, tempfile, sys; tempfile.tempdir = sys.argv[1]\n"
        "from edgeseg.files.temporary import scratch_folder\n"
        "with scratch_folder() as folder: (folder / 'x').touch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert len(names(tmp_path)) == 1

    with scratch_folder() as folder:
        assert names(tmp_path) == [folder.name]
        assert mode(folder) == 0o700
    assert names(tmp_path) == []


def test_a_folder_is_one_program_s(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, "calibrates")

    with (
        pytest.raises(ConfigError, match=r"another program calibrates .*; wait for it"),
        locked(tmp_path, "calibrates"),
    ):
        pass
    lock.close()
    with locked(tmp_path, "calibrates"):
        pass


def test_a_record_whose_file_was_not_placed_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"old record")
    (tmp_path / "a.onnx").write_bytes(b"old")
    dead = tmp_path / ".edgeseg-0123456789abcdef.partial"
    dead.mkdir()
    (dead / f"{hashlib.sha256(b'new').hexdigest()}-a.onnx.json").write_bytes(b"new record")

    with exclusive_publishing(tmp_path):
        assert (tmp_path / "a.json").read_bytes() == b"old record"


def test_a_record_follows_its_file_where_a_program_was_killed_between(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"old record")
    (tmp_path / "a.onnx").write_bytes(b"new")
    dead = tmp_path / ".edgeseg-0123456789abcdef.partial"
    dead.mkdir()
    (dead / f"{hashlib.sha256(b'new').hexdigest()}-a.onnx.json").write_bytes(b"new record")

    with exclusive_publishing(tmp_path):
        assert (tmp_path / "a.json").read_bytes() == b"new record"
    with temporary_folder(tmp_path) as folder:
        (folder / "a.json").write_bytes(b"last record")
        (folder / "a.onnx").write_bytes(b"last")
        publish_pair(folder / "a.onnx", tmp_path / "a.onnx")
    assert (tmp_path / "a.json").read_bytes() == b"last record"
    assert (tmp_path / "a.onnx").read_bytes() == b"last"
