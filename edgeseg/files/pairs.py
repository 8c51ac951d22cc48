"""A file and the record that describes it: two names that must never be seen of two different writers."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from .locks import locked
from .reading import sha256_from_file
from .renames import sync_folder, sync_tree
from .temporary import claim_orphan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What was made of the file that was there before.
CACHE_SUFFIX = ".cache"
RECORD_SUFFIX = ".json"
PENDING_RECORD = re.compile(rf"(?P<sha256>[0-9a-f]{{64}})-(?P<name>.+){re.escape(RECORD_SUFFIX)}", re.DOTALL)
WAIT_S = 10.0


@contextmanager
def exclusive_publishing(folder: Path) -> Iterator[None]:
    """Lock a folder for publishing pairs, and finish what a killed program began."""
    with locked(folder, "writes", WAIT_S):
        with suppress(OSError):
            for each in folder.glob(".edgeseg-*.partial"):
                with claim_orphan(each) as leftover:
                    if leftover is not None:
                        _finish_publishing(leftover, folder)
        yield


def publish_pair(staged: Path, path: Path) -> None:
    """Move a file and its record from a temporary folder in the folder of `path` into their places.

    Args:
        staged: The file; its record has the same name and ends in `.json`.
        path: Its place.

    Raises:
        OSError: It cannot be written.
    """
    # It says which file it waits for: half of a folder may be gone where its removal was cut off.
    pending = staged.parent / f"{sha256_from_file(staged)}-{path.name}{RECORD_SUFFIX}"
    staged.with_suffix(RECORD_SUFFIX).rename(pending)
    sync_tree(staged.parent)
    with exclusive_publishing(path.parent):
        staged.replace(path)
        _finish_publishing(staged.parent, path.parent)


def _finish_publishing(leftover: Path, folder: Path) -> None:
    """Let records follow whose files are in their places; others are dropped with their file."""
    for record in leftover.glob(f"*{RECORD_SUFFIX}"):
        if not (found := PENDING_RECORD.fullmatch(record.name)):
            continue
        path = folder / found["name"]
        if not path.is_file() or sha256_from_file(path) != found["sha256"]:
            continue
        path.with_suffix(CACHE_SUFFIX).unlink(missing_ok=True)
        record.replace(path.with_suffix(RECORD_SUFFIX))
        sync_folder(folder)
