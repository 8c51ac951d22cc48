"""A file and the record that describes it: two names that must never be seen of two different writers."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from .locks import locked
from .reading import sha256_of
from .renames import sync_folder, sync_tree
from .temporary import claimed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What was made of the file that was there before.
CACHE = ".cache"
RECORD = ".json"
WAITING = re.compile(rf"(?P<sha256>[0-9a-f]{{64}})-(?P<name>.+){re.escape(RECORD)}", re.DOTALL)
WAIT_S = 10.0


@contextmanager
def placing(folder: Path) -> Iterator[None]:
    """Be the only one that puts pairs into their places in a folder, and finish what a killed one began."""
    with locked(folder, "writes", WAIT_S):
        with suppress(OSError):
            for each in folder.glob(".edgeseg-*.partial"):
                with claimed(each) as left:
                    if left is not None:
                        _finish(left, folder)
        yield


def place_pair(draft: Path, path: Path) -> None:
    """Move a file and its record from a temporary folder in the folder of `path` into their places.

    Args:
        draft: The file; its record has the same name and ends in `.json`.
        path: Its place.

    Raises:
        OSError: It cannot be written.
    """
    # It says which file it waits for: half of a folder may be gone where its removal was cut off.
    waiting = draft.parent / f"{sha256_of(draft)}-{path.name}{RECORD}"
    draft.with_suffix(RECORD).rename(waiting)
    sync_tree(draft.parent)
    with placing(path.parent):
        draft.replace(path)
        _finish(draft.parent, path.parent)


def _finish(left: Path, folder: Path) -> None:
    """Let records follow whose files are in their places; others are dropped with their file."""
    for record in left.glob(f"*{RECORD}"):
        if not (found := WAITING.fullmatch(record.name)):
            continue
        path = folder / found["name"]
        if not path.is_file() or sha256_of(path) != found["sha256"]:
            continue
        path.with_suffix(CACHE).unlink(missing_ok=True)
        record.replace(path.with_suffix(RECORD))
        sync_folder(folder)
