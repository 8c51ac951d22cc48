"""The command `edgeseg demo`: the whole way, short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
from click.testing import CliRunner, Result

from edgeseg.demo import show
from edgeseg.tools.main import cli
from edgeseg.vision.images.reader import read_image
from tests.demo_run import FOLDER, REPORT, demo_once

if TYPE_CHECKING:
    import pytest


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["demo", *args])


def test_exports_runs_and_scores_the_shipped_model(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = demo_once(tmp_path_factory)
    monkeypatch.chdir(folder)
    assert sorted(path.name for path in folder.iterdir()) == [FOLDER, REPORT]
    report = json.loads(Path(REPORT).read_text("utf-8"))
    assert report["parity"]["passed"]
    assert report["parity"]["rows"][0]["reference_detections"] > 20
    assert report["mask_ap50"] >= 0.8
    assert report["clip"]["frames"] == 3
    assert [row["name"] for row in report["classes"]] == ["washer", "bolt", "nut", "gear", "bracket"]
    assert read_image(Path("edgeseg-demo/picture.png")).shape == (480, 2 * 640 + 8, 3)
    assert cv2.VideoCapture("edgeseg-demo/found/overlay.mp4").isOpened()
    again = run("--frames", "3", "-o", "edgeseg-demo")
    assert again.exit_code == 1
    assert "already holds a demo; pass --force" in again.stderr


def test_a_second_demo_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(show, "_write_clip", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    for _ in range(2):
        assert run().exit_code != 0
    assert run("--force").exit_code != 0

    assert sorted(path.name for path in tmp_path.iterdir()) == ["edgeseg-demo", "edgeseg-demo-2"]


def test_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = run("-o", str(tmp_path / "file"), "--force")
    assert result.exit_code == 1
    assert "is a file" in result.stderr
    assert Path(tmp_path / "file").read_text() == "mine"
    assert run("--frames", "0").exit_code == 2
