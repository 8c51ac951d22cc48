"""The report as a file: all of it comes back, and what is no report is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.benchmark.report import read_report, write_report
from edgeseg.benchmark.row import RowState
from edgeseg.errors import ArtifactError, ConfigError

from .samples import make_report, make_row

if TYPE_CHECKING:
    from pathlib import Path


def test_all_of_it_comes_back(tmp_path: Path) -> None:
    report = make_report()
    write_report(tmp_path / "report.json", report)

    assert read_report(tmp_path / "report.json") == report


def test_a_row_is_found_by_name() -> None:
    report = make_report()

    assert report.row("openvino-int8") is report.rows[1]
    assert report.row("none") is None


@pytest.mark.parametrize(("state", "reason"), [(RowState.OK, "broke"), (RowState.FAILED, "")])
def test_a_row_says_why_unless_it_is_ok(state: RowState, reason: str) -> None:
    with pytest.raises(ConfigError, match="a row says why unless it is ok; openvino-int8"):
        make_row(state=state, reason=reason)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "is of format 99, not 1; run `edgeseg benchmark` again"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"rows": [{"name": "x"}]}, "Row is incomplete"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / "report.json"
    write_report(path, make_report())
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **change}), "utf-8")

    with pytest.raises(ArtifactError, match=words):
        read_report(path)


def test_no_report(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no report at .*absent"):
        read_report(tmp_path / "absent.json")
