from __future__ import annotations

import json

from click.testing import CliRunner

import edgeseg
from edgeseg.runtime import packages
from edgeseg.runtime.machine import Component, State
from edgeseg.tools.main import cli

BROKEN = Component(
    name="OpenCV: window",
    state=State.MISSING,
    detail="not in this build",
    needed_to="show a window",
    mend="pip install opencv-python",
)
WHOLE = Component(name="Memory", state=State.OK, detail="8.0 GiB [shared]")


def test_report_on_this_machine_as_json() -> None:
    result = CliRunner().invoke(cli, ["doctor", "--json"])

    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert report["edgeseg"] == edgeseg.__version__
    found = {item["name"]: item for item in report["components"]}
    assert found["OpenCV"]["state"] == "ok"
    assert {"Python", "Processor", "Memory", "JetPack", "GPU", "Cameras", "TensorRT"} <= set(found)
    assert all(item["mend"] for item in found.values() if item["state"] in ("missing", "limited"))


def test_table_and_remedies(monkeypatch) -> None:
    monkeypatch.setattr(packages, "look_around", lambda: [WHOLE, BROKEN])

    result = CliRunner().invoke(cli, ["doctor"])

    assert result.exit_code == 0
    assert "8.0 GiB [shared]" in result.stdout
    assert "To show a window (OpenCV: window):\n  pip install opencv-python\n" in result.stdout


def test_nothing_to_mend(monkeypatch) -> None:
    monkeypatch.setattr(packages, "look_around", lambda: [WHOLE])

    assert CliRunner().invoke(cli, ["doctor"]).stdout.endswith("Nothing is missing.\n")
