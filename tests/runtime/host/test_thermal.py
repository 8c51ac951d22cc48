from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeseg.runtime.host.thermal import hottest_c

from .boards import NANO, ORIN_NANO, PC, made_up

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("files", "celsius"), [(ORIN_NANO, 54.25), (NANO, 35.5), (PC, 61)], ids=["Orin Nano", "Nano", "PC"]
)
def test_the_hottest_of_processor_and_gpu(tmp_path: Path, files: dict[str, str], celsius: float) -> None:
    read = hottest_c(made_up(tmp_path, files))
    assert read is not None
    assert read() == celsius


@pytest.mark.parametrize("temperature", ["-256000", "-273150", "300000", "", "nan"])
def test_what_is_no_temperature_is_passed_over(tmp_path: Path, temperature: str) -> None:
    read = hottest_c(made_up(tmp_path, ORIN_NANO))
    assert read is not None
    (tmp_path / "sys/class/thermal/thermal_zone8/temp").write_text(temperature)
    assert read() == 53.5

    for zone in (0, 1):
        (tmp_path / f"sys/class/thermal/thermal_zone{zone}/temp").write_text(temperature)
    assert read() is None


def test_machine_without_thermometers(tmp_path: Path) -> None:
    assert hottest_c(tmp_path) is None
