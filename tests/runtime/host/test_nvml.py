from __future__ import annotations

import sys
from typing import Any

import pytest

from edgeseg.runtime.host.meter import Reading
from edgeseg.runtime.host.nvml import NvmlGpu, open_nvml

from .boards import FakeNvml, NvmlError


def gpu(**figures: Any) -> NvmlGpu:
    return NvmlGpu(FakeNvml(**figures), "gpu 0")


def test_what_a_gpu_tells() -> None:
    found = gpu()

    assert (found.percent(), found.memory_mib(), found.temperature_c()) == (97, 3072, 71)
    assert found.read(0) == Reading(14.2, 0)
    later = found.read(10)
    assert later.power_w == 14.2
    assert later.energy_j == pytest.approx(142)


def test_a_gpu_that_counts_energy() -> None:
    found = gpu(millijoules=5_000_000)
    found.read(0)
    found._nvml.figures["millijoules"] += 120_000

    assert found.read(10) == Reading(14.2, 120)


def test_a_gpu_that_tells_nothing() -> None:
    found = gpu(percent=None, used=None, celsius=None, milliwatts=None)

    assert (found.percent(), found.memory_mib(), found.temperature_c()) == (None, None, None)
    assert found.read(0) == Reading()


def test_the_driver_is_asked_for_its_first_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())

    found = open_nvml()

    assert found is not None
    assert found.percent() == 97


@pytest.mark.parametrize("missing", ["nvmlInit", "nvmlDeviceGetHandleByIndex"])
def test_no_driver_or_no_gpu(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def refuse(*_: Any) -> None:
        raise NvmlError

    nvml = FakeNvml()
    setattr(nvml, missing, refuse)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)

    assert open_nvml() is None


def test_pynvml_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert open_nvml() is None


def test_the_real_package_has_what_is_asked_for() -> None:
    nvml = pytest.importorskip("pynvml", exc_type=ImportError)
    asked = [name for name in dir(FakeNvml) if name.lower().startswith("nvml")]

    assert len(asked) == 9
    assert [name for name in asked if not hasattr(nvml, name)] == []
