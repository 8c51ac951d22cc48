from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeseg.runtime.host.meter import EnergyMeter, PowerMeter, Reading
from edgeseg.runtime.host.powercap import processor_meters

from .boards import PC, made_up

if TYPE_CHECKING:
    from pathlib import Path


def readings(meter: EnergyMeter | PowerMeter, *times_s: float) -> list[Reading]:
    return [meter.read(time_s) for time_s in times_s]


def test_power_adds_up_to_energy() -> None:
    powers = iter([10.0, 20.0, None, 40.0])

    found = readings(PowerMeter(lambda: next(powers)), 0, 2, 3, 4)

    assert [one.power_w for one in found] == [10, 20, None, 40]
    # What was not told is taken as lying between its neighbours.
    assert [one.energy_j for one in found] == [0, 30, 30, 30 + 60]


def test_power_that_was_never_told() -> None:
    assert readings(PowerMeter(lambda: None), 0, 5) == [Reading(), Reading()]


def test_a_counter_gives_energy_and_mean_power() -> None:
    counts = iter([100.0, 110.0, 140.0])

    found = readings(EnergyMeter(lambda: next(counts)), 0, 1, 3)

    assert found == [Reading(None, 0), Reading(10, 10), Reading(15, 40)]


def test_readings_that_are_near_keep_the_power_and_count_on() -> None:
    counts = iter([0.0, 10.0, 10.0, 11.0, 20.0])

    found = readings(EnergyMeter(lambda: next(counts)), 0, 1, 1.0001, 1.1, 2)

    assert [one.power_w for one in found] == [None, 10, 10, 10, 10]
    assert [one.energy_j for one in found] == [0, 10, 10, 11, 20]


@pytest.mark.parametrize(("range_j", "step_j"), [(100.0, 15.0), (None, 0.0), (50.0, 0.0)])
def test_a_counter_that_begins_again(range_j: float | None, step_j: float) -> None:
    counts = iter([90.0, 5.0])

    found = readings(EnergyMeter(lambda: next(counts), range_j), 0, 1)

    assert found[1] == Reading(step_j, step_j)


def test_a_counter_that_does_not_answer_for_a_while() -> None:
    counts = iter([None, 1.0, None, 4.0])

    found = readings(EnergyMeter(lambda: next(counts)), 0, 1, 2, 4)

    assert found == [Reading(), Reading(None, 0), Reading(None, 0), Reading(1, 3)]


def test_packages_of_a_processor(tmp_path: Path) -> None:
    (meter,) = processor_meters(made_up(tmp_path, PC))
    meter.read(0)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("31000000")

    assert meter.read(2) == Reading(15, 30)


def test_counters_that_this_user_may_not_read(tmp_path: Path) -> None:
    made_up(tmp_path, PC)
    path = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    path.unlink()
    path.mkdir()

    assert processor_meters(tmp_path) == []
