"""Which tests wait to be asked for, and why; and what their cases are called."""

from __future__ import annotations

import gc
import shutil

import pytest

from edgeseg.runtime.host import machine
from tests.exports import (
    _resnet18,
    bundle,
    bundle_table,
    checkpoint,
    conveyor,
    exported_bundle,
    photographs,
    resnet18,
    table,
)

from .ids import readable_id

# Fixtures, which pytest finds here by name.
__all__ = [
    "_resnet18",
    "bundle",
    "bundle_table",
    "checkpoint",
    "conveyor",
    "exported_bundle",
    "photographs",
    "resnet18",
    "table",
]


@pytest.fixture
def vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that computes with 8-bit weights exactly, whatever the tests run on."""
    monkeypatch.setattr(machine, "int8_instructions", lambda host: ("avx512_vnni",))


@pytest.fixture
def without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that has nothing for INT8; on x86 it needs 7-bit weights."""
    monkeypatch.setattr(machine, "int8_instructions", lambda host: ())


def pytest_collection_finish() -> None:
    """Leave modules out of collections of garbage: torch alone makes each of those in tests take 0.2 s."""
    gc.collect()
    gc.freeze()


def pytest_make_parametrize_id(val: object) -> str | None:
    return readable_id(val)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("-m"):
        _skip(items, "slow", "takes minutes; run with `-m slow`")
    if shutil.which("nvidia-smi") is None:
        _skip(items, "gpu", "needs a CUDA GPU; nvidia-smi is not here")


def _skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))
