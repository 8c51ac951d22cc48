"""The short form of the attack; the long one is `python -m tests.attack.fuzz`."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from .fuzz import KINDS, attack
from .mutations import mutated, mutated_json

if TYPE_CHECKING:
    from pathlib import Path

CASES = 120


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_spoilt_is_refused_in_a_sentence(kind: str) -> None:
    pytest.importorskip("torch" if kind == "checkpoints" else "onnx")
    pytest.importorskip("uvicorn" if kind == "requests" else "onnxruntime")

    found = attack(kind, seed=1, first=0, cases=CASES)

    assert found.faults == []
    assert found.cases == CASES
    # Or the attack would be none.
    assert found.refused >= CASES / 4 or kind == "requests"


def test_a_fault_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The attack finds an exception of another kind, a death and a hang."""
    monkeypatch.setattr("tests.attack.fuzz.SLOW_S", 1.0)

    found = attack("planted", seed=1, first=0, cases=4)

    assert [fault.partition(":")[0] for fault in found.faults] == ["case 0", "case 1", "case 2"]
    assert "KeyError" in found.faults[0]
    assert "the process ended with" in found.faults[1]
    assert "no end after" in found.faults[2]
    assert (found.cases, found.taken) == (2, 1)


def test_the_same_seed_spoils_in_the_same_way() -> None:
    one, two, other = (mutated(b"abcdef" * 50, random.Random(seed)) for seed in (1, 1, 2))
    assert one == two != other
    text = '{"a": [1, {"b": "c"}], "d": null}'
    assert len({mutated_json(text, random.Random(seed)) for seed in range(200)}) > 100
