from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeseg.runtime.host.tegra import board_watts, gpu_percent

from .boards import AGX_ORIN, I2C, NANO, ORIN_NANO, PC, THOR, made_up

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("board", "watts"),
    [(ORIN_NANO, 7.6), (AGX_ORIN, 6 + 2 + 0.4), (NANO, 4.21), (THOR, 31.5)],
    ids=["Orin Nano", "AGX Orin", "Nano", "AGX Thor"],
)
def test_power_of_a_board(tmp_path: Path, board: dict[str, str], watts: float) -> None:
    read = board_watts(made_up(tmp_path, board))

    assert read is not None
    assert read() == pytest.approx(watts)


@pytest.mark.parametrize(
    ("board", "percent"),
    [(ORIN_NANO, 97.3), (AGX_ORIN, 50), (NANO, 0)],
    ids=["Orin Nano", "AGX Orin", "Nano"],
)
def test_load_of_a_gpu(tmp_path: Path, board: dict[str, str], percent: float) -> None:
    read = gpu_percent(made_up(tmp_path, board))

    assert read is not None
    assert read() == pytest.approx(percent)


@pytest.mark.parametrize("files", [{}, PC], ids=["nothing", "PC"])
def test_machine_that_is_no_jetson(tmp_path: Path, files: dict[str, str]) -> None:
    root = made_up(tmp_path, files)

    assert board_watts(root) is None
    assert gpu_percent(root) is None


def test_sensor_that_is_seen_on_two_ways_counts_once(tmp_path: Path) -> None:
    made_up(tmp_path, AGX_ORIN)
    folder = tmp_path / I2C / "ina3221/1-0040/hwmon/hwmon3"
    (folder / "name").write_text("ina3221\n")
    (tmp_path / "sys/class/hwmon").mkdir(parents=True)
    (tmp_path / "sys/class/hwmon/hwmon3").symlink_to(folder)

    read = board_watts(tmp_path)
    assert read is not None
    assert read() == pytest.approx(8.4)


@pytest.mark.parametrize("text", ["", "off", "-"])
def test_sensor_that_does_not_answer(tmp_path: Path, text: str) -> None:
    read = board_watts(made_up(tmp_path, ORIN_NANO))
    assert read is not None
    path = tmp_path / I2C / "ina3221/1-0040/hwmon/hwmon1/curr1_input"

    path.write_text(text)
    assert read() is None
    path.unlink()
    assert read() is None
    path.write_text("1000\n")
    assert read() == pytest.approx(5)
