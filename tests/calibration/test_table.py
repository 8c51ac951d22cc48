from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeseg.bundle.manifest import CALIBRATION_FILE, open_bundle
from edgeseg.calibration.observers import FirstAxis, RangeObserver, RangeObservers
from edgeseg.calibration.table import CalibrationTable, Method, Range, read_table, table_for, write_table
from edgeseg.errors import ArtifactError, ConfigError, EdgeSegError
from tests.runtime.fake_bundle import make_bundle

TABLE = CalibrationTable(
    method=Method.ENTROPY,
    images=12,
    images_sha256="1" * 64,
    graph_sha256="2" * 64,
    seed=3,
    ranges={"stem": Range(low=0, high=1.5), "head.fc6": Range(low=-0.1, high=math.pi)},
    float_layers=("head.fc6",),
)


def test_round_trip(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / CALIBRATION_FILE)
    assert read_table(tmp_path / CALIBRATION_FILE) == TABLE
    assert [path.name for path in tmp_path.iterdir()] == [CALIBRATION_FILE]


@pytest.mark.parametrize(
    ("low", "high", "reason"),
    [
        (0.0, 0.0, "above its low, got 0.0 to 0.0"),
        (1.0, -1.0, "above its low"),
        (0.5, 1.0, "must hold zero, got 0.5 to 1.0"),
        (-2.0, -1.0, "must hold zero"),
        (-math.inf, 1.0, "must be finite"),
        (0.0, math.nan, "must be finite"),
    ],
)
def test_a_range_that_cannot_be(low: float, high: float, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Range(low=low, high=high)


def test_a_missing_table_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no calibration at .*calibration.json; .*`edgeseg calibrate"):
        read_table(tmp_path / CALIBRATION_FILE)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot read"):
        read_table(tmp_path)


@pytest.mark.parametrize("keep", [0, 10, 200, -3])
def test_a_truncated_table(tmp_path: Path, keep: int) -> None:
    path = tmp_path / CALIBRATION_FILE
    write_table(TABLE, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match=r"is not valid JSON .*`edgeseg calibrate"):
        read_table(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"surprise": 1}, "unknown key 'surprise'.*edgeseg calibrate"),
        ({"format": 2}, "of format 2, not 1"),
        ({"method": "guess"}, "entropy, percentile, minmax expected, got 'guess'"),
        ({"ranges": {"stem": {"low": 1.0, "high": 2.0}}}, "stem: a range must hold zero"),
        ({"ranges": [1]}, "ranges: dict expected"),
        ({"images": "many"}, "images: int expected"),
    ],
)
def test_a_table_that_is_none(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = tmp_path / CALIBRATION_FILE
    write_table(TABLE, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ArtifactError, match=reason):
        read_table(path)


def test_an_incomplete_table(tmp_path: Path) -> None:
    (tmp_path / CALIBRATION_FILE).write_text('{"format": 1}')
    with pytest.raises(ArtifactError, match="is incomplete"):
        read_table(tmp_path / CALIBRATION_FILE)


def test_the_table_of_a_bundle(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "model"))
    table = replace(TABLE, graph_sha256=bundle.files["portable.onnx"].sha256)
    write_table(table, bundle.path / CALIBRATION_FILE)
    assert table_for(bundle) == table


def test_a_stale_table_is_refused(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "model"))
    write_table(TABLE, bundle.path / CALIBRATION_FILE)
    sha256 = bundle.files["portable.onnx"].sha256[:12]
    with pytest.raises(ArtifactError, match=f"another graph: .*222222222222, .*{sha256}; .*calibrate"):
        table_for(bundle)


def test_a_table_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / CALIBRATION_FILE
    write_table(TABLE, path)

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(EdgeSegError, match=r"cannot write .*calibration.json: No space left"):
        write_table(replace(TABLE, images=99), path)
    assert [path.name for path in tmp_path.iterdir()] == [CALIBRATION_FILE]
    assert read_table(path) == TABLE


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgeSegError, match=r"cannot write .*file/calibration\.json"):
        write_table(TABLE, tmp_path / "file" / CALIBRATION_FILE)


def test_taps_need_keys_of_their_own() -> None:
    observer = RangeObserver(key="stem", tensor="x", rows=FirstAxis.IMAGES)
    with pytest.raises(ConfigError, match="'stem' is given twice"):
        RangeObservers(observers=(observer, replace(observer, tensor="y")), present="present")
    with pytest.raises(ConfigError, match="at least one value"):
        RangeObservers(observers=(), present="present")
