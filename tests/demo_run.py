"""The command `edgeseg demo`, run once for all tests: what it prints, its files and its bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edgeseg.tools.main import cli

from .built import built_once

if TYPE_CHECKING:
    from pathlib import Path

ARGUMENTS = ("demo", "--frames", "3", "--scored", "6", "--json")
FOLDER = "edgeseg-demo"
REPORT = "report.json"


def demo_once(factory: pytest.TempPathFactory) -> Path:
    """Give the folder in which the demo was run: `FOLDER`, and what it printed in `REPORT`."""

    def run(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            result = CliRunner().invoke(cli, ARGUMENTS)
        assert result.exit_code == 0, result.stderr
        (folder / REPORT).write_text(result.stdout, "utf-8")

    return built_once(factory, "demo", run)
