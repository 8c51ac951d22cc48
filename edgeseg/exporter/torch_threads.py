"""How many threads torch computes with."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from edgeseg.runtime.host.processors import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def torch_threads(threads: int | None = None) -> Iterator[None]:
    """Set torch's threads for a block or, as a decorator, for a function, and then set them back.

    Args:
        threads: None for torch's own number, but no more than there are processors that may be used, as torch
            does not see the quota of a container.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or min(before, usable_cpus().count))
    try:
        yield
    finally:
        torch.set_num_threads(before)
