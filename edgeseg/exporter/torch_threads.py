"""Number of threads that torch computes with."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from edgeseg.runtime.host.processors import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def torch_threads(threads: int | None = None) -> Iterator[None]:
    """Set the number of torch threads for a block or a decorated function, and restore it afterwards.

    Args:
        threads: Number of threads; None for torch's own number, limited to the usable processors, as torch
            does not see the CPU quota of a container.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or min(before, usable_cpus().count))
    try:
        yield
    finally:
        torch.set_num_threads(before)
