from __future__ import annotations

import inspect
from typing import Any

import pytest

from edgeseg import errors

KINDS: list[type[Any]] = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)
]


@pytest.mark.parametrize("kind", KINDS)
def test_one_tree_that_its_docstring_draws(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.EdgeSegError)
    assert kind.__name__ in (errors.EdgeSegError.__doc__ or "")


def test_only_a_verdict_exits_with_3() -> None:
    assert {kind.__name__: kind.exit_code for kind in KINDS if kind.exit_code != 1} == {"ParityError": 3}
