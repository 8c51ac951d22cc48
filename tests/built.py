"""What takes long to build and is only read: built by one worker of a test run, for all of them."""

from __future__ import annotations

import fcntl
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Build a folder, unless a test of this run has; another worker that builds it is waited for.

    Args:
        factory: Of this worker.
        name: Of the folder; one name, one content.
        build: Fills an empty folder. It is renamed afterwards, so no path of it may be kept.

    Returns:
        The folder. Who changes anything in it takes a copy.
    """
    base = factory.getbasetemp()
    # A worker's folder is in that of the run.
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built"
    shared.mkdir(exist_ok=True)
    folder = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            partial = shared / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            build(partial)
            partial.rename(folder)
    return folder
