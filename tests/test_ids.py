"""What parametrised cases are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeseg.bundle.engines import EngineOptions, Precision
from edgeseg.errors import InputError

from .ids import MOST_CHARACTERS, readable_id


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (("--images", "absent"), "--images absent"),
        ((1, (2, 3)), "1 (2 3)"),
        ((), "empty"),
        (range(3), "0 1 2"),
        ({"b", "a"}, "a b"),
        ({"size_hw": (32, 64), "of": Precision.INT8, "rest": {}}, "size_hw=(32 64), of=int8, rest=()"),
        (Path("a/b.png"), "a/b.png"),
        (InputError("no image"), "InputError no image"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (EngineOptions(amx=True), "EngineOptions(amx=True)"),
        ((int, None, b"x"), "int None b'x'"),
        (("\ud800\n",), r"\ud800\n"),
    ],
)
def test_values_that_pytest_would_number(value: Any, words: str) -> None:
    assert readable_id(value) == words


@pytest.mark.parametrize("value", ["a", b"a", 1, 0.5, True, None, Precision.INT8, EngineOptions, len])
def test_values_that_pytest_names_itself(value: object) -> None:
    assert readable_id(value) is None


def test_a_long_name_is_cut() -> None:
    name = readable_id(("x" * 1000,))

    assert name is not None
    assert len(name) == MOST_CHARACTERS
    assert name.endswith("...")


@pytest.mark.parametrize("args", [("--images", "absent")])
def test_a_case_has_such_a_name(request: pytest.FixtureRequest, args: tuple[str, ...]) -> None:
    assert request.node.name == f"test_a_case_has_such_a_name[{' '.join(args)}]"
