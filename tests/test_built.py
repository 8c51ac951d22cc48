from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .built import built_once

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_there_is_not_built_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "content").write_text("whole", "utf-8")

    folders = {built_once(tmp_path_factory, "once", build) for _ in range(2)}

    assert len(built) == len(folders) == 1
    assert (folders.pop() / "content").read_text("utf-8") == "whole"


def test_what_was_not_finished_is_built_from_the_start(tmp_path_factory: pytest.TempPathFactory) -> None:
    def breaks(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built_once(tmp_path_factory, "unfinished", breaks)
    folder = built_once(tmp_path_factory, "unfinished", lambda folder: (folder / "whole").touch())

    assert [path.name for path in folder.iterdir()] == ["whole"]
