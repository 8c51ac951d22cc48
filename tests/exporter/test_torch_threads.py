"""Threads of torch within a container's quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from edgeseg.exporter import torch_threads as threads
from edgeseg.exporter.torch_threads import torch_threads
from edgeseg.runtime.host.processors import Cpus

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def eight_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("quota", "asked", "count"),
    [(None, None, 8), (2.0, None, 2), (1.5, None, 2), (2.0, 3, 3), (64.0, None, 8)],
)
def test_no_more_threads_than_the_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, asked: int | None, count: int
) -> None:
    limited = Cpus(present=16, allowed=tuple(range(16)), quota=quota)
    monkeypatch.setattr(threads, "usable_cpus", lambda: limited)

    with torch_threads(asked):
        assert torch.get_num_threads() == count
    assert torch.get_num_threads() == 8


def test_they_are_set_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = Cpus(present=16, allowed=(3,), quota=None)
    monkeypatch.setattr(threads, "usable_cpus", lambda: limited)

    @torch_threads()
    def fail() -> None:
        assert torch.get_num_threads() == 1
        raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert torch.get_num_threads() == 8
