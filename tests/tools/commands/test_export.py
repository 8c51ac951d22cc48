"""The command `edgeseg export`: what it prints, and the exit code of everything that can go wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from click.testing import CliRunner, Result

from edgeseg.errors import ParityError
from edgeseg.tools.main import cli
from tests.built import built_once
from tests.models import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseg.exporter.config import ExportConfig
    from edgeseg.spec import Lowering, ModelSpec

SMALL = ("--size", "128", "160", "--detections", "20", "--proposals", "100", "--score-threshold", "0.01")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(cli, ["export", *args])

    return invoke


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "parts.pth"
    torch.save(build("resnet18", 3).eval().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the command was run: its bundle, and what it printed."""

    def export(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            result = CliRunner().invoke(cli, ["export", str(checkpoint), *SMALL, "--json"])
        assert result.exit_code == 0, result.stderr
        (folder / "printed.json").write_text(result.stdout, "utf-8")

    return built_once(tmp_path_factory, "exported", export)


def test_exports_and_prints_json(
    run: Callable[..., Result], checkpoint: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(exported)
    printed = json.loads(Path("printed.json").read_text("utf-8"))
    assert printed["bundle"] == "edgeseg-model"
    assert printed["parity"]["passed"] is True
    assert json.loads(Path("edgeseg-model/model.json").read_text())["spec"]["input_size_hw"] == [128, 160]
    again = run(str(checkpoint), "--size", "128", "160")
    assert again.exit_code == 1
    assert "already holds a bundle; pass --force" in again.stderr


def test_parity_failure_exits_3_prints_the_table_and_writes_nothing(
    run: Callable[..., Result], checkpoint: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeseg.exporter.parity.comparison import Tolerances

    def copied(model: object, spec: ModelSpec, lowering: Lowering, path: Path) -> None:
        shutil.copyfile(exported / "edgeseg-model" / path.name, path)

    # The graphs are those of that export.
    monkeypatch.setattr("edgeseg.exporter.export.write_graph", copied)
    monkeypatch.setattr("edgeseg.exporter.parity.check.Tolerances", lambda: Tolerances(box_px=-1.0))
    result = run(str(checkpoint), *SMALL)
    assert result.exit_code == 3
    assert "FAILED" in result.stdout
    assert "must find what PyTorch finds" in result.stderr
    assert not Path("edgeseg-model").exists()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ((), 2, "Missing argument 'CHECKPOINT'"),
        (("absent.pth",), 1, "no checkpoint at absent.pth"),
        (("{checkpoint}", "--size", "100", "160"), 1, "multiples of 32, got 100 160"),
        (("{checkpoint}", "--size", "128"), 2, "requires 2 arguments"),
        (("{checkpoint}", "--batch", "0"), 2, "not in the range"),
        (("{checkpoint}", "--score-threshold", "2"), 2, "not in the range"),
        (("{checkpoint}", "--classes", "absent.txt"), 1, "cannot read class names from absent.txt"),
        (("{checkpoint}", "--check", "absent"), 1, "no folder at absent"),
        (("{checkpoint}", "--factory", "a.b"), 1, "must be package.module:function"),
    ],
)
def test_bad_input_is_a_sentence_and_an_exit_code(
    run: Callable[..., Result], checkpoint: Path, args: tuple[str, ...], code: int, message: str
) -> None:
    result = run(*(arg.format(checkpoint=checkpoint) for arg in args))
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not Path("edgeseg-model").exists()


def test_a_profile_and_what_wins_over_it(
    run: Callable[..., Result], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(config: ExportConfig, progress: Callable[[str], None], note: Callable[[str], None]) -> None:
        asked.append(config)
        msg = "enough"
        raise ParityError(msg)

    monkeypatch.setattr("edgeseg.exporter.export.export", refuse)
    for args in ((), ("--profile", "fast"), ("--profile", "fast", "--size", "96", "128")):
        assert run(str(checkpoint), *args).exit_code == 3

    sizes = [config.size_hw((800, 1344)) for config in asked]
    assert sizes == [(800, 1344), (640, 1088), (96, 128)]
    assert [config.profile.value for config in asked] == ["accurate", "fast", "fast"]
    assert run(str(checkpoint), "--profile", "slow").exit_code == 2
