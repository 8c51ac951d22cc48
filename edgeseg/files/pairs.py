"""Publishing a file and the record that describes it, which must never come from two different writers."""

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

# Suffix of caches that were made from the previous file.
CACHE_SUFFIX = ".cache"
RECORD_SUFFIX = ".json"
PENDING_RECORD = re.compile(rf"(?P<sha256>[0-9a-f]{{64}})-(?P<name>.+){re.escape(RECORD_SUFFIX)}", re.DOTALL)
WAIT_S = 10.0


@contextmanager
def exclusive_publishing(folder: Path) -> Iterator[None]:
    """Lock a folder for publishing pairs, and finish what a killed program has begun."""
    with locked(folder, "writes", WAIT_S):
        with suppress(OSError):
            for each in folder.glob(".edgeseg-*.partial"):
                with claim_orphan(each) as leftover:
                    if leftover is not None:
                        _finish_publishing(leftover, folder)
        yield


def publish_pair(staged: Path, path: Path) -> None:
    """Move a file and its record into place from a temporary folder inside the folder of `path`.

    Args:
        staged: The file; its record has the same name and the suffix `.json`.
        path: Final path of the file.

    Raises:
        OSError: The file or record cannot be written.
    """
    # The record's temporary name has the hash of its file, because an interrupted removal of the temporary
    # folder may have left one without the other.
    pending = staged.parent / f"{sha256_from_file(staged)}-{path.name}{RECORD_SUFFIX}"
    staged.with_suffix(RECORD_SUFFIX).rename(pending)
    sync_tree(staged.parent)
    with exclusive_publishing(path.parent):
        staged.replace(path)
        _finish_publishing(staged.parent, path.parent)


def _finish_publishing(leftover: Path, folder: Path) -> None:
    """Move records into place whose files already are; drop the other records with their files."""
    for record in leftover.glob(f"*{RECORD_SUFFIX}"):
        if not (found := PENDING_RECORD.fullmatch(record.name)):
            continue
        path = folder / found["name"]
        if not path.is_file() or sha256_from_file(path) != found["sha256"]:
            continue
        path.with_suffix(CACHE_SUFFIX).unlink(missing_ok=True)
        record.replace(path.with_suffix(RECORD_SUFFIX))
        sync_folder(folder)
